"""A few seconds of any audio file, in one channel at any rate: to begin a take with.

Knows nothing of takes. The invariant: memory is bounded by what is asked for, however long the file is.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wavenet.audio.decoding import AudioSource, open_audio
from wavenet.audio.resampling import mix_down, resample_blocks


def read_excerpt(
    path: Path, sample_rate: int, num_samples: int, start: float | None = None
) -> NDArray[np.float32]:
    """The num_samples from a second of a file on; its last ones if start is None; fewer where it is shorter.

    Channels are averaged. Returns (time,) float32. Raises AudioDecodeError.
    """
    with open_audio(AudioSource(path, start or 0.0)) as reader:
        mono = (mix_down(block, 1) for block in reader.blocks())
        found = np.zeros((0, 1), np.float32)
        for block in resample_blocks(mono, reader.sample_rate, sample_rate, 1):
            found = np.concatenate([found, block])
            if start is None:
                found = found[-num_samples:]
            elif len(found) >= num_samples:
                break
    return found[:num_samples, 0]
