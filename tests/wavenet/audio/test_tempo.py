"""The tempo of made-up onset strength: where it is, where there is none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavenet.audio.features import extract_features
from wavenet.audio.tempo import FRAME_RATE, METRE, estimate_tempo


def onsets(bpm, seconds, pattern=(1.0, 0.5), seed=0):
    """Onset strength of strokes, three frames wide; pattern: how strong each of a bar's equal parts is."""
    generator = np.random.default_rng(seed)
    curve = generator.exponential(0.05, round(seconds * FRAME_RATE))
    stroke = 240 / bpm / len(pattern) * FRAME_RATE
    for number in range(int(len(curve) / stroke)):
        curve[round(number * stroke)] += pattern[number % len(pattern)]
    return np.convolve(curve, [0.5, 1, 0.5], "same")


FOUR = (1.0, 0.5, 0.8, 0.5)
EIGHTHS = (1.0, 0.2, 0.7, 0.2, 0.9, 0.2, 0.7, 0.4)


@given(bpm=st.floats(85, 170), seconds=st.floats(8, 40), pattern=st.sampled_from([FOUR, EIGHTHS]))
@settings(max_examples=60, deadline=None)
def test_the_tempo_of_strokes_is_found_up_to_a_factor_of_two(bpm, seconds, pattern):
    tempo = estimate_tempo(onsets(bpm, seconds, pattern), FRAME_RATE)
    assert tempo is not None
    assert min(abs(tempo.bpm / bpm / factor - 1) for factor in (0.5, 1, 2)) < 0.03


def test_a_steady_beat_is_clear():
    tempo = estimate_tempo(onsets(120, 20, (1.0, 1.0, 1.0, 1.0)), FRAME_RATE)
    assert tempo.clarity > 0.8


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_noise_has_no_tempo(seed):
    noise = np.random.default_rng(seed).exponential(1.0, 30 * FRAME_RATE)
    assert estimate_tempo(noise, FRAME_RATE) is None


@pytest.mark.parametrize("curve", [np.zeros(0), np.zeros(1000), np.ones(1000), onsets(120, 0.9)])
def test_silence_and_what_is_shorter_than_a_second_have_no_tempo(curve):
    assert estimate_tempo(curve, FRAME_RATE) is None


def test_a_dotted_rhythm_is_not_taken_for_its_beat():
    """Strokes on 1, 2-and and 4 of a bar: by one lag alone, a beat and a half would win."""
    tempo = estimate_tempo(onsets(120, 16, (1.0, 0, 0.2, 0.9, 0.2, 0, 0.9, 0)), FRAME_RATE)
    assert min(abs(tempo.bpm / 120 / factor - 1) for factor in (0.5, 1, 2)) < 0.03
    assert 1.5 not in METRE


def test_onset_strength_of_audio_has_the_tempo_of_its_clicks():
    rate, bpm = 8000, 96
    click = np.exp(-np.arange(800) / 100) * np.random.default_rng(1).standard_normal(800)
    waveform = np.zeros(12 * rate, np.float32)
    for start in range(0, len(waveform) - 800, rate * 60 // bpm):
        waveform[start : start + 800] += 0.3 * click
    frames = extract_features([waveform], rate, rate // FRAME_RATE, ["onset"])
    onset = np.concatenate([chunk["onset"][:, 0] for chunk in frames])
    assert estimate_tempo(onset, FRAME_RATE).bpm == pytest.approx(bpm, rel=0.02)
