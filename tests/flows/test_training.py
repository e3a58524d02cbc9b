"""`waveband train`: one model by itself, ended and gone on with, and beside one from scratch."""

import json
import os
import shutil
import signal
import time

import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.training import train_shards
from tests.small_training import shard_folder
from wavenet.errors import ConfigError, IncompatibleDataError
from wavenet.files import read_json
from wavenet.model import TRAINED
from wavenet.model.saved import load_model
from wavenet.training.metrics import FINAL_BITS, HELDOUT_BITS, METRICS, SPEED, STEP, read_metrics

__all__ = ["shard_folder"]

SMALL = """
model: {dilation_cycle: 4, num_cycles: 1, residual_channels: 8, gate_channels: 8, skip_channels: 8}
training: {steps: 24, batch_size: 2, scored_length: 100, learning_rate: 5.0e-3, warmup_steps: 2, log_every: 4,
           heldout_every: 8, heldout_windows: 3, checkpoint_seconds: 0, precision: fp32}
"""


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="module")
def lent(shard_folder, tmp_path_factory):
    """The folder of a finished training."""
    folder = tmp_path_factory.mktemp("lent")
    (folder / "small.yaml").write_text(SMALL)
    return train_shards(str(shard_folder), [str(folder / "small.yaml")], [], folder / "w", folder / "out").out


@pytest.fixture
def train(shard_folder, small, tmp_path):
    def train(*overrides, **options):
        return train_shards(
            str(shard_folder), [str(small)], list(overrides), tmp_path / "workspace", **options
        )

    return train


@pytest.fixture
def stop_at(monkeypatch):
    """Make the next training end after a step, as Ctrl-C does."""
    from tasks import training_folder

    def stop_at(step):
        class Impatient(training_folder.TrainingProgress):
            def report(self, row):
                super().report(row)
                if row[STEP] >= step:
                    monkeypatch.undo()
                    raise KeyboardInterrupt

        monkeypatch.setattr(training_folder, "TrainingProgress", Impatient)

    return stop_at


def lines_of(folder):
    return [{k: v for k, v in row.items() if k != SPEED} for row in read_metrics(folder / METRICS)]


def looks_of(folder):
    return {row[STEP]: row[HELDOUT_BITS] for row in read_metrics(folder / METRICS) if HELDOUT_BITS in row}


def test_a_model_is_left_with_its_figures_and_its_curve(train, tmp_path):
    output = train(out=tmp_path / "mine")
    _, card = load_model(output.model)
    assert card.stem == "drums"
    assert output.out == tmp_path / "mine"
    figures = read_json(tmp_path / "mine" / "figures.json")
    assert figures["heldout_bits"] == output.result.heldout_bits == lines_of(output.out)[-1][FINAL_BITS]
    assert figures["baselines"]["uniform"] == 6.0
    assert 0 < figures["baselines"]["unigram"] < 6
    assert (tmp_path / "mine" / "loss.png").is_file()
    assert not list((tmp_path / "workspace").glob("mlflow*"))


def test_it_prints_bits_beside_baselines_and_one_json_object_as_its_last_line(shard_folder, small, tmp_path):
    arguments = ["train", shard_folder, "--config", small, "--workspace", tmp_path / "w", "--json"]
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout.splitlines()[-1])
    assert told["steps"] == 24
    for text in (f"model {told['heldout_bits']:.3f}", "uniform 6.000", "trained 24 steps", told["model"]):
        assert text in result.stdout
    assert told["out"].startswith(str(tmp_path / "w" / "models" / "drums-"))


def test_what_is_finished_is_not_trained_again(train):
    first = train()
    before = (first.model / "model.safetensors").stat().st_mtime_ns
    for again in (train(), train(resume=True)):
        assert again == first
    assert (first.model / "model.safetensors").stat().st_mtime_ns == before
    assert train("training.steps=8").out != first.out


def test_stopped_it_names_both_ways_and_resumed_it_ends_as_if_it_had_not_been(train, stop_at, lent, tmp_path):
    stop_at(8)
    with pytest.raises(KeyboardInterrupt):
        train(out=tmp_path / "mine")
    shutil.rmtree(tmp_path / "mine" / TRAINED, ignore_errors=True)  # it may have been at its end already
    with pytest.raises(
        ConfigError, match="unfinished training; go on with it by --resume, or begin anew with"
    ):
        train(out=tmp_path / "mine")
    with pytest.raises(ConfigError, match=r"other settings: training\.steps was 24 and is 30; set them as"):
        train("training.steps=30", out=tmp_path / "mine", resume=True)
    train("training.checkpoint_seconds=9", out=tmp_path / "mine", resume=True)
    assert lines_of(tmp_path / "mine") == lines_of(lent)


def test_where_there_is_nothing_to_resume_it_says_so_and_leaves_nothing(train, tmp_path):
    with pytest.raises(ConfigError, match="there is nothing to resume; leave --resume out to begin"):
        train(out=tmp_path / "mine", resume=True)
    assert not (tmp_path / "mine").exists()
    name = train().out.name
    with pytest.raises(ConfigError, match=f"name one of those there are with --out: {name}"):
        train("training.steps=5", resume=True)


def test_a_folder_of_something_else_is_left_alone(train, tmp_path):
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "song.wav").touch()
    with pytest.raises(ConfigError, match="holds something else than a training"):
        train(out=tmp_path / "music")
    assert [path.name for path in (tmp_path / "music").iterdir()] == ["song.wav"]


def test_a_setting_that_cannot_work_leaves_no_folder_in_the_way(train, tmp_path):
    with pytest.raises(IncompatibleDataError):
        train("model.dilation_cycle=14", out=tmp_path / "mine")
    with pytest.raises(ConfigError, match="no weight is named 'head2'"):
        train("training.freeze=[head2]", out=tmp_path / "mine")
    assert train("training.freeze=[input]", out=tmp_path / "mine").result.steps == 24


def test_a_stems_overrides_hold_here_too(train):
    assert train("stems.drums.training.steps=8", "stems.bass.training.steps=5").result.steps == 8


def test_other_weights_are_begun_with_and_other_ones_are_another_training(train, lent):
    begun = train(f"training.init_from={lent}")
    assert begun.result.transfer["fresh"] == {}
    assert looks_of(begun.out)[8] < looks_of(lent)[8]
    with pytest.raises(ConfigError, match=r"training\.init_from was None and is [0-9a-f]{32}"):
        train(f"training.init_from={begun.out}", out=lent)


def test_frozen_and_slowed_weights_do_as_they_are_told_from_scratch_they_all_learn(train, lent):
    output = train(
        f"training.init_from={lent}", "training.freeze=[layers.0]", "training.init_rate_share=0.01",
        against_scratch=True,
    )  # fmt: skip
    theirs, mine = (load_model(folder)[0].state_dict() for folder in (lent / "trained", output.model))
    moved = (mine["layers.1.dilated.weight"] - theirs["layers.1.dilated.weight"]).abs().max()
    assert 0 < moved < 24 * 5e-3 * 0.01  # AdamW moves a weight by about its rate a step
    assert mine["layers.0.dilated.weight"].equal(theirs["layers.0.dilated.weight"])
    assert (output.out / "scratch" / "trained").is_dir()
    assert lines_of(output.out / "scratch") == lines_of(lent)  # same windows, same seed


def test_transfer_stands_beside_scratch_step_by_step(shard_folder, small, lent, tmp_path):
    arguments = ["train", shard_folder, "--config", small, "--workspace", tmp_path / "w", "--json"]
    asked = [*arguments, "--init-from", lent, "--against-scratch", "--out", tmp_path / "both"]
    result = CliRunner().invoke(app, list(map(str, asked)))
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout.splitlines()[-1])["comparison"]
    looks = {name: looks_of(tmp_path / "both" / name) for name in ("transfer", "scratch")}
    assert [row["step"] for row in told["looks"]] == [8, 16, 24]
    for row in told["looks"]:
        assert row["transfer"] == looks["transfer"][row["step"]]
        assert row["difference"] == row["transfer"] - row["scratch"]
    assert told["reached_at"] == min(
        s for s, bits in looks["transfer"].items() if bits <= looks["scratch"][24]
    )
    assert f"After {told['reached_at']} steps transfer reached what scratch ended with" in result.stdout
    assert "weights taken over" in result.stdout
    assert read_json(tmp_path / "both" / "comparison.json") == told
    assert (tmp_path / "both" / "comparison.png").is_file()


def test_stopped_between_both_ways_the_comparison_goes_on(train, stop_at, lent, tmp_path):
    options = {"out": tmp_path / "both", "against_scratch": True}
    stop_at(16)
    with pytest.raises(KeyboardInterrupt):
        train(f"training.init_from={lent}", **options)
    with pytest.raises(ConfigError, match="--resume"):
        train(f"training.init_from={lent}", **options)
    with pytest.raises(ConfigError, match="against_scratch was True and is False"):
        train(f"training.init_from={lent}", out=tmp_path / "both", resume=True)
    resumed = train(f"training.init_from={lent}", **options, resume=True)
    assert lines_of(resumed.out / "scratch") == lines_of(lent)
    assert resumed.comparison.transfer_steps == 24


def test_a_comparison_needs_weights_to_begin_with(train):
    with pytest.raises(ConfigError, match="name them with --init-from"):
        train(against_scratch=True)


def test_two_processes_end_with_the_losses_of_one(train, lent, tmp_path):
    two = train("training.processes=2", out=tmp_path / "two")
    assert two.result.heldout_bits == pytest.approx(lines_of(lent)[-1][FINAL_BITS], abs=2e-3)
    for row, other in zip(lines_of(lent), lines_of(two.out), strict=True):
        assert other == pytest.approx(row, abs=2e-3, rel=1e-2)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_or_sigterm_ends_all_processes_with_a_checkpoint(waveband, shard_folder, small, tmp_path, how):
    long = ["training.steps=100000", "training.processes=2", "training.checkpoint_seconds=1000000"]
    process = waveband("train", shard_folder, "--config", small, "--out", tmp_path / "mine", *long)
    end = time.monotonic() + 300
    while len(read_metrics(tmp_path / "mine" / METRICS)) < 3:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.1)
    sessions = started_below(process.pid)
    assert len(sessions) == 3  # torchrun and two
    os.killpg(process.pid, how)  # as a terminal does
    _, err = process.communicate(timeout=200)
    for session in sessions:
        session.wait(60)
    assert list((tmp_path / "mine" / "checkpoints").glob("step-*"))
    assert process.returncode == (130 if how == signal.SIGINT else -signal.SIGTERM)
    assert ("with --resume" in err) == (how == signal.SIGINT)
    assert "Traceback" not in err


def test_an_error_of_several_processes_is_one_message(waveband, shard_folder, small):
    wrong = ["training.processes=2", "training.freeze=[head2]"]
    process = waveband("train", shard_folder, "--config", small, *wrong)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 1
    (line,) = err.splitlines()
    assert line.startswith("waveband: training.freeze: no weight is named 'head2'")


def started_below(pid):
    import psutil

    return psutil.Process(pid).children(recursive=True)


def test_fewer_windows_than_processes_is_refused(train):
    with pytest.raises(ConfigError, match="batch_size is 2, too few for 3 processes"):
        train("training.processes=3")
