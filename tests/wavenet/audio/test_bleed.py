"""Bleed is what stems have in common, whoever it belongs to, and nothing where they are independent."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavenet.audio.bleed import GROUP_LENGTH, measure_bleed
from wavenet.audio.io import level_db, write_audio

RATE = 44100
SECONDS = 20


@pytest.fixture
def measure(tmp_path):
    """Write waveforms, (time,) or (time, channels), as stems and measure them."""

    def write_and_measure(**stems):
        for stem, waveform in stems.items():
            write_audio(tmp_path / f"{stem}.wav", waveform.astype(np.float32), RATE)
        return measure_bleed({stem: tmp_path / f"{stem}.wav" for stem in stems})

    return write_and_measure


def noise(seed, channels=2, seconds=SECONDS):
    return np.random.default_rng(seed).normal(0, 0.1, (round(seconds * RATE), channels))


def test_independent_stems_have_nothing_in_common(measure):
    shares = measure(drums=noise(0), bass=noise(1), vocals=noise(2))
    assert max(shares.values()) < 1e-3  # without the correction for bias it would be 1 / 27


def test_identical_stems_have_everything_in_common(measure):
    assert measure(drums=noise(0), bass=noise(0)) == pytest.approx({"drums": 1, "bass": 1})


@pytest.mark.parametrize("leak_db", [-10, -20, -26])
def test_a_copy_in_another_stem_is_bleed_of_its_level(measure, leak_db):
    """Stems of equal level: what leaks shows with about that level in the one and in the other."""
    drums, leak = noise(0), 10 ** (leak_db / 10)
    shares = measure(drums=drums, bass=noise(1) + leak**0.5 * drums, vocals=0.01 * noise(2))
    assert level_db(shares["drums"]) == pytest.approx(level_db(leak / (1 + leak)), abs=0.6)
    assert level_db(shares["bass"]) == pytest.approx(level_db(leak / (1 + leak) ** 2), abs=0.6)
    assert shares["vocals"] < 2e-3


def test_a_stem_is_not_charged_for_a_faint_copy_of_it_elsewhere(measure):
    """A filter could amplify the copy into the whole stem; a coherence of 0.5 says so."""
    drums = noise(0)
    shares = measure(drums=drums, vocals=0.1 * noise(1) + 0.1 * drums)
    assert level_db(shares["drums"]) == pytest.approx(-20, abs=0.5)
    assert level_db(shares["vocals"]) == pytest.approx(-3, abs=0.5)


def test_bleed_does_not_depend_on_the_level_of_the_track(measure):
    drums, bass = noise(0), noise(1) + 0.1 * noise(0)
    quiet = measure(drums=1e-4 * drums, bass=1e-4 * bass)
    assert quiet == pytest.approx(measure(drums=drums, bass=bass), rel=1e-4)


def test_a_filtered_and_slightly_late_copy_is_found(measure):
    drums = noise(0)
    late = np.roll(0.5 * drums + 0.5 * np.roll(drums, 1, axis=0), 20, axis=0)
    assert measure(drums=drums, bass=late)["bass"] > 0.95


def test_bleed_of_one_channel_counts_with_that_channels_power(measure):
    drums = noise(0)
    bass = noise(1)
    bass[:, 1] = drums[:, 1]
    assert measure(drums=drums, bass=bass)["bass"] == pytest.approx(0.5, abs=0.02)


def test_moments_that_are_rare_and_loud_are_no_bleed(measure):
    """Two strokes of each, independent: the averages are of two moments, however long the track is."""
    sounding = np.zeros((SECONDS * RATE, 1))
    for start in (2, 12):
        sounding[start * RATE : (start + 1) * RATE] = 1
    shares = measure(drums=noise(0) * sounding, vocals=noise(1) * sounding)
    assert max(shares.values()) < 0.02


def test_silent_stems_have_no_figure_and_do_not_change_the_others(measure):
    pair = measure(drums=noise(0), bass=noise(0) + noise(1))
    assert measure(drums=noise(0), bass=noise(0) + noise(1), vocals=np.zeros((SECONDS * RATE, 2))) == pair


def test_a_stem_alone_has_nothing_in_common(measure):
    assert measure(drums=noise(0), vocals=np.zeros((SECONDS * RATE, 2))) == {"drums": 0.0}


def test_tracks_too_short_to_compare_moments_have_no_figure(measure):
    short = noise(0)[: 2 * GROUP_LENGTH - 1]
    assert measure(drums=short, bass=short) == {}
    assert measure(drums=noise(0)[: 2 * GROUP_LENGTH], bass=noise(0)[: 2 * GROUP_LENGTH])["drums"] > 0.999


@given(gain_db=st.floats(-30, 0), seed=st.integers(0, 1000))
def test_every_share_is_between_nothing_and_everything(tmp_path_factory, gain_db, seed):
    folder = tmp_path_factory.mktemp("stems")
    source, other = noise(seed, 1, seconds=3), noise(seed + 1, 1, seconds=3)
    for stem, waveform in {"a": source, "b": other + 10 ** (gain_db / 20) * source}.items():
        write_audio(folder / f"{stem}.wav", waveform.astype(np.float32), RATE)
    shares = measure_bleed({stem: folder / f"{stem}.wav" for stem in ("a", "b")})
    assert all(0 <= share <= 1 for share in shares.values())


def test_memory_does_not_grow_with_length(tmp_path):
    peaks = []
    for seconds in (10, 60):
        paths = {stem: tmp_path / f"{stem}.wav" for stem in ("drums", "bass")}
        for seed, path in enumerate(paths.values()):
            write_audio(path, noise(seed, 1, seconds).astype(np.float32), RATE)
        tracemalloc.start()
        measure_bleed(paths)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
