"""Checkpoints appear whole, hold everything, and refuse what does not fit."""

import errno
import shutil

import pytest
import torch

from wavenet.config import ModelConfig
from wavenet.errors import IncompatibleCheckpointError, UnreadableError
from wavenet.model.wavenet import create_model
from wavenet.training import checkpoint as checkpoints
from wavenet.training.checkpoint import (
    KEPT,
    Learner,
    Progress,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
)
from wavenet.training.optimizer import make_average
from wavenet.training.schedule import Watch

CONFIG = ModelConfig(dilation_cycle=2, num_cycles=1, residual_channels=4, gate_channels=4, skip_channels=4)


def new_training(config=CONFIG, seed=0):
    model = create_model(config, 16, seed)
    return Learner(model, torch.optim.AdamW(model.parameters(), lr=1e-2), make_average(model, 0.9))


def train_some(learner, steps=3):
    for _ in range(steps):
        learner.optimizer.zero_grad()
        learner.model(torch.arange(12).reshape(1, 12)).square().mean().backward()
        learner.optimizer.step()
        learner.average.update_parameters(learner.model)


def test_a_checkpoint_brings_back_weights_optimiser_and_progress(tmp_path):
    learner, other = new_training(), new_training(seed=9)
    train_some(learner)
    learner.best = {"a": torch.arange(3.0)}
    progress = Progress(3, (5.0, 4.5), 1.5, Watch(4.0, 2, 1, 1, 0.5), micro_batch=2)
    save_checkpoint(tmp_path, learner, progress)
    assert load_checkpoint(tmp_path, other) == progress
    assert torch.equal(other.best["a"], learner.best["a"])
    train_some(learner)
    train_some(other)
    for mine, theirs in ((learner.model, other.model), (learner.average, other.average)):
        for one, same in zip(mine.state_dict().values(), theirs.state_dict().values(), strict=True):
            assert torch.equal(one, same)


def test_without_a_checkpoint_training_starts_at_zero(tmp_path):
    assert load_checkpoint(tmp_path / "none", new_training()) == Progress()


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    learner = new_training()
    train_some(learner)
    for step in range(1, 6):
        save_checkpoint(tmp_path, learner, Progress(step))
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-00000004", "step-00000005"]
    assert KEPT == 2


def test_what_a_killed_writer_left_goes_with_the_next_checkpoint(tmp_path):
    (tmp_path / ".step-00000001-x7" / "half").mkdir(parents=True)
    save_checkpoint(tmp_path, new_training(), Progress(2))
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002"]


def test_what_a_killed_writer_left_is_not_read(tmp_path):
    learner = new_training()
    train_some(learner)
    save_checkpoint(tmp_path, learner, Progress(1))
    half = tmp_path / ".step-00000002-abc"
    shutil.copytree(tmp_path / "step-00000001", half)
    (half / "state.json").unlink()
    assert load_checkpoint(tmp_path, new_training()).step == 1


def test_a_checkpoint_of_another_network_is_refused_with_the_remedy(tmp_path):
    learner = new_training()
    train_some(learner)
    save_checkpoint(tmp_path, learner, Progress(1))
    wider = CONFIG.model_copy(update={"residual_channels": 8})
    with pytest.raises(IncompatibleCheckpointError, match="delete the folder"):
        load_checkpoint(tmp_path, new_training(wider))


@pytest.fixture
def saved(tmp_path):
    """A folder of two checkpoints."""
    learner = new_training()
    train_some(learner)
    for step in (1, 2):
        save_checkpoint(tmp_path, learner, Progress(step))
    return tmp_path


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before_and_it_is_told(saved):
    heard = []
    (saved / "step-00000002" / "model.safetensors").write_bytes(b"torn")
    assert load_checkpoint(saved, new_training(), tell=heard.append).step == 1
    assert len(heard) == 1
    assert f"{saved / 'step-00000002'}: cannot be used (" in heard[0]


@pytest.mark.parametrize("name", ["model.safetensors", "state.json"])
def test_a_checkpoint_that_the_disk_does_not_give_is_not_taken_for_a_wrong_one(saved, name):
    for checkpoint in list_checkpoints(saved):
        (checkpoint / name).unlink()
        (checkpoint / name).symlink_to(name)  # a loop, which no user may open
    with pytest.raises(UnreadableError, match=r"step-00000002: .*symbolic links.*nothing is lost: run again"):
        load_checkpoint(saved, new_training())


def test_of_what_the_disk_has_lost_the_one_before_is_gone_on_from(saved, monkeypatch):
    """Which is what it is kept for; where all are lost, nothing says that they are wrong."""
    read, lost, told = checkpoints._read_tensors, ["step-00000002"], []

    def fail(path):
        if path.parent.name in lost:
            raise OSError(errno.EIO, "Input/output error")
        return read(path)

    monkeypatch.setattr(checkpoints, "_read_tensors", fail)
    assert load_checkpoint(saved, new_training(), tell=told.append).step == 1
    assert "goes on from the one before it" in told[0]
    lost.append("step-00000001")
    with pytest.raises(UnreadableError, match="nothing is lost"):
        load_checkpoint(saved, new_training())


def test_a_folder_that_cannot_be_listed_is_not_taken_for_an_empty_one(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UnreadableError, match="nothing is lost"):
        load_checkpoint(tmp_path / "loop", new_training())


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), torch.AcceleratorError("launch")]
)
def test_a_machine_that_fails_while_a_checkpoint_is_loaded_does_not_blame_the_checkpoint(
    saved, monkeypatch, error
):
    def fail(*_):
        raise error

    learner = new_training()
    monkeypatch.setattr(learner.optimizer, "load_state_dict", fail)
    with pytest.raises(UnreadableError, match="nothing is lost: run again"):
        load_checkpoint(saved, learner)
