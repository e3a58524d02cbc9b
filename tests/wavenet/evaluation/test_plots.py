"""Plots: readable PNGs of any sound and any training, the same bytes each time, from any thread."""

import math
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from numpy.typing import NDArray

from wavenet.evaluation import plots
from wavenet.evaluation.plots import LABEL_GAP, plot_loss, plot_mel
from wavenet.training.metrics import FINAL_BITS, HELDOUT_BITS, STEP, TRAIN_BITS

BASELINES = {"uniform": 8.0, "unigram": 5.1}
TRAINING = [
    *({STEP: step, TRAIN_BITS: 3 + 5 * math.exp(-step / 60)} for step in range(10, 310, 10)),
    *({STEP: step, HELDOUT_BITS: 3.2 + 5 * math.exp(-step / 60)} for step in range(50, 350, 50)),
    {STEP: 300, FINAL_BITS: 3.3},
]


@pytest.fixture(autouse=True)
def _warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def read_png(path: Path) -> NDArray[np.float32]:
    return np.asarray(matplotlib.image.imread(path))[..., :3]


def share_of_ink(picture: NDArray[np.float32]) -> float:
    return float((picture.min(axis=-1) < 0.95).mean())


def tone(seconds: float, sample_rate: int, hertz: float = 440.0) -> NDArray[np.float32]:
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    return np.sin(2 * np.pi * hertz * time).astype(np.float32)


@pytest.mark.parametrize("sample_rate", [8000, 11025, 16000, 44100])
@pytest.mark.parametrize("seconds", [0.05, 1.0, 45.0])
def test_mel_of_any_length_and_rate_is_drawn_without_a_warning(tmp_path, seconds, sample_rate):
    plot_mel(tone(seconds, sample_rate), sample_rate, tmp_path / "mel.png")
    assert share_of_ink(read_png(tmp_path / "mel.png")) > 0.02


@pytest.mark.parametrize("num_samples", [0, 1, 400, 8000])
def test_silence_is_blank_and_not_an_error(tmp_path, num_samples):
    plot_mel(np.zeros(num_samples, np.float32), 8000, tmp_path / "silence.png")
    height, width = read_png(tmp_path / "silence.png").shape[:2]
    inside = read_png(tmp_path / "silence.png")[height // 4 : height // 2, width // 4 : 3 * width // 4]
    assert inside.min() > 0.99


def test_full_scale_sine_is_near_zero_decibels():
    decibels, _ = plots._mel_decibels(tone(1.0, 16000, 1000.0), 16000)
    assert decibels.max() == pytest.approx(0, abs=3)
    assert decibels.min() >= plots.FLOOR_DB


def test_louder_sounds_leave_more_ink(tmp_path):
    noise = np.random.default_rng(0).normal(size=8000).astype(np.float32)
    for name, gain in (("loud", 0.3), ("quiet", 0.0003)):
        plot_mel(gain * noise, 8000, tmp_path / f"{name}.png")
    assert read_png(tmp_path / "loud.png").mean() < read_png(tmp_path / "quiet.png").mean() - 0.1


@pytest.mark.parametrize("num_samples", [0, 1, 400, 40_000])
def test_onsets_of_any_length_are_drawn_without_a_warning(tmp_path, num_samples):
    plots.plot_onsets(tone(num_samples / 16000, 16000), 16000, tmp_path / "onsets.png")
    assert share_of_ink(read_png(tmp_path / "onsets.png")) > 0


def test_hits_leave_more_ink_than_a_hum(tmp_path):
    hits = np.zeros(32_000, np.float32)
    hits[4000::8000] = 1
    for name, waveform in (("hits", hits), ("hum", 0.1 * tone(2, 16000))):
        plots.plot_onsets(waveform, 16000, tmp_path / f"{name}.png")
    assert read_png(tmp_path / "hits.png").mean() < read_png(tmp_path / "hum.png").mean()


def test_loss_plot_is_readable(tmp_path):
    plot_loss(TRAINING, BASELINES, tmp_path / "loss.png")
    assert 0.01 < share_of_ink(read_png(tmp_path / "loss.png")) < 0.2


@pytest.mark.parametrize("rows", [[], TRAINING[:1], TRAINING[-1:], [{STEP: 10, TRAIN_BITS: math.nan}]])
@pytest.mark.parametrize("baselines", [{}, BASELINES])
def test_loss_plot_of_little_or_nothing_works(tmp_path, rows, baselines):
    plot_loss(rows, baselines, tmp_path / "loss.png")
    assert share_of_ink(read_png(tmp_path / "loss.png")) > 0


def test_labels_never_overlap():
    heights = plots._spread([0.1, 0.11, 0.12, 0.9])
    assert heights[0] == 0.1
    assert heights[3] == 0.9
    assert min(np.diff(heights)) >= LABEL_GAP - 1e-9


def test_same_input_gives_same_bytes_in_any_thread(tmp_path):
    waveform = tone(1.0, 8000)

    def draw(index: int) -> tuple[bytes, bytes]:
        loss, mel = tmp_path / f"loss-{index}.png", tmp_path / f"mel-{index}.png"
        plot_loss(TRAINING, BASELINES, loss)
        plot_mel(waveform, 8000, mel)
        return loss.read_bytes(), mel.read_bytes()

    with ThreadPoolExecutor(3) as pool:
        assert len({draw(0), *pool.map(draw, range(1, 7))}) == 1


def test_a_plot_names_no_software_and_leaves_no_other_file(tmp_path):
    plot_loss(TRAINING, BASELINES, tmp_path / "loss.png")
    assert b"matplotlib" not in (tmp_path / "loss.png").read_bytes().lower()
    assert [path.name for path in tmp_path.iterdir()] == ["loss.png"]


def test_a_plot_that_fails_keeps_the_older_one(tmp_path, monkeypatch):
    path = tmp_path / "mel.png"
    path.write_bytes(b"older")

    def fill_disk(source: Path) -> None:
        raise OSError(f"{source}: no space left")

    monkeypatch.setattr(plots, "sync_file", fill_disk)
    with pytest.raises(OSError, match="no space left"):
        plot_mel(tone(0.1, 8000), 8000, path)
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]
