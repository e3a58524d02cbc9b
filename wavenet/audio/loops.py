"""Compiled loops over blocks of samples: what numpy would take several passes and copies for.

Knows nothing of files or streams. The invariants: NaN and infinity keep their meaning even where a sum is
reordered, so that it runs in parallel lanes; and nothing is read or written out of bounds.

Import it where it is used: numba takes its time to load.
"""

import numpy as np
from numpy.typing import NDArray

from wavenet.compiled import compile_loop

REORDERED = {"reassoc", "nsz"}  # not nnan or ninf: NaN must stay defined behaviour


@compile_loop(REORDERED)
def scan_values(
    values: NDArray[np.float32], bits: NDArray[np.int32], clipped_from: np.int32
) -> tuple[np.int32, int, float]:
    """Bits of the largest magnitude, number of values from `clipped_from` on, and sum of values.

    values, bits: (any,), the same memory. Magnitudes compare as the integers that their bits are, with
    infinity above all numbers and NaN above infinity: integers can be compared many at a time.
    """
    largest, num_clipped, total = np.int32(0), 0, 0.0
    for i in range(values.size):
        magnitude = bits[i] & np.int32(0x7FFFFFFF)
        largest = max(largest, magnitude)
        num_clipped += magnitude >= clipped_from
        total += values[i]
    return largest, num_clipped, total


@compile_loop()
def average_channels(block: NDArray[np.float32], mono: NDArray[np.float32]) -> None:
    """Fill mono, (frames,), with the mean of block, (frames, channels)."""
    num_frames, num_channels = block.shape
    share = np.float32(1 / num_channels)
    if num_channels == 2:
        for i in range(num_frames):
            mono[i] = (block[i, 0] + block[i, 1]) * share
    else:
        for i in range(num_frames):
            total = np.float32(0)
            for channel in range(num_channels):
                total += block[i, channel]
            mono[i] = total * share


@compile_loop(REORDERED)
def add_squares(
    values: NDArray[np.float32], room: int, frame_length: int, energies: NDArray[np.float64]
) -> None:
    """Add the squares of values, (any,), to the energies of their frames.

    The first frame takes `room` more values, each of the others `frame_length`.
    """
    start, stop = 0, room
    for frame in range(energies.size):
        total = 0.0
        for i in range(start, min(stop, values.size)):
            total += np.float64(values[i]) * np.float64(values[i])
        energies[frame] += total
        start, stop = stop, stop + frame_length
