"""The mix: a gain-exact sum of stems, clipped by a stated policy as a whole.

Knows nothing of files. The invariant: with gains of 0 dB and mode `none`, the mix equals the sum
of its stems sample for sample; no stem is ever rescaled by itself.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from wavenet.errors import IncompatibleDataError

Waveform = NDArray[np.float32]
FULL_SCALE = 0.999


def mix_stems(
    stems: Mapping[str, Waveform], gains_db: Mapping[str, float], clip_mode: str = "rescale"
) -> Waveform:
    """Sum stems of one length. stems: each (time,) float32. Returns (time,) float32.

    gains_db: a stem's gain, 0 where not given. clip_mode: see `prevent_clipping`.
    Raises IncompatibleDataError where lengths differ or a gain names no stem.
    """
    lengths = {name: len(stem) for name, stem in stems.items()}
    if len(set(lengths.values())) != 1:
        raise IncompatibleDataError(f"stems of one length can be summed; found {lengths} samples")
    if unknown := sorted(set(gains_db) - set(stems)):
        raise IncompatibleDataError(
            f"mix.gains_db names {', '.join(unknown)}, but the stems are {', '.join(stems)}"
        )
    total = np.zeros(next(iter(lengths.values())), np.float64)
    for name, stem in stems.items():
        total += 10 ** (gains_db.get(name, 0.0) / 20) * stem.astype(np.float64)
    return prevent_clipping(total.astype(np.float32), clip_mode)


def prevent_clipping(waveform: Waveform, clip_mode: str) -> Waveform:
    """Bring a whole mix into full scale, by Demucs' modes.

    rescale: one gain for all of it, only where the peak exceeds full scale; clamp: cut the peaks;
    tanh: bend everything; none: leave it.
    """
    if clip_mode == "rescale":
        peak = float(np.abs(waveform).max(initial=0.0))
        return waveform * np.float32(FULL_SCALE / peak) if peak > FULL_SCALE else waveform
    if clip_mode == "clamp":
        return np.clip(waveform, -FULL_SCALE, FULL_SCALE)
    if clip_mode == "tanh":
        return np.tanh(waveform)
    return waveform
