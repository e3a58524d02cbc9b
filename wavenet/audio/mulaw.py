"""Mu-law companding between waveforms and codes.

Knows nothing of files or networks. The invariants: `encode_mu_law(decode_mu_law(code)) == code`
for every code of every number of levels, and digital silence has a code of its own that decodes
to exactly zero.
"""

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.unsignedinteger]


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
    if np.isnan(waveform).any():
        raise ValueError("a waveform with NaN samples has no codes")
    mu = quantization_channels - 1
    magnitude = np.log1p(mu * np.minimum(np.abs(waveform), 1)) / np.log1p(mu)
    codes = np.floor((np.copysign(magnitude, waveform) + 1) / 2 * mu + 0.5)
    codes = np.where(waveform == 0, silence_code(quantization_channels), codes)  # -0.0 is silence too
    return codes.astype(code_dtype(quantization_channels))


def decode_mu_law(codes: NDArray[np.integer], quantization_channels: int = 256) -> NDArray[np.float32]:
    """The waveform that codes stand for. codes: any shape. Returns float32 in [-1, 1]."""
    return decoding_table(quantization_channels)[codes]


def decoding_table(quantization_channels: int) -> NDArray[np.float32]:
    """The amplitude of every code, (quantization_channels,) float32, ascending."""
    mu = quantization_channels - 1
    companded = 2 * np.arange(quantization_channels) / mu - 1
    table = np.sign(companded) * np.expm1(np.abs(companded) * np.log1p(mu)) / mu
    table[silence_code(quantization_channels)] = 0.0  # a half step off in the formula: a DC offset
    return table.astype(np.float32)


def signal_to_quantization_noise(waveform: NDArray[np.floating], quantization_channels: int) -> float:
    """How good a codec of so many levels can sound on this waveform, in dB; inf for silence."""
    decoded = decode_mu_law(encode_mu_law(waveform, quantization_channels), quantization_channels)
    noise = float(np.mean((waveform - decoded) ** 2, dtype=np.float64))
    power = float(np.mean(np.square(waveform), dtype=np.float64))
    return 10 * float(np.log10(power / noise)) if noise > 0 else float("inf")
