"""Loudness of a waveform, ITU-R BS.1770. Knows nothing of files.

Not torchaudio's: its filters clamp to full scale, and a loud mix reads as much as 0.3 dB too quiet.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.signal import sosfilt

STEP_SECONDS = 0.1
STEPS_A_GATE = 4
"""One gating block of BS.1770, 0.4 s; anything shorter has no loudness."""
SILENCE_LUFS, RELATIVE_GATE_DB = -70.0, -10.0
OFFSET_DB = -0.691  # so that a 997 Hz sine at full scale reads -3.01 LUFS

HEAD_HZ, HEAD_Q, HEAD_DB, HEAD_SLOPE = (
    1681.974450955533,
    0.7071752369554196,
    3.999843853973347,
    0.4996667741545416,
)
LOW_HZ, LOW_Q, LOW_GAIN = 38.13547087602444, 0.5003270373238773, 1.0049949
"""The filters behind the standard's tables for 48 kHz, where its high-pass lets so much through."""

SURROUND = 1.41
"""How much more a loudspeaker at the side counts than one in front; low-frequency effects count nothing."""
WEIGHTS = {
    4: (1, 1, SURROUND, SURROUND),
    5: (1, 1, 1, SURROUND, SURROUND),
    6: (1, 1, 1, 0, SURROUND, SURROUND),
    7: (1, 1, 1, 0, 1, SURROUND, SURROUND),
    8: (1, 1, 1, 0, 1, 1, SURROUND, SURROUND),
}
"""By number of channels, as WAV and FFmpeg order them: front left, right, centre, LFE, back, side."""
VORBIS_WEIGHTS = {
    6: (1, 1, 1, SURROUND, SURROUND, 0),
    7: (1, 1, 1, SURROUND, SURROUND, 1, 0),
    8: (1, 1, 1, SURROUND, SURROUND, 1, 1, 0),
}
"""Where Ogg orders them otherwise (Vorbis I specification, 4.3.9): the LFE last, side before back."""


class LoudnessMeter:
    """Integrated loudness of a stream of blocks (BS.1770-4, gated), in bounded memory.

    weights: of each channel, see `channel_weights`; all count alike if not given.
    """

    def __init__(self, sample_rate: int, weights: Sequence[float] | None = None) -> None:
        self.weights = None if weights is None else np.array(weights, np.float64)
        self.step = round(STEP_SECONDS * sample_rate)
        self.filters = k_weighting(sample_rate)
        self.state: NDArray[np.float64] | None = None
        self.rest = np.zeros(0)
        self.steps: list[NDArray[np.float64]] = []

    def add(self, block: NDArray[np.floating]) -> None:
        """The next samples, (time,) or (time, channels), full scale = 1."""
        if not len(block):
            return
        samples = np.atleast_2d(np.asarray(block, np.float64).T).T
        if self.state is None:
            self.state = np.zeros((len(self.filters), 2, samples.shape[1]))
        weighted, self.state = sosfilt(self.filters, samples, axis=0, zi=self.state)
        squares = np.square(weighted)
        power = squares.sum(axis=1) if self.weights is None else squares @ self.weights
        power = np.concatenate([self.rest, power])
        whole = len(power) // self.step * self.step
        self.steps.append(power[:whole].reshape(-1, self.step).sum(axis=1))
        self.rest = power[whole:]

    def loudness(self) -> float | None:
        """LUFS of all that was added, or None for silence or less than 0.4 s."""
        steps = np.concatenate([np.zeros(0), *self.steps])
        if len(steps) < STEPS_A_GATE:
            return None
        powers = np.convolve(steps, np.ones(STEPS_A_GATE), "valid") / (STEPS_A_GATE * self.step)
        heard = powers[powers > _power(SILENCE_LUFS)]
        if not heard.size:
            return None
        gate = _power(_loudness(heard.mean()) + RELATIVE_GATE_DB)
        return _loudness(heard[heard > gate].mean())


def channel_weights(num_channels: int, vorbis_order: bool = False) -> Sequence[float]:
    """The weight of each channel of a recording (BS.1770-4, annexes 1 and 3), by their usual order.

    vorbis_order: as Ogg Vorbis and Opus have it. Of unusual numbers of channels all count alike.
    """
    usual = WEIGHTS.get(num_channels, (1,) * num_channels)
    return VORBIS_WEIGHTS.get(num_channels, usual) if vorbis_order else usual


def measure_loudness(waveform: NDArray[np.floating], sample_rate: int) -> float | None:
    """Integrated loudness in LUFS (BS.1770-4, gated), or None for silence or less than 0.4 s.

    waveform: (time,) or (time, one or two channels), full scale = 1.
    """
    meter = LoudnessMeter(sample_rate)
    meter.add(waveform)
    return meter.loudness()


def k_weighting(sample_rate: int) -> NDArray[np.float64]:
    """The two filters of BS.1770 at any rate, as second-order sections: a head's shelf, a high-pass.

    Below twice the shelf's frequency there is nothing for it to lift, and it is left out.
    """
    k = math.tan(math.pi * LOW_HZ / sample_rate)
    a0 = 1 + k / LOW_Q + k * k
    gain = LOW_GAIN / a0
    high_pass = [gain, -2 * gain, gain, 1, 2 * (k * k - 1) / a0, (1 - k / LOW_Q + k * k) / a0]
    if sample_rate <= 2 * HEAD_HZ:
        return np.array([high_pass])
    k = math.tan(math.pi * HEAD_HZ / sample_rate)
    a0 = 1 + k / HEAD_Q + k * k
    high = 10 ** (HEAD_DB / 20)
    band = high**HEAD_SLOPE
    lifted = [high + band * k / HEAD_Q + k * k, 2 * (k * k - high), high - band * k / HEAD_Q + k * k]
    shelf = [*(b / a0 for b in lifted), 1, 2 * (k * k - 1) / a0, (1 - k / HEAD_Q + k * k) / a0]
    return np.array([shelf, high_pass])


def _loudness(power: float) -> float:
    return OFFSET_DB + 10 * math.log10(power)


def _power(lufs: float) -> float:
    return float(10 ** ((lufs - OFFSET_DB) / 10))
