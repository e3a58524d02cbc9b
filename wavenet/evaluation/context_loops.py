"""Compiled loops of context models: grams of codes, and what sorted grams say of the bits of a code.

A gram is a context and the code after it, packed into one integer with the code in its lowest bits. So in
sorted grams all that was heard after one context lies together, and in it all codes that begin with the
same bits. Knows nothing of runs. The invariant: what is counted for a bit are the codes after the same
context that agree in all bits above it.

Import it where it is used: numba takes its time to load.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from wavenet.compiled import compile_loop

ONE = np.uint64(1)


@compile_loop()
def fill_grams(
    codes: NDArray[np.unsignedinteger],
    first: int,
    stride: int,
    order: int,
    width: int,
    bits: int,
    grams: NDArray[np.uint64],
) -> None:
    """Fill grams with those that end at first, first + stride, ... of codes, (time,).

    Each has `order` codes of context, the upper `width` bits of each, and one code of all its `bits`.
    """
    shift, width_, bits_ = np.uint64(bits - width), np.uint64(width), np.uint64(bits)
    for i in range(grams.size):
        end = first + i * stride
        context = np.uint64(0)
        for t in range(end - order, end):
            context = (context << width_) | (np.uint64(codes[t]) >> shift)
        grams[i] = (context << bits_) | np.uint64(codes[end])


@compile_loop()
def refine_chances(
    known: NDArray[np.uint64],
    grams: NDArray[np.uint64],
    places: NDArray[np.int64],
    strength: float,
    chances: NDArray[np.float32],
) -> None:
    """Draw the chance of each bit of a code towards its share among the known codes after its context.

    known, grams: sorted. places: the row of each gram in chances, (codes, bits): the probabilities of the
    bits that the codes have, highest bit first, in the order below; of this order when it returns.
    """
    bits = chances.shape[1]
    alike, same = np.zeros(bits), np.zeros(bits)
    begin = end = 0
    for i in range(grams.size):
        if i == 0 or grams[i] != grams[i - 1]:
            context = grams[i] >> np.uint64(bits)
            if i == 0 or context != grams[i - 1] >> np.uint64(bits):
                begin = _find(known, end, context << np.uint64(bits))
                end = _find(known, begin, (context + ONE) << np.uint64(bits))
            _count_bits(known[begin:end], grams[i], alike, same)
        row = chances[places[i]]
        for bit in range(bits):
            row[bit] = (same[bit] + strength * row[bit]) / (alike[bit] + strength)


@compile_loop()
def sum_prices(chances: NDArray[np.float32], prices: NDArray[np.float64]) -> None:
    """Fill prices, (codes,), with the bits that the chances of each row of (codes, bits) cost together."""
    for i in range(prices.size):
        nats = 0.0
        for chance in chances[i]:
            nats -= np.log(np.float64(chance))
        prices[i] = nats / np.log(2.0)


@numba.njit(error_model="numpy")
def _count_bits(  # type: ignore[no-untyped-def]
    known, gram, alike, same
):
    """For each bit of a code: how many known grams agree in all bits above it, and how many in it too."""
    low, high = 0, known.size
    for bit in range(alike.size):
        shift = np.uint64(alike.size - 1 - bit)
        prefix = gram >> shift
        middle = _bisect(known, low, high, (prefix | ONE) << shift)
        alike[bit] = high - low
        if prefix & ONE:
            low = middle
        else:
            high = middle
        same[bit] = high - low


@numba.njit(error_model="numpy")
def _find(known, start, gram):  # type: ignore[no-untyped-def]
    """The first place from start on whose gram is not less; near ones are found soonest."""
    low = high = start
    step = 1
    while high < known.size and known[high] < gram:
        low, high, step = high + 1, high + step, 2 * step
    return _bisect(known, low, min(high, known.size), gram)


@numba.njit(error_model="numpy")
def _bisect(known, low, high, gram):  # type: ignore[no-untyped-def]
    """The first place in low to high whose gram is not less, high if there is none."""
    while low < high:
        middle = (low + high) // 2
        if known[middle] < gram:
            low = middle + 1
        else:
            high = middle
    return low
