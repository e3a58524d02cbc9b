"""Measures of a stream are those of its samples, and compiled loops do what their plain twins do."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wavenet.audio.loops import add_squares, average_channels, scan_values
from wavenet.audio.metering import CLIPPED_FROM, EnvelopeMeter, Tally, envelope_hop, level_db

ROOT = Path(__file__).parents[3]
FINITE = st.floats(-10, 10, width=32)
ANY = st.floats(width=32) | st.sampled_from([np.nan, np.inf, -np.inf, -0.0, 0.999, -0.999, 1.0])


def plain_scan(values):
    """Peak, clipped count and sum, as one would write them."""
    magnitudes = np.abs(values)
    return (
        magnitudes.max(initial=0),
        int((magnitudes >= np.float32(CLIPPED_FROM)).sum()),
        values.sum(dtype=np.float64),
    )


def plain_energies(values, frame_length):
    return [
        np.square(values[at : at + frame_length], dtype=np.float64).sum()
        for at in range(0, len(values), frame_length)
    ]


def blocks_of(waveform, cuts):
    return np.split(waveform, sorted(cut % (len(waveform) + 1) for cut in cuts))


@given(values=arrays(np.float32, st.integers(0, 200), elements=FINITE))
def test_a_scan_equals_its_plain_twin(values):
    bits, num_clipped, total = scan_values(
        values, values.view(np.int32), np.float32(CLIPPED_FROM).view(np.int32)
    )
    peak, plain_clipped, plain_total = plain_scan(values)
    assert np.int32(bits).view(np.float32) == peak
    assert num_clipped == plain_clipped
    assert total == pytest.approx(plain_total, abs=1e-9)


@given(values=arrays(np.float32, (37, 2), elements=ANY))
def test_a_tally_sees_every_value_that_is_no_number(values):
    tally = Tally()
    assert tally.add(values) == bool(np.isfinite(values).all())
    assert np.array_equal(tally.peak, np.abs(values).max(), equal_nan=True)


@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 1, 500, 999])
def test_one_bad_value_anywhere_is_seen_and_stays(value, place):
    block = np.zeros((500, 2), np.float32)
    block.reshape(-1)[place] = value
    tally = Tally()
    assert not tally.add(block)
    tally.add(np.ones((500, 2), np.float32))
    assert not np.isfinite(tally.peak)


@given(
    values=arrays(np.float32, st.tuples(st.integers(1, 99), st.integers(1, 3)), elements=FINITE),
    cuts=st.lists(st.integers(0, 99), max_size=4),
)
def test_a_tally_is_of_all_values_however_they_are_cut(values, cuts):
    tally = Tally()
    for block in blocks_of(values, cuts):
        assert tally.add(block)
    peak, num_clipped, total = plain_scan(values)
    assert (tally.num_frames, tally.num_values, tally.peak) == (len(values), values.size, peak)
    assert tally.clipped_share == num_clipped / values.size
    assert tally.dc_offset == pytest.approx(total / values.size, abs=1e-9)


@given(values=arrays(np.float32, st.tuples(st.integers(0, 50), st.integers(1, 8)), elements=FINITE))
def test_an_average_equals_its_plain_twin(values):
    mono = np.empty(len(values), np.float32)
    average_channels(values, mono)
    assert np.allclose(mono, values.mean(axis=1, dtype=np.float64), rtol=0, atol=1e-5)


@given(
    values=arrays(np.float32, st.integers(0, 99), elements=FINITE),
    frame_length=st.integers(1, 40),
    filled=st.integers(0, 39),
)
def test_energies_equal_their_plain_twin(values, frame_length, filled):
    """The first frame holds `filled` values already."""
    filled %= frame_length
    whole = np.concatenate([np.zeros(filled, np.float32), values])
    energies = np.zeros((filled + len(values)) // frame_length + 1)
    add_squares(values, frame_length - filled, frame_length, energies)
    expected = plain_energies(whole, frame_length)
    assert np.allclose(energies[: len(expected)], expected, rtol=1e-12)
    assert not energies[len(expected) :].any()


@given(
    values=arrays(np.float32, st.tuples(st.integers(0, 400), st.integers(1, 2)), elements=FINITE),
    cuts=st.lists(st.integers(0, 400), max_size=6),
)
def test_an_envelope_is_of_all_samples_however_they_are_cut(values, cuts):
    sample_rate = 1000
    meter = EnvelopeMeter(sample_rate)
    for block in blocks_of(values, cuts):
        meter.add(block)
    hop = envelope_hop(sample_rate)
    expected = [
        np.square(values[at : at + hop], dtype=np.float64).mean() for at in range(0, len(values), hop)
    ]
    assert meter.envelope().dtype == np.float32
    assert np.allclose(meter.envelope(), expected, rtol=1e-6)
    assert meter.energy == pytest.approx(np.square(values, dtype=np.float64).sum())


@pytest.mark.parametrize(("power", "decibels"), [(1, 0), (0.1, -10), (0, -120), (1e-30, -120)])
def test_levels_end_at_120_db_below_full_scale(power, decibels):
    assert level_db(power) == pytest.approx(decibels)


def test_loops_run_where_nothing_can_be_kept_on_disk():
    code = (
        "import numpy as np; from numba.core import caching; caching.CacheImpl._locator_classes = []; "
        "from wavenet.audio.metering import Tally; tally = Tally(); "
        "print(tally.add(np.ones((3, 2), np.float32)), tally.peak)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert told.stdout.split() == ["True", "1.0"]


def test_numba_is_loaded_by_those_who_measure_only():
    code = "import sys, wavenet.audio.io; print([name for name in ('numba', 'av') if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert told.stdout.strip() == "[]"
