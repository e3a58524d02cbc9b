"""Mu-law companding between waveforms and codes.

Knows nothing of files or networks. The invariants: `encode_mu_law(decode_mu_law(code)) == code`
for every code of every number of levels; digital silence has a code of its own that decodes to
exactly zero; and `encode_mu_law`, which looks codes up, gives what `encode_mu_law_plainly`, which
reads like the paper, gives.

Which code a sample next to a border gets depends on rounding, so rounding is part of the definition:
the formula is evaluated in the precision of the waveform, operation by operation in the order of
torchaudio's `mu_law_encoding`, with a logarithm that is rounded to the nearest float. At 256 levels each
of the 2,130,706,434 float32 in [-1, 1] then has torchaudio's code (as torch computes it with AVX2 or
AVX-512; without them its logarithm is another, and 24 of 255 borders lie one float apart). At other levels
99% of all borders are the same float and the rest its neighbour. From the formula in real numbers float32
parts at 1,494 floats next to borders, and below zero down to -6e-10, which float32 takes for silence.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.unsignedinteger]

NEAR_TIES_DOWN = 1 - 2**-36
"""At 256 levels one logarithm, of 239.83224, lies 1e-11 above the middle of two floats; torch takes the
lower. This factor does the same, and is too close to one to move any other of the 255 borders."""
TABLES_KEPT = 8


def code_dtype(quantization_channels: int) -> np.dtype:
    """The smallest little-endian unsigned type that holds every code."""
    return np.dtype("u1") if quantization_channels <= 256 else np.dtype("<u2")


def silence_code(quantization_channels: int) -> int:
    """The code of digital silence: 128 of 256 levels."""
    return quantization_channels // 2


def encode_mu_law(waveform: NDArray[np.floating], quantization_channels: int = 256) -> Codes:
    """Quantize a waveform to mu-law codes.

    waveform: any shape, float in [-1, 1]; what lies outside is clipped to that range.
    Returns codes of the same shape in [0, quantization_channels), uint8 up to 256 levels, else
    uint16. Raises ValueError on NaN. ITU-T G.711 companding with mu = levels - 1, evaluated as in
    WaveNet (van den Oord et al. 2016), 2.2.
    """
    waveform = as_float(waveform)
    if waveform.dtype != np.float32:
        return encode_mu_law_plainly(waveform, quantization_channels)
    from wavenet.audio import quantization_loops

    samples, lookup = waveform.reshape(-1), _build_lookup(quantization_channels)
    codes = np.empty(samples.shape, lookup.low.dtype)
    arrays = samples, samples.view(np.int32)
    if quantization_channels <= quantization_loops.ESTIMATED_LEVELS:
        seen_nan = quantization_loops.estimate_codes(*arrays, quantization_channels, *lookup, codes)
    else:
        seen_nan = quantization_loops.look_up(*arrays, *lookup, codes)
    if seen_nan:
        _refuse_nan()
    return codes.reshape(waveform.shape)


def encode_mu_law_plainly(waveform: NDArray[np.floating], quantization_channels: int = 256) -> Codes:
    """What `encode_mu_law` returns, computed sample by sample as the paper has it."""
    positions = compand(waveform, quantization_channels)
    if np.isnan(positions).any():
        _refuse_nan()
    return np.asarray(np.floor(positions + positions.dtype.type(0.5)), code_dtype(quantization_channels))


def compand(waveform: NDArray[np.floating], quantization_channels: int) -> NDArray[np.floating]:
    """Where amplitudes lie among the codes, before rounding.

    waveform: any shape, float; clipped to [-1, 1]. Returns the same shape and precision in
    [0, quantization_channels - 1]; NaN stays NaN. WaveNet (van den Oord et al. 2016), 2.2.
    """
    clipped = np.clip(as_float(waveform), -1, 1)
    mu = clipped.dtype.type(quantization_channels - 1)
    companded = np.sign(clipped) * _log1p(mu * np.abs(clipped)) / _log1p(np.asarray(mu))
    return (companded + 1) / 2 * mu


def as_float(waveform: NDArray[np.floating]) -> NDArray[np.floating]:
    """The waveform as contiguous float32, or as float64 where float32 would lose bits."""
    waveform = np.asarray(waveform)
    precision = np.float32 if np.can_cast(waveform.dtype, np.float32) else np.float64
    return np.asarray(waveform, precision, order="C")


def decode_mu_law(codes: NDArray[np.integer], quantization_channels: int = 256) -> NDArray[np.float32]:
    """The waveform that codes stand for. codes: any shape. Returns float32 in [-1, 1]."""
    return decoding_table(quantization_channels)[codes]


@lru_cache(maxsize=TABLES_KEPT)
def decoding_table(quantization_channels: int) -> NDArray[np.float32]:
    """The amplitude of every code, (quantization_channels,) float32, ascending, read-only."""
    mu = quantization_channels - 1
    companded = 2 * np.arange(quantization_channels) / mu - 1
    table = np.sign(companded) * np.expm1(np.abs(companded) * np.log1p(mu)) / mu
    table[silence_code(quantization_channels)] = 0.0  # a half step off in the formula: a DC offset
    table = table.astype(np.float32)
    table.flags.writeable = False
    return table


def signal_to_quantization_noise(waveform: NDArray[np.floating], quantization_channels: int) -> float:
    """How good a codec of so many levels can sound on this waveform, in dB; inf for silence."""
    decoded = decode_mu_law(encode_mu_law(waveform, quantization_channels), quantization_channels)
    noise = float(np.mean((waveform - decoded) ** 2, dtype=np.float64))
    power = float(np.mean(np.square(waveform), dtype=np.float64))
    return 10 * float(np.log10(power / noise)) if noise > 0 else float("inf")


def coding_thresholds(quantization_channels: int) -> NDArray[np.float32]:
    """The least float32 of every code but the lowest, (quantization_channels - 1,), ascending.

    Bisects between the neighbours -1 and 1 in the order of floats, with the plain formula as judge.
    """
    codes = np.arange(1, quantization_channels)
    one = int(np.float32(1).view(np.int32))
    below, reached = np.full(len(codes), -one), np.full(len(codes), one)
    while (reached - below > 1).any():
        middle = (below + reached) // 2
        high = encode_mu_law_plainly(_float_of_rank(middle), quantization_channels) >= codes
        reached, below = np.where(high, middle, reached), np.where(high, below, middle)
    return _float_of_rank(reached)


class _Lookup(NamedTuple):
    """Codes by the leading bits of a float32: sign, exponent and as much mantissa as it takes.

    These bits cut the range of floats into cells whose width grows with amplitude, as mu-law's steps do.
    The cells are narrow enough to hold one border between codes at most. 100 kB at 256 levels, of
    which music touches a tenth; 12 MB at 65536.
    """

    shift: int  # that leaves a sample's leading bits, the number of its cell
    low: Codes  # (cells,), the code below the cell's border, or of all of it
    borders: NDArray[np.float32]  # (cells,), from where on the code is one more; NaN where there is none


@lru_cache(maxsize=TABLES_KEPT)
def _build_lookup(quantization_channels: int) -> _Lookup:
    thresholds = coding_thresholds(quantization_channels)
    bits = thresholds.view(np.uint32)
    shift = next(s for s in range(31, -1, -1) if len(np.unique(bits >> s)) == len(bits))
    num_cells, cells = 1 << (32 - shift), bits >> shift
    ascending = np.arange(num_cells)
    ascending = np.append(ascending[: num_cells // 2 - 1 : -1], ascending[: num_cells // 2])
    thresholds_in = np.bincount(cells, minlength=num_cells)[ascending]
    low = np.empty(num_cells, code_dtype(quantization_channels))
    low[ascending] = np.cumsum(thresholds_in) - thresholds_in
    borders = np.full(num_cells, np.nan, np.float32)
    borders[cells] = thresholds
    return _Lookup(shift, low, borders)


def _float_of_rank(ranks: NDArray[np.integer]) -> NDArray[np.float32]:
    """float32 by its place among all float32, counted from zero: neighbours have ranks one apart."""
    magnitudes = np.abs(ranks).astype(np.uint32).view(np.float32)
    return np.where(ranks < 0, -magnitudes, magnitudes)


def _log1p(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """ln(1 + values) in their own precision, float32 rounded from float64: the same on every machine."""
    if values.dtype != np.float32:
        return np.log1p(values)
    return np.asarray(np.log1p(values, dtype=np.float64) * NEAR_TIES_DOWN, np.float32)


def _refuse_nan() -> None:
    raise ValueError("a waveform with NaN samples has no codes; repair it before quantization")
