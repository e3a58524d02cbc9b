"""Training learns, tells its figures truly, and resumes to the bit."""

import math

import numpy as np
import pytest
import torch

from wavenet.data.dataset import load_runs, scored_codes
from wavenet.errors import ConfigError, IncompatibleDataError, TrainingDivergedError
from wavenet.evaluation.metrics import unigram_bits
from wavenet.training.loop import METRICS, choose_device, learning_rate_at, train_model
from wavenet.training.metrics import (
    FINAL_BITS,
    HELDOUT_BITS,
    LEARNING_RATE,
    SPEED,
    STEP,
    TRAIN_BITS,
    read_metrics,
)

INTERRUPTED_AFTER = (1, 5, 7, 8, 16, 23)


class StoppedError(Exception):
    """Stands for whatever ends a process in mid-training."""


class StopAt:
    """A reporter that ends the training when it hears of a step."""

    def __init__(self, step):
        self.step = step

    def begin(self, rows):
        pass

    def report(self, row):
        if row[STEP] >= self.step:
            raise StoppedError


def without_timings(folder):
    return [{k: v for k, v in row.items() if k != SPEED} for row in read_metrics(folder / METRICS)]


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_training_ends_well_below_the_unigram_baseline(shard_folder, config, tmp_path):
    longer = config.model_copy(update={"training": config.training.model_copy(update={"steps": 300})})
    model, bits, seconds = train_model(shard_folder, tmp_path, longer)
    train, heldout = (
        scored_codes(load_runs(shard_folder, split), skipped)
        for split, skipped in (("train", 0), ("heldout", model.receptive_field))
    )
    assert bits < 0.75 * unigram_bits(train, heldout, 64)
    assert seconds > 0


@pytest.mark.parametrize("stop", INTERRUPTED_AFTER)
def test_resumed_training_matches_uninterrupted(shard_folder, config, tmp_path, stop):
    each_step = config.training.model_copy(update={"log_every": 1})
    logged = config.model_copy(update={"training": each_step})
    whole, whole_bits, _ = train_model(shard_folder, tmp_path / "whole", logged)
    with pytest.raises(StoppedError):
        train_model(shard_folder, tmp_path / "broken", logged, [StopAt(stop)])
    resumed, resumed_bits, _ = train_model(shard_folder, tmp_path / "broken", logged)
    assert without_timings(tmp_path / "broken") == without_timings(tmp_path / "whole")
    assert resumed_bits == whole_bits
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_a_resume_between_two_lines_of_metrics_keeps_their_mean(shard_folder, config, tmp_path):
    """Line 5 is a mean over steps 1 to 5; the training is broken off at the held-out look of step 8."""
    train_model(shard_folder, tmp_path / "whole", config)
    with pytest.raises(StoppedError):
        train_model(shard_folder, tmp_path / "broken", config, [StopAt(8)])
    train_model(shard_folder, tmp_path / "broken", config)
    assert without_timings(tmp_path / "broken") == without_timings(tmp_path / "whole")


def test_a_finished_training_run_again_only_scores(shard_folder, config, tmp_path):
    _, bits, _ = train_model(shard_folder, tmp_path, config)
    before = without_timings(tmp_path)
    _, again, _ = train_model(shard_folder, tmp_path, config)
    assert again == bits
    assert without_timings(tmp_path) == before


def test_reporters_hear_of_every_line_though_training_was_resumed(shard_folder, config, tmp_path):
    class Listener:
        def begin(self, rows):
            self.rows = list(rows)

        def report(self, row):
            self.rows.append(dict(row))

    with pytest.raises(StoppedError):
        train_model(shard_folder, tmp_path, config, [StopAt(16)])
    listener = Listener()
    train_model(shard_folder, tmp_path, config, [listener])
    assert listener.rows == read_metrics(tmp_path / METRICS)


@pytest.mark.parametrize("when", ["in a report", "amid a step"])
def test_a_training_stopped_by_ctrl_c_goes_on_exactly(shard_folder, config, tmp_path, monkeypatch, when):
    whole, whole_bits, _ = train_model(shard_folder, tmp_path / "whole", config)
    save = torch.optim.AdamW.step
    calls = []

    def step_and_stop(self, *args):
        save(self, *args)
        calls.append(1)
        if len(calls) == 10:
            raise KeyboardInterrupt

    class CtrlC:
        def begin(self, rows):
            pass

        def report(self, row):
            if row[STEP] == 10:
                raise KeyboardInterrupt

    if when == "amid a step":
        monkeypatch.setattr(torch.optim.AdamW, "step", step_and_stop)
    with pytest.raises(KeyboardInterrupt):
        train_model(shard_folder, tmp_path / "broken", config, [CtrlC()])
    monkeypatch.undo()
    resumed, bits, _ = train_model(shard_folder, tmp_path / "broken", config)
    assert bits == whole_bits
    assert without_timings(tmp_path / "broken") == without_timings(tmp_path / "whole")
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_metrics_have_train_held_out_rate_and_speed(shard_folder, config, tmp_path):
    train_model(shard_folder, tmp_path, config)
    rows = read_metrics(tmp_path / METRICS)
    assert [row[STEP] for row in rows if TRAIN_BITS in row] == [5, 10, 15, 20, 24]
    assert [row[STEP] for row in rows if HELDOUT_BITS in row] == [8, 16, 24]
    assert [row[STEP] for row in rows if FINAL_BITS in row] == [24]
    assert all(row[LEARNING_RATE] > 0 and row[SPEED] > 0 for row in rows if TRAIN_BITS in row)


def test_final_bits_score_every_held_out_sample_once(shard_folder, config, tmp_path):
    """By hand: the mean negative log2 likelihood of each held-out sample that has its context."""
    model, bits, _ = train_model(shard_folder, tmp_path, config)
    (run,) = load_runs(shard_folder, "heldout")
    codes = run.codes.astype(np.int64)
    with torch.no_grad():
        logits = model(torch.from_numpy(codes[None, :-1]))[0].double()
    nats = torch.nn.functional.cross_entropy(logits.T, torch.from_numpy(codes[model.receptive_field :]))
    assert len(scored_codes([run], model.receptive_field)) == logits.shape[1]
    assert bits == pytest.approx(float(nats) / math.log(2), rel=1e-5)


def test_learning_rate_warms_up_then_falls_to_its_final_share(config):
    training = config.training.model_copy(update={"steps": 100, "warmup_steps": 10, "final_rate_share": 0.1})
    rates = [learning_rate_at(step, training) for step in range(100)]
    assert rates[0] == pytest.approx(training.learning_rate / 10)
    assert max(rates) == pytest.approx(training.learning_rate)
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[-1] == pytest.approx(0.1 * training.learning_rate, rel=0.02)


def test_a_diverging_training_is_named_with_a_remedy(shard_folder, config, tmp_path):
    wild = config.training.model_copy(update={"learning_rate": 1e30, "clip_norm": 1e30, "warmup_steps": 0})
    with pytest.raises(TrainingDivergedError, match=r"lower training\.learning_rate"):
        train_model(shard_folder, tmp_path, config.model_copy(update={"training": wild}))


def test_too_long_a_receptive_field_is_refused_before_training(shard_folder, config, tmp_path):
    deep = config.model.model_copy(update={"dilation_cycle": 14})
    with pytest.raises(IncompatibleDataError, match="receptive field"):
        train_model(shard_folder, tmp_path, config.model_copy(update={"model": deep}))


@pytest.mark.parametrize("name", ["gpu9", "mps", "cuda"])
def test_a_device_that_is_not_there_is_named(name):
    if name == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigError, match=r"training\.device"):
        choose_device(name)
