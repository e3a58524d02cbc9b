"""Compiled loops of quantization: mu-law codes of float32, and the noise that codes add.

Knows nothing of how its tables are made. The invariants: the tables decide every mu-law code, and
`estimate_codes` leaves out only what needs no decision; codes are written within bounds whatever the
samples are, NaN and infinity included.

Import it where it is used: numba takes its time to load.
"""

import numba
import numpy as np
from numpy.polynomial import Chebyshev, Polynomial
from numpy.typing import NDArray

from wavenet.audio.loops import REORDERED
from wavenet.compiled import compile_loop

FUSED = {"contract"}  # multiply and add at once, rounded once: the margin is wider than the difference
BLOCK = 64
"""Samples that are estimated at once, and looked up one by one if any of them is near a border."""
ESTIMATED_LEVELS = 256
"""At most: a float32 from 256 to 512 has 8 bits for the code and 15 for what tells how near a border is."""
MARGIN = np.int32(5)
"""How near is near, in 2^-15 of a step. At the borders of 16 to 256 levels estimates were off by 3 at most,
fused or not."""

SIGN, MAGNITUDE, MANTISSA = np.int32(-1 << 31), np.int32(0x7FFFFFFF), np.int32(0x7FFFFF)
ONE, INFINITY = np.int32(0x3F800000), np.int32(0x7F800000)
FRACTION, FRACTION_BITS = np.int32(0x7FFF), np.int32(15)

LOG2 = Chebyshev.interpolate(np.log2, 7, domain=[1, 2]).convert(kind=Polynomial)
"""log2 of [1, 2] as a polynomial, off by 4e-7 at most."""
C = tuple(np.float32(coefficient) for coefficient in (LOG2 - Polynomial([-1, 1])).coef * (1 << 23))
"""What log2(m) has over m - 1, as a polynomial of a mantissa m, in units of its last bit."""
ZERO = ONE - np.int32(C[0])
"""A float's bits less those of one are its rough logarithm, in the same units; C[0] is taken along."""


@compile_loop()
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
    shift: int,
    low: NDArray[np.uint8],
    borders: NDArray[np.float32],
    codes: NDArray[np.uint8],
) -> bool:
    """Do what `look_up` does, with SIMD where no sample of a block is near a border between codes.

    The position among the codes is (levels - 1) / 2 * (1 + sign * log2(1 + mu |sample|) / log2(levels)),
    computed without branches so that compilers vectorise it. It is shifted to between 256 and 512, where
    the bits of a float32 are a fixed-point number, and up by the margin, so that near a border is where
    the fraction is small. NaN counts as near. levels: at most ESTIMATED_LEVELS.
    """
    mu, scale = np.float32(levels - 1), np.float32((levels - 1) / 2 / np.log2(levels) / (1 << 23))
    centre = np.float32(256.5 + (levels - 1) / 2 + MARGIN / (1 << 15))
    whole = samples.size // BLOCK * BLOCK
    blocks, block_codes = bits[:whole].reshape(-1, BLOCK), codes[:whole].reshape(-1, BLOCK)
    seen_nan = False
    for k in range(len(blocks)):
        nearest = FRACTION
        for i in range(BLOCK):
            magnitude = np.int32(blocks[k, i] & MAGNITUDE)
            clipped = np.int32(min(magnitude, ONE)).view(np.float32)  # bits have the order of the floats
            value = np.float32(1 + mu * clipped).view(np.int32)
            mantissa = np.int32((value & MANTISSA) | ONE).view(np.float32)
            logarithm = np.float32(_refine_log2(np.float32(np.int32(value - ZERO)), mantissa))
            signed = np.int32(logarithm.view(np.int32) ^ np.int32(blocks[k, i] & SIGN)).view(np.float32)
            position = np.float32(signed * scale + centre).view(np.int32)
            nearest = min(nearest, np.int32(position & FRACTION), np.int32(INFINITY - magnitude))
            block_codes[k, i] = np.int32(position >> FRACTION_BITS)
        if nearest < 2 * MARGIN:
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
def _refine_log2(rough: np.float32, mantissa: np.float32) -> np.float32:
    """A rough logarithm and what it lacks, by Horner's rule; unrolled, or it would not be vectorised."""
    value = C[7] * mantissa + C[6]
    value = value * mantissa + C[5]
    value = value * mantissa + C[4]
    value = value * mantissa + C[3]
    value = value * mantissa + C[2]
    value = value * mantissa + C[1]
    return value * mantissa + rough
