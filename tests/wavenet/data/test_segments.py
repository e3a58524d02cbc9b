"""Which segments of a track are kept."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wavenet.data.segments import count_segments, keep_segments, kept_regions, kept_samples

RATE, LENGTH = 1000, 300
REGIONS = st.lists(
    st.tuples(st.integers(0, 4000), st.integers(1, 900)).map(lambda r: (r[0] / 1000, (r[0] + r[1]) / 1000)),
    max_size=4,
).map(sorted)


@given(REGIONS, st.integers(1, 5000))
def test_every_sample_that_sounds_is_kept_with_a_segment_before_it(regions, num_samples):
    keep = keep_segments(regions, count_segments(num_samples, LENGTH), LENGTH, RATE)
    for start, end in regions:
        first = round(start * RATE)
        for sample in range(max(0, first - LENGTH), min(num_samples, round(end * RATE))):
            assert keep[sample // LENGTH] or sample < first // LENGTH * LENGTH - LENGTH


@given(REGIONS, st.integers(1, 5000))
def test_kept_regions_are_the_kept_segments(regions, num_samples):
    keep = keep_segments(regions, count_segments(num_samples, LENGTH), LENGTH, RATE)
    found = kept_regions(keep, num_samples, LENGTH, RATE)
    again = keep_segments(found, len(keep), LENGTH, RATE, lead=0)
    assert np.array_equal(again, keep)
    total = sum(round(end * RATE) - round(start * RATE) for start, end in found)
    assert total == kept_samples(keep, num_samples, LENGTH)
    assert all(a[1] < b[0] for a, b in itertools.pairwise(found))


def test_silence_alone_keeps_nothing():
    assert not keep_segments([], 7, LENGTH, RATE).any()
    assert kept_regions(np.zeros(7, bool), 2000, LENGTH, RATE) == []


def test_the_last_segment_may_be_short():
    keep = keep_segments([(0.95, 1.0)], count_segments(1000, LENGTH), LENGTH, RATE)
    assert keep.tolist() == [False, False, True, True]
    assert kept_regions(keep, 1000, LENGTH, RATE) == [(0.6, 1.0)]


def test_a_region_that_ends_on_the_grid_takes_no_segment_more():
    assert keep_segments([(0.3, 0.6)], 4, LENGTH, RATE).tolist() == [True, True, False, False]
