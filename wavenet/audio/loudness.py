"""Loudness of a waveform, ITU-R BS.1770. Knows nothing of files."""

import numpy as np
import torch
import torchaudio.functional
from numpy.typing import NDArray

GATE_SECONDS = 0.4
"""One gating block of BS.1770; anything shorter has no loudness."""


def measure_loudness(waveform: NDArray[np.floating], sample_rate: int) -> float | None:
    """Integrated loudness in LUFS (BS.1770-4, gated), or None for silence or less than 0.4 s.

    waveform: (time,) or (time, channels), full scale = 1.
    """
    samples = torch.from_numpy(np.atleast_2d(np.asarray(waveform, np.float32).T))
    if samples.shape[1] < GATE_SECONDS * sample_rate:
        return None
    loudness = float(torchaudio.functional.loudness(samples, sample_rate))
    return loudness if np.isfinite(loudness) else None
