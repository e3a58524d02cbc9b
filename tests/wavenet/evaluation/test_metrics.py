"""Baselines and ratios are what they say."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavenet.audio.quantization import Quantizer
from wavenet.evaluation.metrics import si_sdr, uniform_bits, unigram_bits, unresolved_bits


def test_uniform_is_log2_of_levels():
    assert uniform_bits(256) == 8
    assert uniform_bits(64) == 6


def test_unigram_of_a_constant_approaches_zero():
    assert unigram_bits(np.full(10**6, 3), np.full(100, 3), 16) < 1e-4


def test_unigram_of_uniform_codes_is_the_uniform_baseline():
    codes = np.tile(np.arange(64), 10_000)
    assert unigram_bits(codes, codes, 64) == pytest.approx(6, abs=1e-9)


def test_unigram_of_known_shares():
    train = np.array([0] * 999_999 + [1] * 999_999)
    assert unigram_bits(train, np.array([0, 1, 1]), 2) == pytest.approx(1.0)


def test_a_level_never_heard_in_training_has_a_finite_price():
    assert unigram_bits(np.zeros(98, int), np.array([1]), 2) == pytest.approx(np.log2(100))


def test_sixteen_bit_levels_leave_nothing_open():
    codes = np.random.default_rng(0).integers(1, 65535, 1000)
    assert unresolved_bits(codes, Quantizer("linear", 65536)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("levels", "open_bits"), [(256, 8), (1024, 6), (16384, 2)])
def test_fewer_linear_levels_leave_the_rest_of_sixteen_bits_open(levels, open_bits):
    codes = np.random.default_rng(0).integers(1, levels - 1, 1000)
    assert unresolved_bits(codes, Quantizer("linear", levels)) == pytest.approx(open_bits, abs=1e-5)


@pytest.mark.parametrize("law", ["mu-law", "linear"])
def test_noise_costs_the_same_sixteen_bits_through_any_levels(law):
    """Its entropy in the codes and what they leave open make up the price of the waveform itself."""
    noise = np.random.default_rng(0).normal(0, 0.05, 400_000)
    entropy = 15 + 0.5 * np.log2(2 * np.pi * np.e * 0.05**2)
    for levels in (64, 256, 1024):
        quantizer = Quantizer(law, levels)
        codes = quantizer.encode(noise)
        whole = unigram_bits(codes, codes, levels) + unresolved_bits(codes, quantizer)
        assert whole == pytest.approx(entropy, abs=0.25 if levels == 64 else 0.03)


def orthogonal_noises():
    """A reference and a noise of the same energy that have nothing in common, and no mean."""
    time = np.arange(1000) / 1000
    return np.sin(2 * np.pi * 3 * time), np.cos(2 * np.pi * 7 * time)


@given(noise_db=st.floats(-100, 100), gain=st.floats(0.001, 1000), offset=st.floats(-1, 1))
def test_si_sdr_is_the_ratio_to_the_noise_at_any_gain_and_offset(noise_db, gain, offset):
    reference, noise = orthogonal_noises()
    estimate = gain * (reference + 10 ** (noise_db / 20) * noise) + offset
    assert si_sdr(reference, estimate) == pytest.approx(-noise_db, abs=1e-3)


def test_si_sdr_is_what_other_implementations_give():
    """The figure is in the documentation of torchmetrics, for means removed."""
    reference, estimate = np.array([3.0, -0.5, 2.0, 7.0]), np.array([2.5, 0.0, 2.0, 8.0])
    assert si_sdr(reference, estimate) == pytest.approx(15.0918, abs=1e-4)


def test_si_sdr_of_a_scaled_reference_is_as_good_as_infinite():
    reference, _ = orthogonal_noises()
    assert si_sdr(reference, reference) == math.inf
    assert si_sdr(reference, 0.1 * reference) > 250


def test_si_sdr_is_not_raised_by_a_lower_level():
    """As plain SDR is: an estimate turned down by half keeps its ratio."""
    reference, noise = orthogonal_noises()
    assert si_sdr(reference, 0.5 * (reference + noise)) == pytest.approx(si_sdr(reference, reference + noise))


def test_si_sdr_of_silence_is_as_bad_as_can_be():
    reference, _ = orthogonal_noises()
    assert si_sdr(reference, np.zeros(1000)) == -math.inf


def test_si_sdr_scales_all_channels_by_one_factor():
    """One channel too quiet is a distortion of the whole."""
    reference = np.stack(orthogonal_noises(), axis=1)
    assert si_sdr(reference, 0.3 * reference) > 250
    assert si_sdr(reference, reference * [1.0, 0.5]) == pytest.approx(
        10 * math.log10(1.5**2 / 0.5**2), abs=1e-9
    )


@pytest.mark.parametrize("reference", [np.zeros(10), np.full(10, 0.1)])
def test_si_sdr_of_a_silent_reference_is_refused(reference):
    with pytest.raises(ValueError, match="silent or constant"):
        si_sdr(reference, np.ones(10))


def test_si_sdr_of_different_lengths_is_refused():
    with pytest.raises(ValueError, match="shape"):
        si_sdr(np.ones(10), np.ones(11))
