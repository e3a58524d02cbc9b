"""Compiled loops of `gates`, float32. Import it where it is used: numba takes its time to load."""

import numpy as np
from numpy.typing import NDArray

from wavenet.compiled import FUSED, compile_loop, sigmoid, tanh

Rows = NDArray[np.float32]
ONE = np.float32(1)


@compile_loop(FUSED)
def squash_and_multiply(gates: Rows, factors: Rows, activated: Rows) -> None:
    """`gates.open_gates`. factors: (batch, width), of window r % batch."""
    width = activated.shape[1]
    for r in range(len(gates)):
        window = r % len(factors)
        for i in range(width):
            filtered, gate = tanh(gates[r, i]), sigmoid(gates[r, width + i])
            gates[r, i], gates[r, width + i] = filtered, gate
            activated[r, i] = filtered * gate * factors[window, i]


@compile_loop(FUSED)
def differentiate(gates: Rows, factors: Rows, d_activated: Rows, activated: Rows, d_gates: Rows) -> None:
    """`gates.close_gates`."""
    width = activated.shape[1]
    for r in range(len(gates)):
        window = r % len(factors)
        for i in range(width):
            filtered, gate, factor = gates[r, i], gates[r, width + i], factors[window, i]
            product, slope = filtered * gate, d_activated[r, i] * factor
            activated[r, i] = product * factor
            d_gates[r, i] = slope * (gate - product * filtered)
            d_gates[r, width + i] = slope * product * (ONE - gate)
