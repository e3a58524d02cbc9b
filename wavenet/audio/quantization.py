"""Waveforms to codes and back, by either law, and how much noise that adds.

Knows nothing of files or networks. The invariants: every code survives `encode(decode(code))`;
silence has a code that decodes to exactly zero; and the same waveform, settings and seed give the
same codes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wavenet.audio.mulaw import (
    Codes,
    as_float,
    code_dtype,
    compand,
    decoding_table,
    encode_mu_law,
    silence_code,
)

Law = Literal["mu-law", "linear"]
Seed = int | Sequence[int]
MIN_LEVELS, MAX_LEVELS = 16, 65536


@dataclass(frozen=True)
class Quantizer:
    """A law, its number of levels, and whether noise is added before rounding.

    mu-law: see `wavenet.audio.mulaw`. linear: equal steps of 2 / levels with silence in the middle of a
    step (mid-tread), as PCM has them: 65536 levels are 16-bit PCM. An even number of levels has one
    more below zero than above, so the highest amplitude is one step short of 1.

    dither: triangular noise between -1 and +1 step, which makes the mean and the power of the error
    independent of the signal, at three times the power of plain rounding (Lipshitz, Wannamaker and
    Vanderkooy 1992, "Quantization and Dither: A Theoretical Survey"). It is added where the law
    rounds: for mu-law to the companded amplitude, so that the noise grows with the signal as the steps
    do. Digital silence no longer stays silent: linear codes move to either neighbour for one sample in
    eight each; mu-law codes take the silence code and the one below in turn where the levels are even,
    since silence is then the border of two steps, which also shifts its mean by half the smallest step
    (-87 dB of full scale at 256 levels). Where rests should be digital, leave dither off.
    """

    law: Law
    quantization_channels: int
    dither: bool = False

    def __post_init__(self) -> None:
        if self.law not in ("mu-law", "linear"):
            raise ValueError(f"law: found {self.law!r}, expected 'mu-law' or 'linear'")
        if not MIN_LEVELS <= self.quantization_channels <= MAX_LEVELS:
            raise ValueError(
                f"quantization_channels: found {self.quantization_channels}, "
                f"expected {MIN_LEVELS} to {MAX_LEVELS}"
            )

    @property
    def dtype(self) -> np.dtype:
        """Of codes: one byte up to 256 levels, two little-endian ones above."""
        return code_dtype(self.quantization_channels)

    @property
    def silence_code(self) -> int:
        """The code of digital silence, without dither."""
        return silence_code(self.quantization_channels)

    @property
    def table(self) -> NDArray[np.float32]:
        """The amplitude of every code, (quantization_channels,) float32, ascending, read-only."""
        if self.law == "mu-law":
            return decoding_table(self.quantization_channels)
        return _linear_table(self.quantization_channels)

    def encode(self, waveform: NDArray[np.floating], seed: Seed | None = None) -> Codes:
        """Quantize a waveform: any shape, float; what lies outside [-1, 1] is clipped.

        seed: of the dither, not used without it; blocks of one waveform need seeds of their own, such as
        (track, start). Returns codes of the same shape and of `dtype`. Raises ValueError on NaN, and
        where there is dither and no seed.
        """
        if self.law == "mu-law" and not self.dither:
            return encode_mu_law(waveform, self.quantization_channels)
        positions = self._locate(waveform)
        if np.isnan(positions).any():
            raise ValueError("a waveform with NaN samples has no codes; repair it before quantization")
        if self.dither:
            positions = positions + _draw_triangular(positions.shape, seed)
        codes = np.floor(positions + positions.dtype.type(0.5))
        return np.asarray(np.clip(codes, 0, self.quantization_channels - 1), self.dtype)

    def decode(self, codes: NDArray[np.integer]) -> NDArray[np.float32]:
        """The waveform that codes stand for. codes: any shape. Returns float32 in [-1, 1]."""
        return self.table[codes]

    def signal_to_noise_db(self, waveform: NDArray[np.floating], seed: Seed = 0) -> float | None:
        """How good these levels can sound on a waveform, in dB. None for silence or a perfect round trip."""
        meter = NoiseMeter(self)
        meter.add(waveform, self.encode(waveform, seed))
        return meter.signal_to_noise_db

    def _locate(self, waveform: NDArray[np.floating]) -> NDArray[np.floating]:
        """Where amplitudes lie among the codes, before rounding; those of linear may lie outside."""
        if self.law == "mu-law":
            return compand(waveform, self.quantization_channels)
        # infinity would be NaN in the sum of some dithers; nothing beyond full scale matters
        steps = np.clip(as_float(waveform), -1, 1) * (self.quantization_channels / 2)
        return steps + self.silence_code


class NoiseMeter:
    """Signal to quantization noise over any number of blocks."""

    def __init__(self, quantizer: Quantizer) -> None:
        self._table = quantizer.table
        self.energy = self.noise = 0.0

    def add(self, waveform: NDArray[np.floating], codes: NDArray[np.integer]) -> None:
        """Take in a block and its codes, of one shape. Raises ValueError on codes that are not its own."""
        from wavenet.audio.quantization_loops import sum_noise

        waveform, codes = as_float(waveform), np.asarray(codes)
        if waveform.shape != codes.shape:
            raise ValueError(f"codes of shape {codes.shape} are not those of a waveform of {waveform.shape}")
        if codes.size and not 0 <= codes.min() <= codes.max() < len(self._table):
            raise ValueError(f"codes up to {codes.max()} are not of {len(self._table)} levels")
        energy, noise = sum_noise(waveform.reshape(-1), codes.reshape(-1), self._table)
        self.energy += energy
        self.noise += noise

    @property
    def signal_to_noise_db(self) -> float | None:
        """Of all blocks so far, in dB. None for silence or a perfect round trip."""
        if not self.energy or not self.noise:
            return None
        return 10 * float(np.log10(self.energy / self.noise))


@lru_cache(maxsize=8)
def _linear_table(quantization_channels: int) -> NDArray[np.float32]:
    steps = np.arange(quantization_channels) - silence_code(quantization_channels)
    table = (steps * (2 / quantization_channels)).astype(np.float32)
    table.flags.writeable = False
    return table


def _draw_triangular(shape: tuple[int, ...], seed: Seed | None) -> NDArray[np.float32]:
    """Noise of triangular density between -1 and 1: the difference of two uniform draws."""
    if seed is None:
        raise ValueError("dither needs a seed, or the same waveform would have other codes each time")
    first, second = np.random.default_rng(seed).random((2, *shape), dtype=np.float32)
    return first - second
