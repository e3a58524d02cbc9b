"""The mix is the sum of its stems, and clipping is the whole mix's business."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavenet.audio.mixing import FULL_SCALE, mix_stems, prevent_clipping
from wavenet.errors import IncompatibleDataError

SAMPLES = st.integers(-(2**20), 2**20).map(lambda n: np.float32(n / 2**21))


@pytest.fixture
def stems():
    rng = np.random.default_rng(0)
    return {name: rng.normal(0, 0.3, 500).astype(np.float32) for name in ("drums", "bass", "vocals")}


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(SAMPLES, min_size=8, max_size=8), min_size=n)))
def test_mix_equals_sum_of_stems(rows):
    stems = {str(number): np.array(row, np.float32) for number, row in enumerate(rows)}
    mix = mix_stems(stems, {}, "none")
    assert mix.dtype == np.float32
    assert np.array_equal(mix, np.sum(rows, axis=0, dtype=np.float64).astype(np.float32))


def test_the_order_of_stems_does_not_change_a_bit(stems):
    turned = dict(reversed(stems.items()))
    assert np.array_equal(mix_stems(stems, {}, "none"), mix_stems(turned, {}, "none"))


def test_a_gain_is_exact_in_decibels(stems):
    mix = mix_stems(stems, {"drums": 20 * np.log10(0.5), "bass": -200}, "none")
    assert np.allclose(mix, 0.5 * stems["drums"] + stems["vocals"], atol=1e-7)


def test_the_stems_are_left_as_they_were(stems):
    before = {name: stem.copy() for name, stem in stems.items()}
    mix_stems(stems, {"drums": 20}, "rescale")
    assert all(np.array_equal(stems[name], before[name]) for name in stems)


def test_rescaling_is_one_gain_for_the_whole_mix(stems):
    loud = mix_stems(stems, {}, "none") * 3
    rescaled = prevent_clipping(loud, "rescale")
    assert np.abs(rescaled).max() == pytest.approx(FULL_SCALE, abs=1e-6)
    ratio = rescaled / loud
    assert np.allclose(ratio, ratio[0], rtol=1e-5)


@pytest.mark.parametrize("clip_mode", ["rescale", "clamp", "none"])
def test_a_mix_within_full_scale_is_left_alone(stems, clip_mode):
    quiet = stems["drums"] * np.float32(0.5)
    assert np.array_equal(prevent_clipping(quiet, clip_mode), quiet)


@pytest.mark.parametrize("clip_mode", ["rescale", "clamp", "tanh"])
def test_a_loud_mix_is_brought_into_full_scale(stems, clip_mode):
    mix = mix_stems(stems, dict.fromkeys(stems, 12), clip_mode)
    assert mix.dtype == np.float32
    assert np.abs(mix).max() <= 1


def test_clamping_cuts_the_peaks_and_nothing_else():
    waveform = np.array([-3, -0.5, 0, 0.5, 3], np.float32)
    clamped = prevent_clipping(waveform, "clamp")
    assert clamped == pytest.approx([-FULL_SCALE, -0.5, 0, 0.5, FULL_SCALE])


def test_tanh_bends_everything():
    waveform = np.array([-3, 0.5, 3], np.float32)
    assert prevent_clipping(waveform, "tanh") == pytest.approx(np.tanh(waveform))


@pytest.mark.parametrize("clip_mode", ["rescale", "clamp", "tanh", "none"])
def test_silence_stays_silence(clip_mode):
    mix = mix_stems({"a": np.zeros(4, np.float32), "b": np.zeros(4, np.float32)}, {}, clip_mode)
    assert mix.tolist() == [0, 0, 0, 0]


def test_stems_of_other_lengths_are_refused():
    stems = {"drums": np.zeros(3, np.float32), "bass": np.zeros(4, np.float32)}
    with pytest.raises(IncompatibleDataError, match=r"'drums': 3, 'bass': 4"):
        mix_stems(stems, {})


def test_no_stems_are_refused():
    with pytest.raises(IncompatibleDataError):
        mix_stems({}, {})


def test_a_gain_of_no_stem_is_refused(stems):
    with pytest.raises(
        IncompatibleDataError, match=r"mix\.gains_db names drms, but the stems are drums, bass"
    ):
        mix_stems(stems, {"drms": -3})
