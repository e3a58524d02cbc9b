"""A loss that goes wrong is named with its likely cause, and one that goes right is left alone."""

import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.wavenet.model.variants import VARIANTS, make_variant, make_windows
from wavenet.config import TrainingConfig
from wavenet.errors import TrainingDivergedError
from wavenet.model import WEIGHTS
from wavenet.model.saved import SavedModel, save_model
from wavenet.model.wavenet import create_model
from wavenet.training.diagnosis import FAR_BITS, STUCK_STEPS, explain_divergence, explain_start, explain_stay
from wavenet.training.likelihood import fast_loss
from wavenet.training.loop import train_model
from wavenet.training.windows import Windows

CONFIG = TrainingConfig(warmup_steps=50, log_every=10)
DUE = CONFIG.warmup_steps + STUCK_STEPS


class Remarks:
    def __init__(self):
        self.told = []

    def begin(self, rows):
        pass

    def report(self, row):
        pass

    def tell(self, message):
        self.told.append(message)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_fresh_network_of_every_kind_starts_near_log2_of_its_levels(name):
    model = make_variant(name)
    fresh = create_model(model.config, model.quantization_channels, 0, model.form)
    fed = make_windows(model)
    loss = fast_loss(fresh, Windows(fed.codes, fed.condition), fed.masks)
    bits = float(loss.detach()) / math.log(2)
    assert explain_start(bits, model.quantization_channels, transferred=False) is None


@pytest.mark.parametrize("bits", [8 - 2 * FAR_BITS, 8 + 2 * FAR_BITS, 80])
def test_a_first_loss_far_from_log2_of_levels_is_told(bits):
    assert "log2(256) = 8.00" in explain_start(bits, 256, transferred=False)


def test_weights_that_were_taken_over_may_start_low_but_not_worse_than_nothing():
    assert explain_start(2.0, 256, transferred=True) is None
    assert "another sample rate, law or number of levels" in explain_start(9.0, 256, transferred=True)


@pytest.mark.parametrize("step", [DUE - 10, DUE + 10, 10_000])
def test_a_loss_that_stays_is_told_once(step):
    assert explain_stay(7.99, 256, step, CONFIG) is None
    assert explain_stay(7.99, 256, DUE, CONFIG) is not None


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        ({"learning_rate": 1e-6}, "too low"),
        ({"learning_rate": 1.0}, "too high"),
        ({"freeze": ["layers"]}, "training.freeze holds layers"),
        ({}, "noise"),
    ],
)
def test_a_loss_that_stays_is_told_with_its_likely_cause(values, cause):
    assert cause in explain_stay(7.99, 256, DUE, CONFIG.model_copy(update=values))


def test_a_loss_that_falls_is_left_alone():
    assert explain_stay(7.0, 256, DUE, CONFIG) is None


def divergence(bits=math.nan, norm=1.0, step=7, bf16=False, spoil=None):
    model = make_variant("paper")
    fed = make_windows(model)
    windows = Windows(fed.codes, fed.condition)
    if spoil:
        windows = spoil(model, windows) or windows
    return explain_divergence(bits, norm, step, model, windows, CONFIG, bf16)


def test_a_loss_that_is_not_a_number_names_the_learning_rate_and_the_step():
    told = divergence()
    assert "nan at step 7" in told
    assert "training.learning_rate is too high (it is 0.002" in told


def test_a_gradient_that_overflows_in_bfloat16_names_the_precision():
    assert "training.precision=fp32" in divergence(bits=3.0, norm=math.inf, bf16=True)
    assert "learning_rate" in divergence(bits=3.0, norm=math.inf)


def test_weights_that_came_with_nan_are_named():
    def spoil(model, windows):
        with torch.no_grad():
            model.head.hidden.weight[0, 0] = math.nan

    assert "head.hidden.weight" in divergence(step=0, spoil=spoil)
    assert "learning_rate" in divergence(step=9, spoil=spoil)


def test_features_that_hold_nan_are_named():
    model = make_variant("all at once")
    fed = make_windows(model)
    frames = fed.condition.frames.clone()
    frames[0, 0, 0] = math.nan
    windows = Windows(fed.codes, replace(fed.condition, frames=frames))
    told = explain_divergence(math.nan, math.nan, 3, model, windows, CONFIG, False)
    assert "features in the shards hold NaN" in told


def with_training(config, **values):
    return config.model_copy(update={"training": config.training.model_copy(update=values)})


def test_a_sound_training_is_told_nothing(shard_folder, config, tmp_path):
    remarks = Remarks()
    train_model(shard_folder, tmp_path, config, [remarks])
    assert remarks.told == []


def test_a_training_that_learns_nothing_is_told_so(shard_folder, config, tmp_path):
    slow = with_training(config, learning_rate=1e-9, warmup_steps=0, steps=STUCK_STEPS + 5)
    remarks = Remarks()
    train_model(shard_folder, tmp_path, slow, [remarks])
    (told,) = remarks.told
    assert "6.00 is knowing nothing: training.learning_rate is 1e-09, most likely too low" in told


def export(config, folder, spoil):
    model = create_model(config.model, 64, 0)
    folder.mkdir()
    card = SavedModel(
        stem="drums", sample_rate=2000, shards_digest="0" * 64, model=config.model, quantization_channels=64,
        law="mu-law", condition=model.form,
    )  # fmt: skip
    save_model(model, card, folder)
    weights = load_file(folder / WEIGHTS)
    spoil(weights)
    save_file(weights, folder / WEIGHTS)
    return folder


def test_weights_of_something_else_are_told_at_the_first_step(shard_folder, config, tmp_path):
    def spoil(weights):
        weights["head.logits.weight"] *= 1000

    remarks = Remarks()
    other = export(config, tmp_path / "other", spoil)
    train_model(shard_folder, tmp_path / "run", config, [remarks], init=other)
    assert any("worse than knowing nothing" in message for message in remarks.told)


def test_weights_with_nan_end_the_training_by_name(shard_folder, config, tmp_path):
    def spoil(weights):
        weights["head.logits.weight"][0] = math.nan

    other = export(config, tmp_path / "other", spoil)
    with pytest.raises(TrainingDivergedError, match=r"taken over hold NaN .*head\.logits\.weight"):
        train_model(shard_folder, tmp_path / "run", config, init=other)
