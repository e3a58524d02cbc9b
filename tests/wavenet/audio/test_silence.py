"""Silence: relative to a file's own level, with hysteresis and a minimum length."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavenet.audio.metering import EnvelopeMeter, envelope_hop
from wavenet.audio.silence import (
    MOST_DITHER,
    STEP,
    complement,
    find_sounding,
    is_only_dither,
    lies_on_steps,
    own_level_db,
    silence_share,
)
from wavenet.config import SilenceConfig

FRAME = 0.02
MUSIC = SilenceConfig(below_db=60, hysteresis_db=6, min_seconds=2)


def envelope_of(*parts: tuple[float, float]) -> np.ndarray:
    """Stretches of (seconds, dBFS), one after another; -inf is digital silence."""
    return np.concatenate(
        [np.full(round(seconds / FRAME), 10 ** (level / 10), np.float32) for seconds, level in parts]
    )


SILENT = -np.inf
levels = st.one_of(st.just(SILENT), st.floats(-90, 0))
envelopes = st.lists(levels, min_size=1, max_size=400).map(
    lambda all: envelope_of(*((FRAME, v) for v in all))
)
configs = st.builds(
    SilenceConfig, below_db=st.floats(1, 80), hysteresis_db=st.floats(0, 60), min_seconds=st.floats(0, 3)
)


def frames_of(envelope: np.ndarray, config: SilenceConfig) -> np.ndarray:
    sounds = np.zeros(len(envelope), bool)
    for start, end in find_sounding(envelope, FRAME, config):
        sounds[round(start / FRAME) : round(end / FRAME)] = True
    return sounds


def test_the_own_level_of_steady_music_is_its_level():
    assert own_level_db(envelope_of((10, -23))) == pytest.approx(-23, abs=1e-3)


def test_digital_silence_has_no_part_in_the_own_level():
    assert own_level_db(envelope_of((60, SILENT), (3, -23), (60, SILENT))) == pytest.approx(-23, abs=1e-3)


@pytest.mark.parametrize("share", [0.5, 0.05, 0.01])
def test_a_vocal_over_a_long_noise_floor_has_the_level_of_the_voice(share):
    envelope = envelope_of((240 * (1 - share), -88), (240 * share, -20))
    assert own_level_db(envelope) == pytest.approx(-20, abs=1e-3)
    assert find_sounding(envelope, FRAME, MUSIC) == [pytest.approx((240 * (1 - share), 240))]


@pytest.mark.parametrize("seconds", [2, 10, 240])
def test_one_loud_click_does_not_make_quiet_music_silent(seconds):
    envelope = envelope_of((seconds / 2, -70), (0.06, 0), (seconds / 2, -70))
    assert own_level_db(envelope) == pytest.approx(-70, abs=1e-3)
    assert find_sounding(envelope, FRAME, MUSIC) == [pytest.approx((0, seconds + 0.06))]


def test_the_clicks_of_an_old_record_do_not_set_its_level():
    envelope = envelope_of(*[(0.98, -30), (0.02, -8)] * 60)
    assert own_level_db(envelope) == pytest.approx(-30, abs=1e-3)


def test_sparse_drum_hits_set_the_level_over_their_noise_floor():
    envelope = envelope_of(*[(0.04, -10), (0.46, -85)] * 20)
    assert own_level_db(envelope) == pytest.approx(-10, abs=1e-3)
    assert find_sounding(envelope, FRAME, MUSIC) == [pytest.approx((0, 10))]


@pytest.mark.parametrize("envelope", [envelope_of((5, SILENT)), envelope_of((5, -101)), envelope_of((0, 0))])
def test_a_silent_file_has_no_level_and_no_regions(envelope):
    assert own_level_db(envelope) is None
    assert find_sounding(envelope, FRAME, MUSIC) == []


def test_frames_under_the_floor_are_silent_however_quiet_the_file_is():
    envelope = envelope_of((5, -70), (5, -101))
    assert find_sounding(envelope, FRAME, MUSIC) == [pytest.approx((0, 5))]


def test_rests_of_a_second_are_music():
    envelope = envelope_of(*[(2, -20), (1, SILENT)] * 5, (2, -20))
    assert find_sounding(envelope, FRAME, MUSIC) == [pytest.approx((0, 17))]
    cut = find_sounding(envelope, FRAME, MUSIC.model_copy(update={"min_seconds": 1.0}))
    assert cut == [pytest.approx((3 * i, 3 * i + 2)) for i in range(6)]


def test_a_short_lead_in_and_run_out_stay_and_long_ones_go():
    assert find_sounding(envelope_of((1, SILENT), (5, -20), (1.9, SILENT)), FRAME, MUSIC) == [
        pytest.approx((0, 7.9))
    ]
    assert find_sounding(envelope_of((2, SILENT), (5, -20), (3, SILENT)), FRAME, MUSIC) == [
        pytest.approx((2, 7))
    ]


def test_noise_between_the_two_thresholds_opens_nothing():
    quiet = (5, -77)  # 57 dB below: above closing, below opening
    envelope = envelope_of((5, -20), (5, SILENT), quiet, (5, SILENT), (5, -20))
    assert find_sounding(envelope, FRAME, MUSIC) == [pytest.approx((0, 5)), pytest.approx((20, 25))]
    eager = MUSIC.model_copy(update={"hysteresis_db": 0.0})
    assert pytest.approx((10, 15)) in find_sounding(envelope, FRAME, eager)


def test_a_fade_out_is_not_chopped_into_pieces():
    generator = np.random.default_rng(0)
    fade = np.linspace(-10, -95, 1500) + generator.normal(
        0, 1.5, 1500
    )  # noise fluctuates from frame to frame
    envelope = envelope_of((5, -10), *((FRAME, level) for level in fade))
    at_once = MUSIC.model_copy(update={"min_seconds": 0.0})
    (region,) = find_sounding(envelope, FRAME, at_once)
    assert region[0] == 0
    assert region[1] == pytest.approx(5 + 30 * 60 / 85, abs=2)
    assert len(find_sounding(envelope, FRAME, at_once.model_copy(update={"hysteresis_db": 0.0}))) > 1


def test_a_fade_in_keeps_its_beginning():
    envelope = envelope_of((10, SILENT), *((FRAME, level) for level in np.linspace(-79, -20, 500)), (9, -20))
    assert find_sounding(envelope, FRAME, MUSIC) == [pytest.approx((10, 29))]


@given(envelopes, configs, st.integers(-3, 10))
def test_gain_changes_nothing_above_the_floor(envelope, config, doublings):
    louder = envelope * np.float32(4.0**doublings)
    if (louder[envelope > 0] >= 1e-10).all():
        assert find_sounding(louder, FRAME, config) == find_sounding(envelope, FRAME, config)


@given(envelopes, configs, st.floats(0, 80))
def test_a_lower_threshold_never_removes_sound(envelope, config, further_db):
    lower = config.model_copy(update={"below_db": config.below_db + further_db})
    assert not (frames_of(envelope, config) & ~frames_of(envelope, lower)).any()


@given(envelopes, configs)
def test_regions_are_sorted_disjoint_and_inside_the_file(envelope, config):
    sounding = find_sounding(envelope, FRAME, config)
    edges = [edge for region in sounding for edge in region]
    assert edges == sorted(set(edges))
    assert all(0 <= edge <= len(envelope) * FRAME for edge in edges)
    assert bool(sounding) == bool((envelope >= 1e-10).any())


@given(envelopes, configs)
def test_what_is_cut_is_never_shorter_than_the_minimum(envelope, config):
    sounding = find_sounding(envelope, FRAME, config)
    if sounding:
        for start, end in complement(sounding, len(envelope) * FRAME):
            assert end - start >= config.min_seconds - 1e-6


@given(envelopes, configs)
def test_sound_and_its_complement_are_the_whole_file(envelope, config):
    sounding, seconds = find_sounding(envelope, FRAME, config), len(envelope) * FRAME
    edges = [edge for region in sorted(sounding + complement(sounding, seconds)) for edge in region]
    assert edges[1:-1:2] == edges[2::2]
    assert (edges[0], edges[-1]) == (0, pytest.approx(seconds))
    sound = sum(end - start for start, end in sounding)
    assert silence_share(sounding, seconds) == pytest.approx(1 - sound / seconds)


def test_a_region_beyond_the_end_of_the_file_is_cut_there():
    assert complement([(1.0, 2.02)], 2.01) == [(0.0, 1.0)]
    assert silence_share([(1.0, 2.02)], 2.0) == 0.5
    assert silence_share([], 0.0) == 1.0


# noise of the file's own quantization


def shaped_dither(seconds, sample_rate=44100, feedback=(1.0, -1.0), amplitude=1.0):
    """Silence as 16 bits with triangular dither, its error fed back: [2, -1] is second-order shaping."""
    generator = np.random.default_rng(0)
    noise = amplitude * generator.triangular(-1, 0, 1, round(seconds * sample_rate))
    errors, codes = np.zeros(len(feedback)), np.zeros(len(noise))
    for place, dither in enumerate(noise):
        wanted = -np.dot(feedback, errors)
        codes[place] = np.round(wanted + dither)
        errors = np.concatenate([[codes[place] - wanted], errors[:-1]])
    return (codes * STEP).astype(np.float32)[:, None]


def envelope_at(block, sample_rate):
    meter = EnvelopeMeter(sample_rate)
    meter.add(block)
    return meter.envelope(), envelope_hop(sample_rate) / sample_rate


@pytest.mark.parametrize("rate", [2000, 8000, 16000, 44100])
def test_dither_of_16_bits_lies_under_a_step_and_a_recording_of_80_db_above(rate):
    generator = np.random.default_rng(0)
    for dither in (generator.triangular(-1, 0, 1, 20 * rate), generator.normal(0, 0.5, 20 * rate)):
        block = (np.round(dither) * STEP).astype(np.float32)[:, None]
        assert find_sounding(*envelope_at(block, rate), MUSIC, STEP**2) == []
        assert is_only_dither([block], rate, 1)
    recording = np.round(generator.normal(0, 1e-4, 20 * rate) / STEP) * STEP
    assert find_sounding(*envelope_at(recording.astype(np.float32)[:, None], rate), MUSIC, STEP**2) == [
        pytest.approx((0, 20))
    ]
    assert not is_only_dither([recording.astype(np.float32)[:, None]], rate, 1)


@pytest.mark.parametrize("feedback", [(0.0,), (1.0,), (2.0, -1.0), (2.033, -2.165, 1.959, -1.590, 0.6149)])
def test_dither_is_told_however_its_noise_is_shaped(feedback):
    """The last are the coefficients of Lipshitz, Vanderkooy and Wannamaker (1991)."""
    block = shaped_dither(2, feedback=feedback)
    assert np.abs(block).max() <= MOST_DITHER
    assert lies_on_steps(block)
    assert is_only_dither([block], 44100, 1)
    assert is_only_dither(np.array_split(np.repeat(block, 2, axis=1), 7), 44100, 2)


def test_the_quietest_music_under_shaped_dither_is_no_dither():
    block = shaped_dither(2, feedback=(2.0, -1.0))
    tone = np.sin(2 * np.pi * 440 * np.arange(len(block)) / 44100)[:, None]
    assert not is_only_dither([block + np.round(2 * tone).astype(np.float32) * np.float32(STEP)], 44100, 1)


@pytest.mark.parametrize(("bits", "expected"), [(8, True), (16, True), (17, False), (24, False)])
def test_steps_of_16_bits_are_told_from_finer_ones(bits, expected):
    pcm = np.random.default_rng(0).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (1000, 2))
    assert lies_on_steps((pcm / 2 ** (bits - 1)).astype(np.float32)) == expected


def test_a_higher_floor_leaves_less():
    envelope = envelope_of((5, -70), (5, -95), (5, -70))
    assert find_sounding(envelope, FRAME, MUSIC) == [pytest.approx((0, 15))]
    assert find_sounding(envelope, FRAME, MUSIC, 1e-9) == [pytest.approx((0, 5)), pytest.approx((10, 15))]
    assert find_sounding(envelope_of((5, -95)), FRAME, MUSIC, 1e-9) == []
    assert own_level_db(envelope_of((5, -95)), 1e-9) is None
