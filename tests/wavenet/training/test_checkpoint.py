"""Checkpoints appear whole, hold everything, and refuse what does not fit."""

import shutil

import pytest
import torch

from wavenet.config import ModelConfig
from wavenet.errors import IncompatibleCheckpointError
from wavenet.training.checkpoint import KEPT, Progress, list_checkpoints, load_checkpoint, save_checkpoint
from wavenet.training.loop import create_model

CONFIG = ModelConfig(dilation_cycle=2, num_cycles=1, residual_channels=4, gate_channels=4, skip_channels=4)


def new_training(config=CONFIG, seed=0):
    model = create_model(config, 16, seed)
    return model, torch.optim.AdamW(model.parameters(), lr=1e-2)


def train_some(model, optimizer, steps=3):
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.arange(12).reshape(1, 12)).square().mean().backward()
        optimizer.step()


def test_a_checkpoint_brings_back_weights_optimiser_and_progress(tmp_path):
    model, optimizer = new_training()
    train_some(model, optimizer)
    save_checkpoint(tmp_path, model, optimizer, Progress(3, (5.0, 4.5), 1.5))
    other, other_optimizer = new_training(seed=9)
    assert load_checkpoint(tmp_path, other, other_optimizer) == Progress(3, (5.0, 4.5), 1.5)
    train_some(model, optimizer)
    train_some(other, other_optimizer)
    for one, same in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, same)


def test_without_a_checkpoint_training_starts_at_zero(tmp_path):
    assert load_checkpoint(tmp_path / "none", *new_training()) == Progress()


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    model, optimizer = new_training()
    train_some(model, optimizer)
    for step in range(1, 6):
        save_checkpoint(tmp_path, model, optimizer, Progress(step))
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-00000004", "step-00000005"]
    assert KEPT == 2


def test_what_a_killed_writer_left_is_not_read(tmp_path):
    model, optimizer = new_training()
    train_some(model, optimizer)
    save_checkpoint(tmp_path, model, optimizer, Progress(1))
    half = tmp_path / ".step-00000002-abc"
    shutil.copytree(tmp_path / "step-00000001", half)
    (half / "state.json").unlink()
    assert load_checkpoint(tmp_path, *new_training()).step == 1


def test_a_checkpoint_of_another_network_is_refused_with_the_remedy(tmp_path):
    model, optimizer = new_training()
    train_some(model, optimizer)
    save_checkpoint(tmp_path, model, optimizer, Progress(1))
    wider = CONFIG.model_copy(update={"residual_channels": 8})
    with pytest.raises(IncompatibleCheckpointError, match="delete the folder"):
        load_checkpoint(tmp_path, *new_training(wider))
