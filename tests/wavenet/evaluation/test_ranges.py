"""Ranges are of all tracks alike, of what sounds in them, and the same each time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wavenet.evaluation.played import RATE, play, write_set
from wavenet.errors import IncompatibleDataError
from wavenet.evaluation import ranges
from wavenet.evaluation.ranges import Ranges, measure_ranges, spread
from wavenet.evaluation.sound import FIGURES


def test_ranges_hold_what_was_measured_and_survive_json(music):
    measured = measure_ranges(music)
    assert set(measured.figures) == set(FIGURES)
    assert Ranges.model_validate_json(measured.model_dump_json()) == measured
    assert measured == measure_ranges(music)
    level, onsets = measured.figures["level_db"], measured.figures["onsets_per_second"]
    assert -40 < level.p1 <= level.p5 <= level.p50 <= level.p95 <= level.p99 < -10
    assert 1 < onsets.p1 < onsets.p99 < 6  # three a second were played
    assert level.count == 3 * 7  # 16 s are seven windows


def test_a_long_track_does_not_outweigh_short_ones(tmp_path, monkeypatch):
    """Of as many windows as there may be, each track has its share."""
    monkeypatch.setattr(ranges, "MOST_WINDOWS", 8)
    quiet, loud = 0.1 * play(1, 60.0), play(2, 10.0)
    measured = measure_ranges(write_set(tmp_path / "set", [(quiet, "train"), (loud, "train")]))
    level = measured.figures["level_db"]
    assert level.count == 8
    assert level.p99 - level.p50 > 5
    assert level.p95 - level.p1 > 15


def test_what_is_silent_makes_no_range(tmp_path):
    rest = np.zeros(20 * RATE, np.float32)
    folder = write_set(tmp_path / "set", [(np.concatenate([play(1, 8.0), rest]), "train")])
    measured = measure_ranges(folder)
    assert measured.figures["level_db"].p1 > -60
    with pytest.raises(IncompatibleDataError, match="nothing sounds"):
        measure_ranges(write_set(tmp_path / "silent", [(rest, "train")]))


def test_loops_shorter_than_a_window_have_ranges(tmp_path):
    folder = write_set(tmp_path / "set", [(play(seed, 1.5), "train") for seed in range(3)])
    assert measure_ranges(folder).figures["level_db"].count == 3
    folder = write_set(tmp_path / "short", [(play(1, 0.5), "train")])
    assert measure_ranges(folder).figures["level_db"].count == 1


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=50), st.floats(-300, 300))
def test_a_distance_is_in_widths_and_zero_inside(values, value):
    known = spread(values, 0.5)
    distance = known.outside(value)
    assert known.width >= 0.5
    if known.p1 <= value <= known.p99:
        assert distance == 0
    else:
        nearest = known.p1 if value < known.p1 else known.p99
        assert distance == pytest.approx((value - nearest) / known.width)
