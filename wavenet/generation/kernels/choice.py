"""From outputs and a uniform to a code, compiled: `wavenet.generation.sampling` for one stream.

Knows nothing of networks. The invariants: as there, in float64; and a code is one of the levels, even where
outputs are NaN.
"""

import math

import numpy as np
from numpy.typing import NDArray

from wavenet.compiled import FUSED, compile_loop
from wavenet.generation.kernels.vectors import LANES, greatest, two_to
from wavenet.model.outputs import LEAST_LOG_SCALE

Floats = NDArray[np.float32]
LOG2_E, LN2_HIGH, LN2_LOW = 1.4426950408889634, 6.93147180369123816490e-01, 1.90821492927058770002e-10
LEAST_POWER = -700.0
BLOCK = 16
"""Levels whose weights are summed first: a sum of sums is no long chain of additions."""
SHIFT = 6755399441055744.0
"""1.5 * 2^52: added and taken off, it rounds a float64 to a whole number."""


@compile_loop(FUSED)
def exp(x):  # type: ignore[no-untyped-def]
    """e^x for x from -700 to 0, within 3e-9 of it, in arithmetic alone: a loop becomes vector code."""
    x = max(x, LEAST_POWER)
    power = (x * LOG2_E + SHIFT) - SHIFT
    r = (x - power * LN2_HIGH) - power * LN2_LOW  # at most half of ln 2
    series = 1 / 40320 + r / 362880
    series = 1 / 720 + r * (1 / 5040 + r * series)
    series = 1 / 6 + r * (1 / 24 + r * (1 / 120 + r * series))
    return (1 + r * (1 + r * (0.5 + r * series))) * two_to(power)


def make_room(num_outputs: int) -> NDArray[np.float64]:
    """Room to choose a code in: a weight an output, and a sum a block of them."""
    return np.zeros(num_outputs + num_outputs // BLOCK + 1)


@compile_loop(FUSED)
def choose_code(logits, uniform, temperature, top_k, top_p, levels, room):  # type: ignore[no-untyped-def]
    """`sampling.choose_codes`. logits: (levels or more,) float32; room: of `make_room`, overwritten."""
    whole = levels - levels % LANES
    highest = greatest(logits.ctypes.data, whole)
    for level in range(whole, levels):
        highest = max(highest, logits[level])
    sharpness, most = 1 / temperature, np.float64(highest) / temperature
    for level in range(levels):
        room[level] = exp(logits[level] * sharpness - most)
    if top_k > 0 or top_p < 1:
        narrow(room[:levels], top_k, top_p)
    total = sum_blocks(room, levels)
    threshold, block, before = uniform * total, 0, 0.0
    while (block + 1) * BLOCK < levels and before + room[levels + block] <= threshold:
        before += room[levels + block]
        block += 1
    code = block * BLOCK
    before += room[code]
    while code < levels - 1 and before <= threshold:
        code += 1
        before += room[code]
    while code > 0 and room[code] == 0:  # rounding led past all that may be chosen
        code -= 1
    return code


@compile_loop({*FUSED, "reassoc"})
def sum_blocks(room, levels):  # type: ignore[no-untyped-def]
    """Leave the sum of each block of weights behind the weights; returns the sum of all."""
    total = 0.0
    for first in range(0, levels, BLOCK):
        weight = 0.0
        for level in range(first, min(first + BLOCK, levels)):
            weight += room[level]
        room[levels + first // BLOCK] = weight
        total += weight
    return total


@compile_loop()
def narrow(weights, top_k, top_p):  # type: ignore[no-untyped-def]
    """`sampling.narrow` in place."""
    order = np.argsort(-weights, kind="mergesort")
    kept = min(top_k, len(order)) if top_k > 0 else len(order)
    total = 0.0
    for i in range(kept):
        total += weights[order[i]]
    before = 0.0
    for i in range(len(order)):
        weight = weights[order[i]]
        if i >= kept or before >= top_p * total:
            weights[order[i]] = 0
        before += weight


@compile_loop()
def choose_logistic_code(outputs, uniform, levels, temperature, count, room):  # type: ignore[no-untyped-def]
    """`sampling.choose_logistic_codes`. outputs: (3 * count or more,) float32; room: of `make_room`."""
    weights, means, sharpness = room[:count], room[count : 2 * count], room[2 * count : 3 * count]
    highest = np.float64(outputs[0])
    for i in range(count):
        highest = max(highest, outputs[i])
    total = 0.0
    for i in range(count):
        weights[i] = math.exp((outputs[i] - highest) / temperature)
        means[i] = outputs[count + i]
        sharpness[i] = math.exp(-max(np.float64(outputs[2 * count + i]), LEAST_LOG_SCALE)) / temperature
        total += weights[i]
    low, high = 0, levels - 1
    while low < high:
        middle = (low + high) // 2
        upper = (2 * middle + 1) / (levels - 1) - 1
        below = 0.0
        for i in range(count):
            below += weights[i] / (1 + math.exp(-sharpness[i] * (upper - means[i])))
        if below > uniform * total:
            high = middle
        else:
            low = middle + 1
    return low
