"""Mu-law: every code comes back, silence is silence, and the formula is the field's."""

import numpy as np
import pytest
import torch
import torchaudio.functional
from hypothesis import given, settings
from hypothesis import strategies as st

from wavenet.audio import quantization_loops
from wavenet.audio.mulaw import (
    code_dtype,
    coding_thresholds,
    compand,
    decode_mu_law,
    decoding_table,
    encode_mu_law,
    encode_mu_law_plainly,
    signal_to_quantization_noise,
    silence_code,
)

LEVELS = [16, 17, 64, 100, 255, 256, 257, 1000, 1024, 65535, 65536]
TWIN_LEVELS = [16, 17, 64, 255, 256, 257, 1024, 4096, 65536]
ALL_16_BIT_PCM = np.arange(-32768, 32768, dtype=np.float32) / 32768
ONE = 0x3F800000  # the bits of 1.0


def encode_with_torchaudio(waveform, levels):
    return torchaudio.functional.mu_law_encoding(torch.from_numpy(waveform), levels).numpy()


def floats_near(floats, distance):
    """float32 up to so many floats away from the given ones, on both sides."""
    bits = floats.view(np.uint32).astype(np.int64)[:, None] + np.arange(-distance, distance + 1)
    return (bits & 0xFFFFFFFF).astype(np.uint32).view(np.float32).ravel()


def floats_between_minus_one_and_one(stride):
    """Each stride-th float32 of both signs, in the order of their bits."""
    magnitudes = np.arange(0, ONE + 1, stride, dtype=np.uint32).view(np.float32)
    return np.concatenate([magnitudes, -magnitudes])


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


def test_256_levels_in_float64_equal_torchaudios():
    rng = np.random.default_rng(0)
    waveform = np.concatenate([rng.uniform(-1, 1, 200_000), rng.normal(0, 0.05, 200_000).clip(-1, 1)])
    assert np.array_equal(encode_mu_law(waveform, 256), encode_with_torchaudio(waveform, 256))


def test_256_levels_in_float32_equal_torchaudios_on_random_samples():
    rng = np.random.default_rng(0)
    uniform, quiet = rng.uniform(-1, 1, 1_000_000), rng.normal(0, 0.01, 1_000_000).clip(-1, 1)
    waveform = np.concatenate([uniform, quiet]).astype(np.float32)
    assert np.array_equal(encode_mu_law(waveform, 256), encode_with_torchaudio(waveform, 256))


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() == "DEFAULT", reason="another logarithm in torch without SIMD"
)
@pytest.mark.parametrize("levels", [16, 64, 256])
def test_codes_equal_torchaudios_on_both_sides_of_every_border(levels):
    near = floats_near(coding_thresholds(levels), 100)
    assert np.array_equal(encode_mu_law(near, levels), encode_with_torchaudio(near, levels))


@pytest.mark.parametrize("levels", [100, 257, 1024, 65536])
def test_other_levels_are_off_torchaudios_by_one_float_at_one_border_of_fifty_at_most(levels):
    thresholds = coding_thresholds(levels)
    around = floats_near(thresholds, 1)
    ours = encode_mu_law(around, levels).astype(int)
    theirs = encode_with_torchaudio(around, levels)
    unlike = ours != theirs
    assert unlike.sum() <= len(thresholds) / 50
    assert np.abs(ours - theirs).max() <= 1
    beyond = floats_near(thresholds, 2).reshape(-1, 5)[:, [0, 4]].ravel()
    assert np.array_equal(encode_mu_law(beyond, levels), encode_with_torchaudio(beyond, levels))


@pytest.mark.parametrize("levels", TWIN_LEVELS)
def test_what_is_looked_up_is_what_the_plain_formula_gives_on_all_16_bit_samples(levels):
    assert np.array_equal(
        encode_mu_law(ALL_16_BIT_PCM, levels), encode_mu_law_plainly(ALL_16_BIT_PCM, levels)
    )


@pytest.mark.parametrize("levels", TWIN_LEVELS)
def test_what_is_looked_up_is_what_the_plain_formula_gives_next_to_every_border(levels):
    near = floats_near(coding_thresholds(levels), 3)
    assert np.array_equal(encode_mu_law(near, levels), encode_mu_law_plainly(near, levels))


@pytest.mark.parametrize("levels", [16, 17, 64, 255, 256])
def test_what_is_estimated_is_what_the_plain_formula_gives_at_all_magnitudes(levels):
    floats = floats_between_minus_one_and_one(stride=1009)
    assert np.array_equal(encode_mu_law(floats, levels), encode_mu_law_plainly(floats, levels))


@pytest.mark.parametrize("levels", [16, 17, 64, 100, 251, 255, 256])
def test_a_block_that_is_not_looked_up_is_further_from_borders_than_estimates_err(levels):
    """Blocks of one and the same sample, so that no neighbour sends it to the table by chance."""
    rng = np.random.default_rng(levels)
    thresholds = rng.choice(coding_thresholds(levels), min(levels - 1, 255), replace=False).astype(np.float64)
    steps = 2.0 ** rng.uniform(-18, 0, (len(thresholds), 16)) * rng.choice([-1, 1], (len(thresholds), 16))
    slopes = np.abs(thresholds) + 1 / (levels - 1)  # of amplitude against position, but for a constant
    samples = (thresholds + steps.T * slopes * 2 * np.log(levels) / (levels - 1)).clip(-1, 1).ravel()
    waveform = np.repeat(samples.astype(np.float32), quantization_loops.BLOCK)
    assert np.array_equal(encode_mu_law(waveform, levels), encode_mu_law_plainly(waveform, levels))


@given(st.lists(st.floats(width=32, allow_nan=False), max_size=600), st.integers(16, 300))
@settings(max_examples=60)
def test_what_is_looked_up_is_what_the_plain_formula_gives_for_any_floats(samples, levels):
    waveform = np.array(samples, np.float32)
    assert np.array_equal(encode_mu_law(waveform, levels), encode_mu_law_plainly(waveform, levels))


@pytest.mark.parametrize("levels", LEVELS)
def test_a_threshold_is_the_least_float_of_its_code(levels):
    thresholds = coding_thresholds(levels)
    assert encode_mu_law_plainly(thresholds, levels).tolist() == list(range(1, levels))
    before = np.nextafter(thresholds, np.float32(-np.inf))
    assert encode_mu_law_plainly(before, levels).tolist() == list(range(levels - 1))


def test_positions_among_codes_are_the_papers():
    amplitudes = np.array([-1, -0.5, 0, 0.01, 1])
    papers = np.sign(amplitudes) * np.log(1 + 255 * np.abs(amplitudes)) / np.log(256)
    assert np.allclose(compand(amplitudes, 256), (papers + 1) / 2 * 255)


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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("place", [0, 255, 256, 999])
@pytest.mark.parametrize("levels", [256, 65536])
def test_nan_is_refused_wherever_it_is(dtype, place, levels):
    waveform = np.zeros(1000, dtype)
    waveform[place] = np.nan
    for encode in (encode_mu_law, encode_mu_law_plainly):
        with pytest.raises(ValueError, match="NaN"):
            encode(waveform, levels)


@pytest.mark.parametrize("levels", LEVELS)
def test_clipped_float32_takes_the_outermost_codes_in_whole_blocks(levels):
    loud = np.resize(np.array([1.0, 1.001, 3e38, np.inf], np.float32), 2 * quantization_loops.BLOCK)
    assert set(encode_mu_law(loud, levels).tolist()) == {levels - 1}
    assert set(encode_mu_law(-loud, levels).tolist()) == {0}


def test_samples_that_are_not_contiguous_native_and_writable_have_the_same_codes():
    waveform = np.random.default_rng(0).uniform(-1, 1, (500, 2)).astype(np.float32)
    codes = encode_mu_law(waveform)
    assert np.array_equal(encode_mu_law(waveform[:, 1]), codes[:, 1])
    assert np.array_equal(encode_mu_law(waveform[::-3]), codes[::-3])
    assert np.array_equal(encode_mu_law(np.asfortranarray(waveform)), codes)
    assert np.array_equal(encode_mu_law(waveform.astype(">f4")), codes)
    assert np.array_equal(encode_mu_law(np.frombuffer(waveform.tobytes(), np.float32)), codes.ravel())


def test_the_decoding_table_cannot_be_spoilt():
    with pytest.raises(ValueError, match="read-only"):
        decoding_table(256)[0] = 0


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
