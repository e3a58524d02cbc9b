"""Checkpoints appear whole, hold everything, and refuse what does not fit."""

import shutil

import pytest
import torch

from wavenet.config import ModelConfig
from wavenet.errors import IncompatibleCheckpointError
from wavenet.model.wavenet import create_model
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
