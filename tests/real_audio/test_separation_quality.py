"""How well Demucs separates rendered music, of which the true stems are known.

Through the product's own code. The figure is SI-SDR (Le Roux et al. 2019), and how much of it is gained
over taking the mixture for the stem. With the stock weights in the hub cache it says something of
separation; with random ones, only that it is computed.
"""

import os
import statistics
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

from wavenet.audio.io import AudioSource, convert_audio, read_audio
from wavenet.audio.separation import separate_file
from wavenet.audio.separator import load_separator
from wavenet.audio.weights import find_weights
from wavenet.config import SeparationConfig
from wavenet.errors import SeparationError
from wavenet.evaluation.metrics import si_sdr

pytestmark = pytest.mark.real_audio

START_SECONDS, REAL_SECONDS, TINY_SECONDS = 20.0, 30.0, 3.0


@pytest.fixture
def stock_separator():
    """The stock model that WAVEBAND_DEMUCS_MODEL names, if its weights have been fetched."""
    config = SeparationConfig(model=os.environ.get("WAVEBAND_DEMUCS_MODEL") or "htdemucs")
    try:
        find_weights(config)
    except SeparationError as error:
        pytest.skip(f"no real weights: {error}")
    return load_separator(config)


@pytest.fixture
def tiny_separator(monkeypatch, tiny_demucs):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tiny_demucs))
    return load_separator(SeparationConfig(device="cpu"))


def score_song(separator, song: Path, place: Path, seconds: float) -> dict[str, tuple[float, float]]:
    """SI-SDR of each stem that is known and sounds: as it was separated, and of the mixture in its place."""

    def excerpt(name: str) -> Path:
        source = AudioSource(song / f"{name}.wav", START_SECONDS, START_SECONDS + seconds)
        converted = place / f"true-{name}.wav"
        convert_audio([source], converted, separator.sample_rate, separator.num_channels)
        return converted

    mixture = excerpt("mixture")
    separation = separate_file(separator, mixture, place)
    scores = {}
    for stem in separation.stems:
        if (song / f"{stem}.wav").is_file():
            truth, estimate, whole = (
                read_audio(path)[0] for path in (excerpt(stem), place / f"{stem}.wav", mixture)
            )
            if np.ptp(truth) > 1e-3:
                scores[stem] = (si_sdr(truth, estimate), si_sdr(truth, whole))
    return scores


def score_songs(separator, songs, tmp_path, seconds, record_property) -> dict[str, list[tuple[float, float]]]:
    """Scores of all songs by stem, reported."""
    scores: dict[str, list[tuple[float, float]]] = {}
    for song in songs:
        place = tmp_path / song.name
        place.mkdir()
        for stem, (separated, mixture) in score_song(separator, song, place, seconds).items():
            scores.setdefault(stem, []).append((separated, mixture))
            record_property(f"si_sdr_db/{song.name}/{stem}", round(separated, 2))
            print(f"{song.name:<28} {stem:<8} SI-SDR {separated:6.1f} dB, of the mixture {mixture:6.1f} dB")
    return scores


def songs_of(real_audio: Path) -> list[Path]:
    return sorted(path.parent for path in real_audio.glob("stems/*/mixture.wav"))


@pytest.mark.timeout(3600)
def test_separated_stems_are_nearer_to_the_true_ones_than_the_mixture(
    stock_separator, real_audio, tmp_path, record_property
):
    scores = score_songs(stock_separator, songs_of(real_audio), tmp_path, REAL_SECONDS, record_property)
    for stem in ("drums", "bass"):
        gained = [separated - mixture for separated, mixture in scores[stem]]
        assert statistics.median(gained) > 0, (stem, gained)


def test_the_figure_is_computed_without_real_weights_too(
    tiny_separator, real_audio, tmp_path, record_property
):
    """Of random weights: no claim of quality."""
    scores = score_songs(tiny_separator, songs_of(real_audio)[:2], tmp_path, TINY_SECONDS, record_property)
    assert set(scores) >= {"drums", "other"}
    assert np.isfinite([figures for stem in scores.values() for figures in stem]).all()
