"""A trial of training takes the loop's own steps, on windows of the loop's own shapes."""

import threading

import pytest
import torch

from tests.wavenet.model.variants import LEVELS, VARIANTS, make_variant
from wavenet.config import ModelConfig, StemConfig, TrainingConfig
from wavenet.errors import ConfigError, OutOfMemoryError, TrainingStoppedError
from wavenet.model.cost import count_multiply_adds
from wavenet.model.wavenet import UNCONDITIONAL, WaveNet, count_parameters
from wavenet.training import trial
from wavenet.training.likelihood import fast_loss, plain_loss
from wavenet.training.ranks import ALONE
from wavenet.training.trial import random_windows, try_training
from wavenet.training.windows import ConditionSource


@pytest.fixture
def kept(monkeypatch):
    """How `take_step` was called."""
    calls, take_step = [], trial.take_step

    def keep(*arguments):
        calls.append(arguments)
        return take_step(*arguments)

    monkeypatch.setattr(trial, "take_step", keep)
    return calls


def test_the_figures_are_of_this_network_and_this_machine(config):
    tried = try_training(config, 64, UNCONDITIONAL, 0.05)
    model = WaveNet(config.model, 64)
    assert tried.num_parameters == count_parameters(model)
    assert tried.multiply_adds == count_multiply_adds(config.model, 64)
    assert tried.num_steps >= 2
    assert 0 < tried.step_seconds < 10
    assert 0 < tried.look_seconds < 10
    assert tried.peak_bytes > 50 << 20
    assert (tried.device, tried.micro_batch) == ("cpu", None)


def test_two_steps_are_measured_after_a_first_one_however_short_it_is(config, kept):
    assert try_training(config, 64, UNCONDITIONAL, 0.0).num_steps == 2
    assert len(kept) == 3


def test_a_step_is_a_whole_batch_of_windows_and_moves_no_weight(config, kept):
    try_training(config, 64, UNCONDITIONAL, 0.0)
    learner, windows, _, _, rate, _, ranks, _, _ = kept[0]
    length = config.model.receptive_field + config.training.scored_length
    assert windows.codes.shape == (config.training.batch_size, length)
    assert (rate, ranks) == (0.0, ALONE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.training.seed)
        fresh = WaveNet(config.model, 64).state_dict()
    for name, weight in learner.model.state_dict().items():
        assert weight.equal(fresh[name]), name


def test_the_median_counts_so_one_slow_step_does_not(config, monkeypatch):
    durations = iter([9.0, 1.0, 2.0, 0.5])
    monkeypatch.setattr(trial._Trial, "seconds_of", lambda self, work: next(durations))
    tried = try_training(config, 64, UNCONDITIONAL, 11.0)
    assert (tried.num_steps, tried.step_seconds) == (3, 2.0)
    assert tried.look_seconds == 0.5 / config.training.batch_size


@pytest.mark.parametrize("name", VARIANTS)
def test_random_windows_can_be_trained_on_by_every_kind_of_network(name):
    model = make_variant(name)
    windows = random_windows(model, 3, 20, torch.Generator().manual_seed(0))
    masks = model.draw_masks(3, None)
    torch.testing.assert_close(fast_loss(model, windows, masks), plain_loss(model, windows, masks))
    assert windows.codes.max() < LEVELS


def test_random_conditions_have_the_shapes_of_those_that_shards_give():
    model = make_variant("labels and features")
    mine = random_windows(model, 2, 33, torch.Generator().manual_seed(0)).condition
    source = object.__new__(ConditionSource)
    source.form, source.frames, source.labels = model.form, {}, {}
    length = model.receptive_field + 33
    theirs = source.tell(["a", "b"], torch.zeros(2, dtype=torch.int64).numpy(), length - 1)
    for name in ("labels", "frames", "frame_index"):
        one, other = getattr(mine, name), getattr(theirs, name)
        assert (one.shape, one.dtype) == (other.shape, other.dtype), name
    assert mine.frame_index.equal(theirs.frame_index)


def test_where_memory_ends_fewer_windows_are_taken_at_a_time_and_that_is_told(config, monkeypatch):
    def too_large(model, windows, masks):
        if len(windows) > 1:
            raise torch.OutOfMemoryError("no room")
        return fast_loss(model, windows, masks)

    told = []
    monkeypatch.setattr(trial, "choose_loss", lambda *_: too_large)
    tried = try_training(config, 64, UNCONDITIONAL, 0.0, tell=told.append)
    assert tried.micro_batch == 1
    assert "going on with 1" in told[0]


def test_memory_that_does_not_hold_one_window_is_an_error_that_says_so(config, monkeypatch):
    def too_large(model, windows, masks):
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(trial, "choose_loss", lambda *_: too_large)
    with pytest.raises(OutOfMemoryError, match="does not hold one window"):
        try_training(config, 64, UNCONDITIONAL, 0.0)


def test_it_stops_when_told_to(config):
    stop = threading.Event()
    stop.set()
    with pytest.raises(TrainingStoppedError):
        try_training(config, 64, UNCONDITIONAL, 60.0, should_stop=stop.is_set)


def test_a_device_that_is_not_there_is_refused(config):
    training = config.training.model_copy(update={"device": "cuda:77"})
    with pytest.raises(ConfigError, match="cuda:77"):
        try_training(config.model_copy(update={"training": training}), 64, UNCONDITIONAL, 0.0)


def test_frozen_weights_and_averages_are_part_of_it():
    config = StemConfig(
        model=ModelConfig(dilation_cycle=2, num_cycles=1, residual_channels=4, gate_channels=4, dropout=0.2),
        training=TrainingConfig(batch_size=2, scored_length=10, freeze=["head"], ema_decay=0.9),
    )
    model = WaveNet(config.model, 64)
    learnt = count_parameters(model) - count_parameters(model.head)
    assert try_training(config, 64, UNCONDITIONAL, 0.0).num_parameters == learnt
