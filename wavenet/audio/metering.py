"""Measuring a stream of blocks: peak, clipping, offset, and the envelope.

Knows nothing of files. The invariant: measures are of all samples that were added, however they were
cut into blocks.
"""

import numpy as np
from numpy.typing import NDArray

CLIPPED_FROM = 0.999
"""Magnitude from which on a sample counts as clipped: full scale, less the rounding of a codec."""
ENVELOPE_SECONDS = 0.02
FLOOR_DB = -120.0

_CLIPPED_BITS = np.float32(CLIPPED_FROM).view(np.int32)

Waveform = NDArray[np.float32]


def level_db(power: float) -> float:
    """A mean square as dB of full scale, not below -120 (the floor of a 20-bit converter)."""
    return max(FLOOR_DB, 10 * float(np.log10(power))) if power > 0 else FLOOR_DB


def envelope_hop(sample_rate: int) -> int:
    """Samples in a frame of an envelope."""
    return max(1, round(sample_rate * ENVELOPE_SECONDS))


class Tally:
    """Running peak, clipped share and mean of all values of all channels."""

    def __init__(self) -> None:
        self.num_frames = self.num_values = self.num_clipped = 0
        self.peak = self.total = 0.0

    def add(self, block: Waveform) -> bool:
        """Count a block, (frames, channels), contiguous. Returns whether all of it is finite."""
        from wavenet.audio.loops import scan_values

        values = block.reshape(-1)
        largest, num_clipped, total = scan_values(values, values.view(np.int32), _CLIPPED_BITS)
        peak = float(np.int32(largest).view(np.float32))
        self.num_frames += len(block)
        self.num_values += values.size
        self.num_clipped += num_clipped
        self.total += total
        self.peak = float(np.maximum(self.peak, peak))  # NaN stays
        return bool(np.isfinite(peak))

    @property
    def clipped_share(self) -> float:
        """Share of values at full scale."""
        return self.num_clipped / max(1, self.num_values)

    @property
    def dc_offset(self) -> float:
        """Mean of all values."""
        return self.total / max(1, self.num_values)


class EnvelopeMeter:
    """Running energy of consecutive frames of ENVELOPE_SECONDS, all channels together."""

    def __init__(self, sample_rate: int) -> None:
        self._hop = envelope_hop(sample_rate)
        self._energies: list[NDArray[np.float64]] = []  # of whole frames
        self._open = 0.0  # energy of the frame that is not full yet
        self._num_open = 0  # values in it
        self._frame_length = self._hop

    def add(self, block: Waveform) -> None:
        """Add a block, (frames, channels), contiguous; of as many channels each time."""
        from wavenet.audio.loops import add_squares

        values = block.reshape(-1)
        self._frame_length = self._hop * block.shape[1]
        num_whole, num_open = divmod(self._num_open + values.size, self._frame_length)
        energies = np.zeros(num_whole + 1)
        energies[0] = self._open
        add_squares(values, self._frame_length - self._num_open, self._frame_length, energies)
        self._energies.append(energies[:-1])
        self._open, self._num_open = float(energies[-1]), num_open

    @property
    def energy(self) -> float:
        """Sum of the squares of all values."""
        return float(sum(energies.sum() for energies in self._energies)) + self._open

    def envelope(self) -> NDArray[np.float32]:
        """Mean square of each frame, (frames,); the last may have been shorter."""
        powers = [energies / self._frame_length for energies in self._energies]
        if self._num_open:
            powers.append(np.array([self._open / self._num_open]))
        return np.concatenate([np.zeros(0), *powers]).astype(np.float32)
