"""Loudness of a waveform, ITU-R BS.1770. Knows nothing of files.

Not torchaudio's: its filters clamp to full scale, and a loud mix reads as much as 0.3 dB too quiet.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.signal import sosfilt

GATE_SECONDS = 0.4
"""One gating block of BS.1770; anything shorter has no loudness."""
STEP_SECONDS = 0.1
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


def measure_loudness(waveform: NDArray[np.floating], sample_rate: int) -> float | None:
    """Integrated loudness in LUFS (BS.1770-4, gated), or None for silence or less than 0.4 s.

    waveform: (time,) or (time, one or two channels), full scale = 1.
    """
    samples = np.atleast_2d(np.asarray(waveform, np.float64).T).T
    length, step = round(GATE_SECONDS * sample_rate), round(STEP_SECONDS * sample_rate)
    if len(samples) < length:
        return None
    weighted = sosfilt(k_weighting(sample_rate), samples, axis=0)
    energy = np.concatenate([[0.0], np.cumsum(np.square(weighted).sum(axis=1))])
    starts = np.arange(0, len(samples) - length + 1, step)
    powers = (energy[starts + length] - energy[starts]) / length
    heard = powers[powers > _power(SILENCE_LUFS)]
    if not heard.size:
        return None
    gate = _power(_loudness(heard.mean()) + RELATIVE_GATE_DB)
    return _loudness(heard[heard > gate].mean())


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
