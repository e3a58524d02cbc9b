"""The tempo of a track is that of its stems together, from where it sounds on."""

import numpy as np
import pytest

from wavenet.audio.io import write_audio
from wavenet.data.tempos import measure_tempo

RATE = 8000


def write_clicks(path, seconds, every, offset=0.0, channels=1):
    """A click each so many seconds."""
    waveform = np.zeros(round(seconds * RATE), np.float32)
    click = 0.3 * np.random.default_rng(0).standard_normal(400) * np.exp(-np.arange(400) / 80)
    for start in np.arange(offset, seconds - 0.1, every):
        waveform[round(start * RATE) :][:400] += click.astype(np.float32)
    write_audio(path, np.repeat(waveform[:, None], channels, axis=1), RATE)
    return path


@pytest.mark.parametrize("channels", [1, 2])
def test_stems_that_play_in_turn_have_the_beat_of_both(tmp_path, channels):
    kick = write_clicks(tmp_path / "kick.wav", 16, every=1.2, channels=channels)
    snare = write_clicks(tmp_path / "snare.wav", 12, every=1.2, offset=0.6, channels=channels)
    assert measure_tempo([kick, snare]).bpm == pytest.approx(100, abs=1)


def test_a_long_silence_before_is_passed_over(tmp_path):
    late = write_clicks(tmp_path / "late.wav", 80, every=0.5, offset=61.0)
    assert measure_tempo([late]) is None
    assert measure_tempo([late], start_seconds=60.0).bpm == pytest.approx(120, abs=1)


def test_silence_has_no_tempo(tmp_path):
    write_audio(tmp_path / "silence.wav", np.zeros(4 * RATE, np.float32), RATE)
    assert measure_tempo([tmp_path / "silence.wav"]) is None
