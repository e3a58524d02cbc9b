"""Compiled loops of `gates`. Import it where it is used: numba takes its time to load.

Rows are float32, or the bits of bfloat16 as int16, since numba does not know it: those are widened to be
computed with, and what is stored is rounded to even, as torch rounds. Signed, since numba makes 64 bits of
unsigned sums, and no vector code then.
"""

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from wavenet.compiled import FUSED, compile_loop, sigmoid, tanh

Factors = NDArray[np.float32]
Sums = NDArray[np.float32]
Rows = NDArray[Any]
ONE = np.float32(1)
HALF_BITS, BELOW_HALF, LAST = np.int32(16), np.int32(0x7FFF), np.int32(1)


@compile_loop(FUSED)
def squash_and_multiply(gates: Rows, bias: Sums, factors: Factors, activated: Rows) -> None:
    """`gates.open_gates`. factors: (batch, width), of window r % batch."""
    width = activated.shape[1]
    for r in range(len(gates)):
        window = r % len(factors)
        for i in range(width):
            filtered = tanh(_widen(gates[r, i]) + bias[i])
            gate = sigmoid(_widen(gates[r, width + i]) + bias[width + i])
            gates[r, i], gates[r, width + i] = _rounded(filtered, gates), _rounded(gate, gates)
            activated[r, i] = _rounded(filtered * gate * factors[window, i], activated)


@compile_loop(FUSED)
def differentiate(
    gates: Rows, factors: Factors, d_activated: Rows, activated: Rows, d_gates: Rows, d_bias: Sums
) -> None:
    """`gates.close_gates`. Sums are of these rows first, since few numbers added up lose fewer digits."""
    width, sums = activated.shape[1], np.zeros_like(d_bias)
    for r in range(len(gates)):
        window = r % len(factors)
        for i in range(width):
            filtered, gate = _widen(gates[r, i]), _widen(gates[r, width + i])
            factor = factors[window, i]
            product, slope = filtered * gate, _widen(d_activated[r, i]) * factor
            activated[r, i] = _rounded(product * factor, activated)
            d_gates[r, i] = _rounded(slope * (gate - product * filtered), d_gates)
            d_gates[r, width + i] = _rounded(slope * product * (ONE - gate), d_gates)
        for i in range(2 * width):
            sums[i] += _widen(d_gates[r, i])
    for i in range(2 * width):
        d_bias[i] += sums[i]


def _widen(stored):  # type: ignore[no-untyped-def]
    """What is stored, as float32."""


@overload(_widen, inline="always")
def _widen_any(stored):  # type: ignore[no-untyped-def]
    if stored == types.int16:
        return lambda stored: np.int32(np.int32(stored) << HALF_BITS).view(np.float32)
    return lambda stored: stored


def _rounded(value, rows):  # type: ignore[no-untyped-def]
    """A float32 as rows store it."""


@overload(_rounded, inline="always")
def _rounded_any(value, rows):  # type: ignore[no-untyped-def]
    def to_bf16(value, rows):  # type: ignore[no-untyped-def]
        bits = np.float32(value).view(np.int32)
        to_even = BELOW_HALF + np.int32(np.int32(bits >> HALF_BITS) & LAST)
        return np.int16(np.int32(np.int32(bits + to_even) >> HALF_BITS))

    return to_bf16 if rows.dtype == types.int16 else lambda value, rows: value
