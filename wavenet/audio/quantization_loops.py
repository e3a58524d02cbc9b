"""Compiled loops of quantization: mu-law codes of float32, and the noise that codes add.

Knows nothing of how its tables are made. The invariants: the tables decide every mu-law code, and
`estimate_codes` leaves out only what needs no decision; codes are written within bounds whatever the
samples are, NaN and infinity included.

Import it where it is used: numba takes its time to load.
"""

import numba
import numpy as np
from numpy.polynomial import Polynomial
from numpy.polynomial.chebyshev import chebpts1
from numpy.typing import NDArray

from wavenet.audio.loops import IN_ORDER, REORDERED, compile_loop

BLOCK = 256
"""Samples that are estimated at once, and looked up one by one if any of them is near a border."""

_NODES = (1 + chebpts1(64)) / 2  # denser at the ends, where a polynomial strays
LOG2_RATIO = Polynomial.fit(_NODES, np.log2(1 + _NODES) / _NODES, 6, w=_NODES, domain=[0, 1], window=[0, 1])
"""log2(1 + t) / t of t in [0, 1]; times t it is off by 4e-7 at most."""
COEFFICIENTS = tuple(np.float32(coefficient) for coefficient in LOG2_RATIO.coef)

SIGN, MAGNITUDE, MANTISSA = np.int32(-1 << 31), np.int32(0x7FFFFFFF), np.int32(0x7FFFFF)
ONE, INFINITY, EXPONENT_BIAS = np.int32(0x3F800000), np.int32(0x7F800000), np.float32(127)
FUSED = {"contract"}  # multiply and add at once; the margin is wider than what that changes
WHOLE = np.float32(1 << 23)  # float32 from here on are whole numbers: adding it rounds


@compile_loop(IN_ORDER)
def look_up(
    samples: NDArray[np.float32],
    bits: NDArray[np.int32],
    shift: int,
    low: NDArray[np.unsignedinteger],
    borders: NDArray[np.float32],
    codes: NDArray[np.unsignedinteger],
) -> bool:
    """Fill codes with low[cell], or one more from the cell's border on; return whether a sample is NaN.

    samples, bits, codes: (time,), bits the same memory as samples. low, borders: one for each cell, a
    value of the bits that are left after the shift.
    """
    seen_nan = False
    for i in range(samples.size):
        seen_nan |= _look_up_one(samples, bits, shift, low, borders, codes, i)
    return seen_nan


@compile_loop(FUSED)
def estimate_codes(
    samples: NDArray[np.float32],
    bits: NDArray[np.int32],
    levels: int,
    margin: float,
    shift: int,
    low: NDArray[np.unsignedinteger],
    borders: NDArray[np.float32],
    codes: NDArray[np.unsignedinteger],
) -> bool:
    """Do what `look_up` does, with SIMD where a whole block is further than margin from any border.

    The position among the codes is (levels - 1) / 2 * (1 + sign * log2(1 + mu |sample|) / log2(levels)),
    computed without branches so that compilers vectorise it: log2 is the exponent plus a polynomial of
    the mantissa. A block with NaN is looked up too.
    """
    mu, centre = np.float32(levels - 1), np.float32((levels - 1) / 2)
    scale = np.float32((levels - 1) / 2 / np.log2(levels))
    furthest_sure = np.float32(0.5 - margin)
    whole = samples.size // BLOCK * BLOCK
    blocks, block_codes = bits[:whole].reshape(-1, BLOCK), codes[:whole].reshape(-1, BLOCK)
    seen_nan = False
    for k in range(len(blocks)):
        peak = furthest = np.int32(0)  # the bits of positive floats have the order of the floats
        for i in range(BLOCK):
            magnitude = np.int32(blocks[k, i] & MAGNITUDE)
            peak = max(peak, magnitude)
            clipped = np.int32(min(magnitude, ONE)).view(np.float32)
            value = np.float32(1 + mu * clipped).view(np.int32)
            exponent = np.float32(np.int32(value >> np.int32(23))) - EXPONENT_BIAS
            t = np.int32((value & MANTISSA) | ONE).view(np.float32) - np.float32(1)
            logarithm = np.float32(_log2_ratio(t) * t + exponent)
            signed = np.int32(logarithm.view(np.int32) ^ np.int32(blocks[k, i] & SIGN)).view(np.float32)
            position = np.float32(signed * scale + centre)
            rounded = np.float32(position + WHOLE)
            off = np.float32(position - np.float32(rounded - WHOLE))
            furthest = max(furthest, np.int32(off.view(np.int32) & MAGNITUDE))
            block_codes[k, i] = rounded.view(np.int32)  # its low bits are the code
        if peak > INFINITY or furthest > furthest_sure.view(np.int32):
            for i in range(k * BLOCK, (k + 1) * BLOCK):
                seen_nan |= _look_up_one(samples, bits, shift, low, borders, codes, i)
    for i in range(whole, samples.size):
        seen_nan |= _look_up_one(samples, bits, shift, low, borders, codes, i)
    return seen_nan


@compile_loop(REORDERED)
def sum_noise(
    samples: NDArray[np.floating], codes: NDArray[np.unsignedinteger], table: NDArray[np.float32]
) -> tuple[float, float]:
    """The sum of squares of samples, (time,), and of their distances to what their codes stand for."""
    energy = noise = 0.0
    for i in range(samples.size):
        sample = np.float64(samples[i])
        off = sample - np.float64(table[codes[i]])
        energy += sample * sample
        noise += off * off
    return energy, noise


@numba.njit(inline="always")
def _look_up_one(  # type: ignore[no-untyped-def]
    samples, bits, shift, low, borders, codes, i
):
    sample = samples[i]
    cell = np.uint32(bits[i]) >> np.uint32(shift)
    codes[i] = low[cell] + (sample >= borders[cell])
    return sample != sample


@numba.njit(inline="always")
def _log2_ratio(t: np.float32) -> np.float32:
    """log2(1 + t) / t by Horner's rule; unrolled, for a loop in a loop would not be vectorised."""
    value = COEFFICIENTS[6] * t + COEFFICIENTS[5]
    value = value * t + COEFFICIENTS[4]
    value = value * t + COEFFICIENTS[3]
    value = value * t + COEFFICIENTS[2]
    value = value * t + COEFFICIENTS[1]
    return value * t + COEFFICIENTS[0]
