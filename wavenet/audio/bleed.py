"""Bleed: how much of a stem is heard in the other stems too, measured without references.

Knows files of one length, rate and number of channels; nothing of Demucs or tracks. What two signals have
in common is found with the magnitude-squared coherence of a stem and the sum of the others, from Welch's
averages over the whole track (Carter, "Coherence and time delay estimation", Proc. IEEE 75, 1987): of a
stem's power at a frequency, coherence is the share that one fixed linear filter can make from the others.
A faint copy can be amplified into the whole of a stem by such a filter, so coherence alone would charge a
stem for the faintest trace of it elsewhere. What counts here is the copy: coherence times the lesser of
both powers, over the stem's own power.

The figure says how much is shared and not whose it is: of two stems of equal level, of which one holds
the other at -20 dB, both show -20 dB. Instruments that play the same notes in step share power without any
bleed. The invariant: memory does not grow with length.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from wavenet.audio.io import read_blocks
from wavenet.audio.resampling import regroup_blocks

WINDOW_LENGTH = 4096
"""Samples of a window: 93 ms at 44.1 kHz. Delays between stems have to be short against it."""
HOP_LENGTH = WINDOW_LENGTH // 2
GROUP_LENGTH = 8 * WINDOW_LENGTH
"""Samples that are averaged before moments are compared, see `_CommonPower`: 0.7 s at 44.1 kHz."""

Spectra = NDArray[np.complex128]


def measure_bleed(stems: Mapping[str, Path]) -> dict[str, float]:
    """The share of each stem's power that it has in common with the sum of the others, 0 to 1.

    stems: audio files of one length and rate. A share of 0.01 is bleed of -20 dB. Stems without any power
    are left out, and so are all stems of a track shorter than two groups. Of independent noise it is below
    0.001 (-30 dB) after 20 s. Raises AudioDecodeError.
    """
    common = {stem: _CommonPower() for stem in stems}
    for group in _read_groups(list(stems.values())):
        spectra = _spectra(group)
        total = spectra.sum(axis=0)
        for power, own in zip(common.values(), spectra, strict=True):
            power.add(own, total - own)
    shares = {stem: power.share() for stem, power in common.items()}
    return {stem: share for stem, share in shares.items() if share is not None}


class _CommonPower:
    """Running spectra of a stem and of the others, and what they have in common.

    An average of n products of independent signals is not zero, and its square is of the order 1/n: coherence
    is biased upwards, the more so where the sound is in few moments. The square of a sum over groups of
    windows holds pairs of different groups and each group with itself; only the latter are not zero on
    average, and they are left out, of the powers as well.
    """

    def __init__(self) -> None:
        self.num_groups = 0
        self.own = self.other = self.cross = np.zeros(1)  # (channels, bins) from the first group on
        self.own_with_itself = self.cross_with_itself = np.zeros(1)

    def add(self, own: Spectra, other: Spectra) -> None:
        """One group. own, other: (windows, channels, bins)."""
        own_power, other_power = _power(own), _power(other)
        cross = (own * other.conj()).sum(axis=0)
        self.num_groups += 1
        self.own = self.own + own_power
        self.other = self.other + other_power
        self.cross = self.cross + cross
        self.own_with_itself = self.own_with_itself + own_power * other_power
        self.cross_with_itself = self.cross_with_itself + np.abs(cross) ** 2

    def share(self) -> float | None:
        """Common power over the stem's own; None where it has none or there are no pairs of groups."""
        if self.num_groups < 2 or not self.own.sum() > 0:
            return None
        pairs = self.own * self.other - self.own_with_itself
        common = np.abs(self.cross) ** 2 - self.cross_with_itself
        coherence = np.divide(common, pairs, out=np.zeros_like(pairs), where=pairs > 0)
        share = (coherence * np.minimum(self.own, self.other)).sum() / self.own.sum()
        return float(np.clip(share, 0.0, 1.0))


def _power(spectra: Spectra) -> NDArray[np.float64]:
    return (spectra.real**2 + spectra.imag**2).sum(axis=0)


def _spectra(group: NDArray[np.float32]) -> Spectra:
    """(stems, time, channels) to (stems, windows, channels, bins): Hann, half overlapping."""
    frames = np.lib.stride_tricks.sliding_window_view(group, WINDOW_LENGTH, axis=1)[:, ::HOP_LENGTH]
    return scipy.fft.rfft(frames * np.hanning(WINDOW_LENGTH + 1)[:-1], axis=-1)


def _read_groups(paths: Sequence[Path]) -> Iterator[NDArray[np.float32]]:
    """Files side by side, (files, GROUP_LENGTH, channels) at a time; what is left at the end is dropped."""
    streams = [regroup_blocks(read_blocks(path), GROUP_LENGTH) for path in paths]
    for blocks in zip(*streams, strict=False):
        if min(map(len, blocks)) == GROUP_LENGTH:
            yield np.stack(blocks)
