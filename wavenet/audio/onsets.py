"""Where notes and hits begin in a waveform.

Knows nothing of stems or files. The invariant: levels are absolute, so that nothing is an onset in a
recording only because the rest of it is quieter still.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wavenet.audio.features import extract_features

FRAME_SECONDS = 0.01
LEAST_RISE_DB = 1.0
MEDIANS = 1.5
MEDIAN_SECONDS = 0.2
"""An onset rises so many dB more than so many medians of what lies around it: noise flickers all the time.
Found on rendered stems with their scores (16 kHz, within 50 ms): F-measures of drums 0.95 to 1.00; bass 0.6
to 0.99, where fluted bends count as onsets; other instruments 0.5 to 0.98, where strings begin softly."""
LEAST_DISTANCE_SECONDS = 0.05
"""A drum roll of 20 hits a second is still told apart; a hit and its rebound are one."""


@dataclass(frozen=True)
class Onsets:
    """strength: (frames,) float32, mean rise of mel bands in dB; seconds: (onsets,), when each begins."""

    strength: NDArray[np.float32]
    seconds: NDArray[np.float64]
    frame_seconds: float


def find_onsets(waveform: NDArray[np.floating], sample_rate: int) -> Onsets:
    """Peaks of spectral flux, placed to the frame of about 10 ms. waveform: (time,), full scale = 1.

    Peaks of the onset feature above a threshold that follows its median: Bello et al., "A Tutorial on Onset
    Detection in Music Signals" (2005), IV.
    """
    from scipy.ndimage import median_filter
    from scipy.signal import find_peaks

    hop_length = max(1, round(FRAME_SECONDS * sample_rate))
    blocks = [waveform.astype(np.float32)] if len(waveform) else []
    chunks = [chunk["onset"][:, 0] for chunk in extract_features(blocks, sample_rate, hop_length, ["onset"])]
    strength = np.concatenate([np.zeros(0, np.float32), *chunks])
    frame_seconds = hop_length / sample_rate
    around = median_filter(strength, size=2 * round(MEDIAN_SECONDS / frame_seconds / 2) + 1)
    excess = np.pad(strength - MEDIANS * around, 1, constant_values=-np.inf)  # the first may be a peak too
    distance = max(1, round(LEAST_DISTANCE_SECONDS / frame_seconds))
    peaks, _ = find_peaks(excess, height=LEAST_RISE_DB, distance=distance)
    return Onsets(strength, (peaks - 1) * frame_seconds, frame_seconds)
