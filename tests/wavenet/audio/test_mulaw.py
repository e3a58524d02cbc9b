"""Mu-law: every code comes back, silence is silence, and the formula is the field's."""

import numpy as np
import pytest
import torch
import torchaudio.functional
from hypothesis import given, settings
from hypothesis import strategies as st

from wavenet.audio.mulaw import (
    code_dtype,
    decode_mu_law,
    decoding_table,
    encode_mu_law,
    signal_to_quantization_noise,
    silence_code,
)

LEVELS = [16, 17, 64, 100, 255, 256, 257, 1000, 1024, 65535, 65536]


@pytest.mark.parametrize("levels", LEVELS)
def test_every_code_comes_back(levels):
    codes = np.arange(levels)
    assert np.array_equal(encode_mu_law(decode_mu_law(codes, levels), levels), codes)


@settings(max_examples=60)
@given(st.integers(16, 65536))
def test_every_code_of_any_number_of_levels_comes_back(levels):
    codes = np.arange(levels)
    assert np.array_equal(encode_mu_law(decode_mu_law(codes, levels), levels), codes)


@pytest.mark.parametrize("levels", LEVELS)
def test_digital_silence_has_a_code_that_decodes_to_exactly_zero(levels):
    silence = np.array([0.0, -0.0], np.float32)
    codes = encode_mu_law(silence, levels)
    assert codes.tolist() == [silence_code(levels)] * 2
    assert np.array_equal(decode_mu_law(codes, levels), [0, 0])
    assert np.count_nonzero(decoding_table(levels) == 0) == 1


def test_silence_is_the_fields_128_of_256():
    assert silence_code(256) == 128


@pytest.mark.parametrize(
    ("levels", "dtype"), [(16, "|u1"), (64, "|u1"), (256, "|u1"), (257, "<u2"), (1024, "<u2"), (65536, "<u2")]
)
def test_codes_are_the_smallest_little_endian_type_that_holds_them(levels, dtype):
    assert code_dtype(levels).str == dtype
    codes = encode_mu_law(np.array([-1.0, 1.0]), levels)
    assert codes.dtype == np.dtype(dtype)
    assert codes.tolist() == [0, levels - 1]


def test_a_decoded_waveform_is_float32():
    assert decode_mu_law(np.arange(256)).dtype == np.float32


def test_256_levels_equal_torchaudios():
    rng = np.random.default_rng(0)
    waveform = np.concatenate([rng.uniform(-1, 1, 200_000), rng.normal(0, 0.05, 200_000).clip(-1, 1)])
    theirs = torchaudio.functional.mu_law_encoding(torch.from_numpy(waveform), 256).numpy()
    assert np.array_equal(encode_mu_law(waveform, 256), theirs)


def test_256_levels_in_float32_differ_from_torchaudios_by_one_code_on_bin_borders_alone():
    """Both round in float32, in another order of operations: some 10 in 3 million random samples."""
    waveform = np.random.default_rng(0).uniform(-1, 1, 500_000).astype(np.float32)
    theirs = torchaudio.functional.mu_law_encoding(torch.from_numpy(waveform), 256).numpy()
    ours = encode_mu_law(waveform, 256)
    unlike = np.flatnonzero(ours != theirs)
    assert len(unlike) < 20
    assert np.abs(ours[unlike].astype(int) - theirs[unlike]).max(initial=0) <= 1
    positions = np.log1p(255 * np.abs(waveform[unlike].astype(np.float64))) / np.log(256) * 127.5
    assert np.abs(positions - np.round(positions)).max(initial=0) < 1e-4


def test_256_levels_decode_as_torchaudios_but_for_silence():
    theirs = torchaudio.functional.mu_law_decoding(torch.arange(256), 256).numpy()
    ours = decode_mu_law(np.arange(256))
    assert np.abs(np.delete(theirs - ours, 128)).max() < 1e-6
    assert 0 < theirs[128] < 1e-4  # theirs plays silence as a DC offset


@pytest.mark.parametrize("levels", LEVELS)
def test_louder_is_never_a_lower_code(levels):
    waveform = np.linspace(-1, 1, 100_001, dtype=np.float32)
    assert (np.diff(encode_mu_law(waveform, levels).astype(int)) >= 0).all()
    assert (np.diff(decoding_table(levels)) > 0).all()


@pytest.mark.parametrize("levels", LEVELS)
def test_what_lies_outside_full_scale_is_clipped(levels):
    codes = encode_mu_law(np.array([1.0, 1.5, 1e9, np.inf, -1.0, -1.5, -np.inf]), levels)
    assert codes.tolist() == [levels - 1] * 4 + [0] * 3
    assert decoding_table(levels)[[0, -1]].tolist() == [-1, 1]


@given(st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=50), st.sampled_from(LEVELS))
def test_no_sample_is_further_off_than_one_step_of_its_neighbourhood(samples, levels):
    waveform = np.array(samples, np.float32)
    codes = encode_mu_law(waveform, levels).astype(int)
    table = decoding_table(levels).astype(np.float64)
    below, above = table[np.maximum(codes - 1, 0)], table[np.minimum(codes + 1, levels - 1)]
    clipped = waveform.clip(-1, 1)
    assert ((below - 1e-6 <= clipped) & (clipped <= above + 1e-6)).all()


def test_nan_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        encode_mu_law(np.array([0.0, np.nan]))


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 1, 4)])
def test_any_shape_is_kept(shape):
    codes = encode_mu_law(np.full(shape, 0.25, np.float32))
    assert codes.shape == shape
    assert decode_mu_law(codes).shape == shape


def test_the_waveform_is_left_as_it_was():
    waveform = np.array([0.0, 2.0, -0.5])
    encode_mu_law(waveform)
    assert waveform.tolist() == [0.0, 2.0, -0.5]


def test_more_levels_sound_better():
    time = np.arange(16000) / 16000
    waveform = (0.5 * np.sin(2 * np.pi * 220 * time)).astype(np.float32)
    decibels = [signal_to_quantization_noise(waveform, levels) for levels in (16, 64, 256, 1024, 65536)]
    assert np.all(np.diff(decibels) > 8)  # less than 12 for two bits: mu grows with the levels
    assert 36 < decibels[2] < 40  # the 38 dB that 8-bit mu-law is known for


def test_silence_has_no_quantization_noise():
    assert signal_to_quantization_noise(np.zeros(100, np.float32), 64) == float("inf")
