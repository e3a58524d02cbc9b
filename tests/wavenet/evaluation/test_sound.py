"""Figures of sound are what they are called, and windows miss nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavenet.audio.quantization import Quantizer
from wavenet.evaluation.sound import clipped_from, list_windows, measure_sound

RATE = 8000


def measure(waveform, silent_db=-60.0):
    return measure_sound(np.asarray(waveform, np.float32), RATE, silent_db, 0.999)


def make_noise(seconds=4.0, level=0.1):
    return level * np.random.default_rng(0).standard_normal(round(seconds * RATE))


def test_the_level_is_the_rms_in_db_of_full_scale():
    assert measure(np.full(RATE, 0.1)).level_db == pytest.approx(-20, abs=1e-4)
    assert measure(make_noise()).level_db == pytest.approx(-20, abs=0.2)


def test_white_noise_is_flat_and_a_tone_is_not_whatever_the_level():
    tone = np.sin(2 * np.pi * 440 * np.arange(4 * RATE) / RATE)
    for level in (0.5, 0.01):
        assert measure(make_noise(level=level)).flatness_db == pytest.approx(-2.5, abs=0.2)
        assert measure(level * tone).flatness_db < -40


def test_what_is_silent_has_no_flatness_and_does_not_count_in_that_of_the_rest():
    assert measure(np.zeros(RATE)).flatness_db is None
    noise = make_noise()
    noise[RATE:] = 1e-4 * np.sin(np.arange(3 * RATE))
    assert measure(noise).flatness_db == pytest.approx(-2.5, abs=0.3)


def test_hits_are_counted_and_the_cut_at_the_start_is_none():
    clock = np.arange(4 * RATE) / RATE
    hits = 0.5 * np.sin(2 * np.pi * 300 * clock) * np.exp(-20 * (clock % 0.5))  # the first at 0, on the cut
    assert measure(hits).onsets_per_second == 7 / 4
    assert measure(np.zeros(RATE)).onsets_per_second == 0


def test_the_share_of_samples_at_full_scale_is_counted():
    waveform = make_noise(1.0)
    waveform[:80] = 1.0
    waveform[-80:] = -1.0
    assert measure(waveform).clipped_share == 160 / RATE


@pytest.mark.parametrize("quantizer", [Quantizer("mu-law", 16), Quantizer("linear", 256)])
def test_the_outermost_levels_are_full_scale_in_either_law(quantizer):
    codes = np.array([0, quantizer.silence_code, quantizer.quantization_channels - 1])
    full_scale = clipped_from(quantizer)
    assert measure_sound(quantizer.decode(codes), RATE, -60, full_scale).clipped_share == pytest.approx(2 / 3)


def test_rests_are_told_by_their_share_and_the_longest():
    waveform = make_noise()
    waveform[: RATE // 2] = 0  # half a second
    waveform[2 * RATE : 3 * RATE] *= 1e-4  # a second, 80 dB lower
    sound = measure(waveform)
    assert sound.silent_share == pytest.approx(1.5 / 4)
    assert sound.longest_silence_seconds == pytest.approx(1.0)
    assert measure(np.zeros(RATE)).silent_share == 1


def test_what_repeats_itself_is_told_from_what_does_not():
    noise = make_noise()
    loop = np.tile(noise[: RATE // 4], 16)
    assert measure(loop).repetition == pytest.approx(1, abs=1e-6)
    assert measure(0.01 * loop).repetition == pytest.approx(1, abs=1e-6)
    assert measure(loop + 0.3).repetition == pytest.approx(1, abs=1e-6)  # an offset changes nothing
    assert measure(noise).repetition < 0.05
    assert measure(loop + noise).repetition == pytest.approx(0.5, abs=0.1)
    assert measure(np.zeros(4 * RATE)).repetition == 0
    assert measure(noise[:RATE]).repetition == 0  # nothing comes twice in so short a time


@pytest.mark.parametrize("num_samples", [1, 7, 200])
def test_a_moment_can_be_measured(num_samples):
    assert measure(make_noise()[:num_samples]).level_db > -60


@given(st.integers(0, 40 * RATE))
def test_windows_cover_each_sample_and_only_a_short_take_has_a_short_one(num_samples):
    windows = list(list_windows(num_samples, RATE))
    covered = np.zeros(num_samples, bool)
    for window in windows:
        covered[window.start : window.stop] = True
    assert covered.all()
    assert {len(window) for window in windows} <= {min(num_samples, 4 * RATE)}
    assert len({window.start for window in windows}) == len(windows)
