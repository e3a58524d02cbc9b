"""How loops are compiled here, and the two functions that a WaveNet is full of.

Import it where it is used: numba takes its time to load. numba's disk cache notices a change in the file
of the function that is called, and in no other: after a change here, whoever calls these is to be touched.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

FUSED = {"contract", "nsz"}
"""Fused multiply-add; not nnan or ninf: NaN must stay defined behaviour."""


def compile_loop(fastmath: set[str] | bool = False) -> Callable[[Callable], Any]:
    """Decorate a function to be compiled, and kept on disk where there is a place for it.

    It runs without the GIL, and divides as numpy does.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": fastmath}

    def compile_function(function: Callable) -> Any:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # neither beside the file nor in the user's cache may be written
            return numba.njit(**options)(function)

    return compile_function


def compile_part(fastmath: set[str] | bool = False, inline: bool = False) -> Callable[[Callable], Any]:
    """Decorate a function that compiled loops alone call: it is kept with them, and not by itself.

    It makes no arrays, and so counts no references, which takes longer than a short loop. inline: written
    out where it is called, as arrays take long to hand over; it then has its caller's fastmath.
    """
    return numba.njit(
        nogil=True, error_model="numpy", fastmath=fastmath, _nrt=False, inline="always" if inline else "never"
    )


HALF = np.float32(0.5)
# Eigen's rational approximation of tanh: odd over even powers, within 3e-7, one from the limit on
TANH_LIMIT = np.float32(7.90531110763549805)
P1, P3, P5, P7 = (
    np.float32(4.89352455891786e-03), np.float32(6.37261928875436e-04),
    np.float32(1.48572235717979e-05), np.float32(5.12229709037114e-08),
)  # fmt: skip
P9, P11, P13 = (
    np.float32(-8.60467152213735e-11), np.float32(2.00018790482477e-13), np.float32(-2.76076847742355e-16)
)  # fmt: skip
Q0, Q2, Q4, Q6 = (
    np.float32(4.89352518554385e-03), np.float32(2.26843463243900e-03),
    np.float32(1.18534705686654e-04), np.float32(1.19825839466702e-06),
)  # fmt: skip


@compile_loop(FUSED)
def divide_later(x: np.float32) -> tuple[np.float32, np.float32]:
    """What tanh is the quotient of; the divisor is 0.004 at least."""
    x = min(max(x, -TANH_LIMIT), TANH_LIMIT)
    square = x * x
    odd = P1 + square * (P3 + square * (P5 + square * (P7 + square * (P9 + square * (P11 + square * P13)))))
    even = Q0 + square * (Q2 + square * (Q4 + square * Q6))
    return x * odd, even


@compile_loop(FUSED)
def tanh(x: np.float32) -> np.float32:
    """In arithmetic alone, so that a loop over it becomes vector code, which calls of libm prevent."""
    odd, even = divide_later(x)
    return odd / even


@compile_loop(FUSED)
def sigmoid(x: np.float32) -> np.float32:
    """The logistic function, by way of tanh."""
    return HALF + HALF * tanh(HALF * x)


@compile_loop(FUSED)
def gate(x: np.float32, opening: np.float32) -> np.float32:
    """tanh(x) * sigmoid(opening), by one division, which takes as long as the rest of either."""
    odd, even = divide_later(x)
    other_odd, other_even = divide_later(HALF * opening)
    return HALF * odd * (other_even + other_odd) / (even * other_even)
