"""Training learns, tells its figures truly, and resumes to the bit."""

import math
import random

import numpy as np
import pytest
import torch

from wavenet.data.dataset import load_runs, scored_codes
from wavenet.errors import (
    ConfigError,
    IncompatibleDataError,
    OutOfMemoryError,
    TrainingDivergedError,
    TrainingStoppedError,
)
from wavenet.evaluation.metrics import unigram_bits
from wavenet.training.checkpoint import list_checkpoints
from wavenet.training.likelihood import fast_loss
from wavenet.training.loop import CHECKPOINTS, train_model
from wavenet.training.metrics import (
    FINAL_BITS,
    HELDOUT_BITS,
    LEARNING_RATE,
    METRICS,
    SPEED,
    STEP,
    TRAIN_BITS,
    read_metrics,
)
from wavenet.training.precision import choose_device
from wavenet.training.schedule import LEAST_GAIN, learning_rate_at

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

    def tell(self, message):
        pass


def without_timings(folder):
    return [{k: v for k, v in row.items() if k != SPEED} for row in read_metrics(folder / METRICS)]


def assert_same(one, other):
    """Both trainings ended with the same figures and weights, to the bit."""
    assert (one.heldout_bits, one.free_bits, one.steps) == (other.heldout_bits, other.free_bits, other.steps)
    for name, tensor in other.model.state_dict().items():
        assert torch.equal(tensor, one.model.state_dict()[name]), name


def with_training(config, **values):
    return config.model_copy(update={"training": config.training.model_copy(update=values)})


def test_training_ends_well_below_the_unigram_baseline(shard_folder, config, tmp_path):
    longer = with_training(config, steps=300)
    trained = train_model(shard_folder, tmp_path, longer)
    train, heldout = (
        scored_codes(load_runs(shard_folder, split), skipped)
        for split, skipped in (("train", 0), ("heldout", trained.model.receptive_field))
    )
    assert trained.heldout_bits < 0.75 * unigram_bits(train, heldout, 64)
    assert trained.seconds > 0


@pytest.mark.parametrize("stop", INTERRUPTED_AFTER)
def test_resumed_training_matches_uninterrupted(shard_folder, config, tmp_path, stop):
    logged = with_training(config, log_every=1)
    whole = train_model(shard_folder, tmp_path / "whole", logged)
    with pytest.raises(StoppedError):
        train_model(shard_folder, tmp_path / "broken", logged, [StopAt(stop)])
    assert_same(train_model(shard_folder, tmp_path / "broken", logged), whole)
    assert without_timings(tmp_path / "broken") == without_timings(tmp_path / "whole")


EVERYTHING = {
    "log_every": 1, "ema_decay": 0.9, "schedule": "plateau", "plateau_looks": 1, "heldout_every": 2,
    "stop_after": 50, "micro_batch": 1, "weight_decay": 0.01, "precision": "bf16",
}  # fmt: skip


def test_killed_at_ten_random_steps_the_losses_are_those_of_the_uninterrupted_training(
    shard_folder, config, tmp_path
):
    """With all that has a state of its own: average, plateau, best weights, masks, micro-batches."""
    varied = config.model_copy(
        update={"model": config.model.model_copy(update={"dropout": 0.2, "weight_norm": True})}
    )
    varied = with_training(varied, **EVERYTHING)
    whole = train_model(shard_folder, tmp_path / "whole", varied)
    for stop in sorted(random.Random(4).sample(range(1, 24), 10)):
        with pytest.raises(StoppedError):
            train_model(shard_folder, tmp_path / "broken", varied, [StopAt(stop)])
    assert_same(train_model(shard_folder, tmp_path / "broken", varied), whole)
    assert without_timings(tmp_path / "broken") == without_timings(tmp_path / "whole")


def test_asked_to_stop_it_saves_a_checkpoint_and_goes_on_exactly(shard_folder, config, tmp_path):
    rarely = with_training(config, checkpoint_seconds=1e6)
    whole = train_model(shard_folder, tmp_path / "whole", rarely)
    asked = iter([False] * 6 + [True])
    with pytest.raises(TrainingStoppedError, match="after step 7"):
        train_model(shard_folder, tmp_path / "broken", rarely, should_stop=lambda: next(asked))
    assert [path.name for path in list_checkpoints(tmp_path / "broken" / CHECKPOINTS)] == ["step-00000007"]
    assert_same(train_model(shard_folder, tmp_path / "broken", rarely), whole)


def test_micro_batches_give_the_same_losses_rounding_aside(shard_folder, config, tmp_path):
    """Of the first steps: later ones make much of little, since Adam divides by what is small."""
    each = with_training(config, log_every=1, steps=6)
    train_model(shard_folder, tmp_path / "whole", each)
    train_model(shard_folder, tmp_path / "parts", with_training(each, micro_batch=1))
    assert train_bits(tmp_path / "parts") == pytest.approx(train_bits(tmp_path / "whole"), abs=1e-3)


def test_where_memory_ends_half_as_many_windows_are_taken_and_it_is_told(
    shard_folder, config, tmp_path, monkeypatch
):
    four = with_training(config, batch_size=4)
    expected = train_model(shard_folder, tmp_path / "whole", with_training(four, micro_batch=1))
    heard = []

    class Listener(StopAt):
        def tell(self, message):
            heard.append(message)

    def small_memory(model, windows, masks, dtype):
        if len(windows.codes) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return fast_loss(model, windows, masks, dtype)

    monkeypatch.setattr("wavenet.training.learner.fast_loss", small_memory)
    trained = train_model(shard_folder, tmp_path / "small", four, [Listener(10**6)])
    assert_same(trained, expected)
    assert [message.split(";")[0] for message in heard] == [
        "memory ended with 4 windows at a time", "memory ended with 2 windows at a time",
    ]  # fmt: skip


def test_where_memory_does_not_hold_one_window_the_remedy_is_named(
    shard_folder, config, tmp_path, monkeypatch
):
    def no_memory(*arguments):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr("wavenet.training.learner.fast_loss", no_memory)
    with pytest.raises(OutOfMemoryError, match=r"training\.scored_length"):
        train_model(shard_folder, tmp_path, config)


def test_other_errors_are_not_taken_for_a_lack_of_memory(shard_folder, config, tmp_path, monkeypatch):
    def broken(*arguments):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr("wavenet.training.learner.fast_loss", broken)
    with pytest.raises(RuntimeError, match="mat1"):
        train_model(shard_folder, tmp_path, config)


def test_the_average_of_the_weights_is_what_is_kept_and_scored(shard_folder, config, tmp_path):
    plain = train_model(shard_folder, tmp_path / "plain", config)
    averaged = train_model(shard_folder, tmp_path / "averaged", with_training(config, ema_decay=0.9))
    first, last = (train_bits(tmp_path / name) for name in ("plain", "averaged"))
    assert first == last  # training itself goes on as without
    weight = "head.logits.weight"
    assert not torch.equal(plain.model.state_dict()[weight], averaged.model.state_dict()[weight])
    looks = [
        row[HELDOUT_BITS] for row in read_metrics(tmp_path / "averaged" / METRICS) if HELDOUT_BITS in row
    ]
    assert looks[-1] == pytest.approx(averaged.heldout_bits, rel=0.2)


def train_bits(folder):
    return [row[TRAIN_BITS] for row in read_metrics(folder / METRICS) if TRAIN_BITS in row]


def test_training_stops_where_held_out_audio_gains_no_more_and_keeps_the_best_weights(
    shard_folder, config, tmp_path
):
    """A rate that is too high: the held-out bits go up and down, and not down for good."""
    restless = with_training(
        config, steps=400, heldout_every=2, heldout_windows=100, stop_after=3, learning_rate=0.05,
        schedule="constant",
    )  # fmt: skip
    trained = train_model(shard_folder, tmp_path, restless)
    looks = [row[HELDOUT_BITS] for row in read_metrics(tmp_path / METRICS) if HELDOUT_BITS in row]
    assert trained.steps < 400
    gained, best = 0, looks[0]
    for look, bits in enumerate(looks):
        if bits < best - LEAST_GAIN:  # the least of all may be lower by less
            gained, best = look, bits
    assert len(looks) - 1 - gained == 3
    assert trained.heldout_bits == pytest.approx(best, rel=1e-5)  # all windows are looked at


def test_a_resume_between_two_lines_of_metrics_keeps_their_mean(shard_folder, config, tmp_path):
    """Line 5 is a mean over steps 1 to 5; the training is broken off at the held-out look of step 8."""
    train_model(shard_folder, tmp_path / "whole", config)
    with pytest.raises(StoppedError):
        train_model(shard_folder, tmp_path / "broken", config, [StopAt(8)])
    train_model(shard_folder, tmp_path / "broken", config)
    assert without_timings(tmp_path / "broken") == without_timings(tmp_path / "whole")


def test_a_finished_training_run_again_only_scores(shard_folder, config, tmp_path):
    first = train_model(shard_folder, tmp_path, config)
    before = without_timings(tmp_path)
    assert_same(train_model(shard_folder, tmp_path, config), first)
    assert without_timings(tmp_path) == before


def test_reporters_hear_of_every_line_though_training_was_resumed(shard_folder, config, tmp_path):
    class Listener:
        def begin(self, rows):
            self.rows = list(rows)

        def report(self, row):
            self.rows.append(dict(row))

        def tell(self, message):
            pass

    with pytest.raises(StoppedError):
        train_model(shard_folder, tmp_path, config, [StopAt(16)])
    listener = Listener()
    train_model(shard_folder, tmp_path, config, [listener])
    assert listener.rows == read_metrics(tmp_path / METRICS)


def test_a_training_tells_of_the_damaged_checkpoint_that_it_does_not_go_on_from(
    shard_folder, config, tmp_path
):
    class Listener(StopAt):
        def tell(self, message):
            heard.append(message)

    with pytest.raises(StoppedError):
        train_model(shard_folder, tmp_path, config, [StopAt(16)])
    heard, newest = [], list_checkpoints(tmp_path / CHECKPOINTS)[-1]
    (newest / "optimizer.safetensors").write_bytes(b"torn")
    train_model(shard_folder, tmp_path, config, [Listener(10**6)])
    assert [message for message in heard if message.startswith(f"{newest}: cannot be used")]


@pytest.mark.parametrize("when", ["in a report", "amid a step"])
def test_a_training_stopped_by_ctrl_c_goes_on_exactly(shard_folder, config, tmp_path, monkeypatch, when):
    whole = train_model(shard_folder, tmp_path / "whole", config)
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

        def tell(self, message):
            pass

    if when == "amid a step":
        monkeypatch.setattr(torch.optim.AdamW, "step", step_and_stop)
    with pytest.raises(KeyboardInterrupt):
        train_model(shard_folder, tmp_path / "broken", config, [CtrlC()])
    monkeypatch.undo()
    assert_same(train_model(shard_folder, tmp_path / "broken", config), whole)
    assert without_timings(tmp_path / "broken") == without_timings(tmp_path / "whole")


def test_metrics_have_train_held_out_rate_and_speed(shard_folder, config, tmp_path):
    train_model(shard_folder, tmp_path, config)
    rows = read_metrics(tmp_path / METRICS)
    assert [row[STEP] for row in rows if TRAIN_BITS in row] == [5, 10, 15, 20, 24]
    assert [row[STEP] for row in rows if HELDOUT_BITS in row] == [8, 16, 24]
    assert [row[STEP] for row in rows if FINAL_BITS in row] == [24]
    assert all(row[LEARNING_RATE] > 0 and row[SPEED] > 0 for row in rows if TRAIN_BITS in row)


def test_final_bits_score_every_held_out_sample_once(shard_folder, config, tmp_path):
    """By hand: the mean negative log2 likelihood of each held-out sample that has its context."""
    trained = train_model(shard_folder, tmp_path, config)
    model, bits = trained.model, trained.heldout_bits
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
    wild = with_training(config, learning_rate=1e30, clip_norm=1e30, warmup_steps=0)
    with pytest.raises(TrainingDivergedError, match=r"learning_rate is too high"):
        train_model(shard_folder, tmp_path, wild)


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
