"""Quantization: both laws give every code back, dither does what theory says, noise adds up over blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavenet.audio.mulaw import compand, encode_mu_law
from wavenet.audio.quantization import NoiseMeter, Quantizer
from wavenet.config import QuantizationConfig

LAWS = ["mu-law", "linear"]
LEVELS = [16, 17, 64, 255, 256, 257, 1024, 65535, 65536]


def sine(peak, length=20_000):
    return (peak * np.sin(np.arange(length) * 0.1)).astype(np.float32)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("levels", LEVELS)
def test_every_code_comes_back(law, levels):
    quantizer = Quantizer(law, levels)
    codes = np.arange(levels)
    decoded = quantizer.decode(codes)
    assert decoded.dtype == np.float32
    assert np.array_equal(quantizer.encode(decoded), codes)
    assert np.array_equal(quantizer.encode(decoded.astype(np.float64)), codes)


@settings(max_examples=60)
@given(st.sampled_from(LAWS), st.integers(16, 65536))
def test_every_code_of_any_number_of_levels_comes_back(law, levels):
    quantizer = Quantizer(law, levels)
    assert np.array_equal(quantizer.encode(quantizer.table), np.arange(levels))


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("levels", LEVELS)
def test_the_table_ascends_through_exact_silence(law, levels):
    quantizer = Quantizer(law, levels)
    assert quantizer.table.shape == (levels,)
    assert (np.diff(quantizer.table) > 0).all()
    assert quantizer.table[quantizer.silence_code] == 0
    assert quantizer.encode(np.array([0.0, -0.0], np.float32)).tolist() == [quantizer.silence_code] * 2


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(("levels", "dtype"), [(16, "|u1"), (256, "|u1"), (257, "<u2"), (65536, "<u2")])
def test_codes_are_the_smallest_little_endian_type_that_holds_them(law, levels, dtype):
    quantizer = Quantizer(law, levels)
    assert quantizer.dtype.str == dtype
    for dither in (False, True):
        codes = Quantizer(law, levels, dither).encode(np.array([-9, -1, 1, 9, -np.inf, np.inf]), seed=0)
        assert codes.dtype == np.dtype(dtype)
        assert codes[[0, 1, 4]].max() <= 1
        assert codes[[2, 3, 5]].min() >= levels - 2


def test_linear_with_65536_levels_is_16_bit_pcm():
    pcm = np.arange(-32768, 32768)
    quantizer = Quantizer("linear", 65536)
    assert np.array_equal(quantizer.encode((pcm / 32768).astype(np.float32)), pcm + 32768)
    assert np.array_equal(quantizer.table, (pcm / 32768).astype(np.float32))


@given(st.lists(st.floats(-1, 1, width=32), min_size=1), st.sampled_from(LEVELS))
def test_linear_is_off_by_half_a_step_at_most_but_where_it_clips(samples, levels):
    quantizer = Quantizer("linear", levels)
    waveform = np.array(samples, np.float32).clip(None, quantizer.table[-1])
    error = quantizer.decode(quantizer.encode(waveform)).astype(np.float64) - waveform
    assert np.abs(error).max() <= 1 / levels + 2**-24


def test_mu_law_is_that_of_its_module():
    waveform = sine(0.7)
    assert np.array_equal(Quantizer("mu-law", 256).encode(waveform), encode_mu_law(waveform, 256))


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("dither", [False, True])
def test_nan_is_refused(law, dither):
    with pytest.raises(ValueError, match="NaN"):
        Quantizer(law, 256, dither).encode(np.array([0, np.nan], np.float32), seed=0)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("dither", [False, True])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 1, 4)])
def test_any_shape_is_kept(law, dither, shape):
    quantizer = Quantizer(law, 256, dither)
    codes = quantizer.encode(np.full(shape, 0.25, np.float32), seed=0)
    assert codes.shape == shape
    assert quantizer.decode(codes).shape == shape


def test_an_unknown_law_or_number_of_levels_is_refused():
    with pytest.raises(ValueError, match="a-law"):
        Quantizer("a-law", 256)
    for levels in (15, 65537):
        with pytest.raises(ValueError, match=str(levels)):
            Quantizer("linear", levels)


def test_a_section_of_the_configuration_is_a_quantizer():
    config = QuantizationConfig(quantization_channels=64, law="linear", dither=True)
    assert Quantizer(**config.model_dump()) == Quantizer("linear", 64, dither=True)


@pytest.mark.parametrize("law", LAWS)
def test_dither_gives_the_same_codes_for_the_same_seed_and_others_for_another(law):
    quantizer = Quantizer(law, 64, dither=True)
    codes = quantizer.encode(sine(0.3), seed=[1, 2])
    assert np.array_equal(quantizer.encode(sine(0.3), seed=[1, 2]), codes)
    assert not np.array_equal(quantizer.encode(sine(0.3), seed=[1, 3]), codes)


@pytest.mark.parametrize("law", LAWS)
def test_dither_without_a_seed_is_refused(law):
    with pytest.raises(ValueError, match="seed"):
        Quantizer(law, 64, dither=True).encode(sine(0.3))
    assert Quantizer(law, 64).encode(sine(0.3)).size  # the others need none


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("levels", [16, 17, 256, 1024])
def test_dither_moves_a_code_by_one_at_most(law, levels):
    waveform = np.random.default_rng(0).uniform(-1, 1, 20_000).astype(np.float32)
    plain = Quantizer(law, levels).encode(waveform).astype(int)
    dithered = Quantizer(law, levels, dither=True).encode(waveform, seed=0).astype(int)
    assert np.abs(dithered - plain).max() == 1


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.25, 0.5])
def test_linear_dither_makes_mean_and_power_of_the_error_independent_of_the_signal(fraction):
    """Lipshitz et al. 1992: mean 0 and a quarter of a squared step, wherever a sample lies in its step."""
    levels, count = 256, 200_000
    amplitude = (20 + fraction) * 2 / levels
    quantizer = Quantizer("linear", levels, dither=True)
    codes = quantizer.encode(np.full(count, amplitude, np.float32), seed=0)
    error = (quantizer.decode(codes) - amplitude) * levels / 2  # in steps
    assert abs(error.mean()) < 0.01
    assert error.var() == pytest.approx(0.25, abs=0.01)


def test_mu_law_dither_is_unbiased_where_the_law_rounds():
    levels, count = 256, 200_000
    for amplitude in (-0.31, 0.0123, 0.7):
        waveform = np.full(count, amplitude, np.float32)
        codes = Quantizer("mu-law", levels, dither=True).encode(waveform, seed=0)
        assert codes.mean() == pytest.approx(compand(waveform[:1], levels)[0], abs=0.01)
        assert codes.var() == pytest.approx(0.25, abs=0.01)


def test_a_sine_below_the_smallest_step_survives_dither_alone():
    quiet = sine(0.4 * 2 / 256)  # 0.4 of a step
    assert not Quantizer("linear", 256).decode(Quantizer("linear", 256).encode(quiet)).any()
    dithered = Quantizer("linear", 256, dither=True)
    decoded = dithered.decode(dithered.encode(quiet, seed=0))
    assert np.corrcoef(decoded, quiet)[0, 1] > 0.4


def test_dithered_silence_toggles_as_the_docstring_says():
    silence = np.zeros(200_000, np.float32)
    linear = Quantizer("linear", 256, dither=True)
    shares = np.bincount(linear.encode(silence, seed=0), minlength=256)[126:131] / len(silence)
    assert shares == pytest.approx([0, 1 / 8, 3 / 4, 1 / 8, 0], abs=0.005)
    mu_law = Quantizer("mu-law", 256, dither=True)
    codes = mu_law.encode(silence, seed=0)
    shares = np.bincount(codes, minlength=256)[126:131] / len(silence)
    assert shares == pytest.approx([0, 1 / 2, 1 / 2, 0, 0], abs=0.005)
    offset = -float(mu_law.decode(codes).mean(dtype=np.float64))
    assert 20 * np.log10(offset) == pytest.approx(-87, abs=0.5)


@pytest.mark.parametrize("law", LAWS)
def test_noise_adds_up_over_blocks(law):
    waveform = sine(0.5)
    quantizer = Quantizer(law, 256)
    meter = NoiseMeter(quantizer)
    for block in np.array_split(waveform, 7):
        meter.add(block, quantizer.encode(block))
    whole = quantizer.signal_to_noise_db(waveform)
    assert meter.signal_to_noise_db == pytest.approx(whole)
    noise = waveform - quantizer.decode(quantizer.encode(waveform))
    assert whole == pytest.approx(10 * np.log10(np.var(waveform) / np.mean(noise**2)), abs=0.01)


def test_linear_noise_is_the_textbooks():
    full = Quantizer("linear", 256).signal_to_noise_db(sine(0.98))
    assert full == pytest.approx(6.02 * 8 + 1.76, abs=0.5)
    dithered = Quantizer("linear", 256, dither=True).signal_to_noise_db(sine(0.98))
    assert full - dithered == pytest.approx(10 * np.log10(3), abs=0.3)  # dither costs 4.8 dB


@pytest.mark.parametrize("law", LAWS)
def test_silence_and_a_perfect_round_trip_have_no_figure(law):
    quantizer = Quantizer(law, 256)
    assert NoiseMeter(quantizer).signal_to_noise_db is None
    assert quantizer.signal_to_noise_db(np.zeros(100, np.float32)) is None
    assert quantizer.signal_to_noise_db(quantizer.table) is None


def test_mu_law_is_better_for_quiet_music_and_linear_for_loud():
    mu_law, linear = Quantizer("mu-law", 256), Quantizer("linear", 256)
    assert mu_law.signal_to_noise_db(sine(0.01)) > linear.signal_to_noise_db(sine(0.01)) + 10
    assert mu_law.signal_to_noise_db(sine(0.98)) < linear.signal_to_noise_db(sine(0.98)) - 10


@pytest.mark.parametrize("codes", [np.zeros(3, np.uint8), np.full(2, 64, np.uint8), np.full(2, -1)])
def test_codes_that_are_not_the_waveforms_are_refused(codes):
    with pytest.raises(ValueError, match="are not"):
        NoiseMeter(Quantizer("linear", 64)).add(np.zeros(2, np.float32), codes)
