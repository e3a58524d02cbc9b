"""A compiled loop that reads memory as fast as it comes."""

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(fastmath={"reassoc", "nsz"}, nogil=True)
def read_again(values: NDArray[np.float32], times: int) -> float:
    """Read values so many times; returns something that depends on each."""
    total = np.float32(0)
    for turn in range(times):
        part = np.float32(0)
        for i in range(len(values)):
            part += values[i]
        total += part * np.float32(turn)
    return total
