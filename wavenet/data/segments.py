"""The grid: which segments of a track are kept. Knows nothing of audio or files.

The invariant: every sample that sounds lies in a kept segment, and so does what leads up to it.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def count_segments(num_samples: int, segment_length: int) -> int:
    """Segments of a track; the last may be shorter."""
    return -(-num_samples // segment_length)


def keep_segments(
    regions: Sequence[tuple[float, float]],
    num_segments: int,
    segment_length: int,
    sample_rate: int,
    lead: int = 1,
) -> NDArray[np.bool_]:
    """Which segments are kept, (num_segments,): those that a region touches, and `lead` before each.

    regions: (start, end) in seconds. The segment before is the context that the first sounding samples
    are scored with: without it a kept part would begin with samples that no model ever learns.
    """
    keep = np.zeros(num_segments, bool)
    for start, end in regions:
        first = math.floor(round(start * sample_rate, 3) / segment_length)
        last = math.ceil(round(end * sample_rate, 3) / segment_length)
        keep[max(0, first - lead) : last] = True
    return keep


def kept_samples(keep: NDArray[np.bool_], num_samples: int, segment_length: int) -> int:
    """Samples in the kept segments of a track of num_samples."""
    kept = int(keep.sum()) * segment_length
    short = len(keep) * segment_length - num_samples
    return kept - short if len(keep) and keep[-1] else kept


def kept_regions(
    keep: NDArray[np.bool_], num_samples: int, segment_length: int, sample_rate: int
) -> list[tuple[float, float]]:
    """The kept segments as (start, end) in seconds, neighbours joined."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], keep.astype(np.int8), [0]])))
    samples = np.minimum(edges * segment_length, num_samples).reshape(-1, 2)
    return [(float(start / sample_rate), float(end / sample_rate)) for start, end in samples]
