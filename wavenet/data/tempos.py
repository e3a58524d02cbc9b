"""The tempo of a track from its working audio. Knows nothing of songs or of how stems came about."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wavenet.audio.decoding import AudioSource, read_blocks
from wavenet.audio.features import extract_features
from wavenet.audio.io import mix_down, sample_rate_of
from wavenet.audio.resampling import sum_blocks
from wavenet.audio.tempo import FRAME_RATE, Tempo, estimate_tempo

LISTENED_SECONDS = 60.0


def measure_tempo(stems: Sequence[Path], start_seconds: float = 0.0) -> Tempo | None:
    """The tempo of what stems of one rate play together in a minute from start_seconds on; None if unclear.

    Together, since a bass or a voice alone often has no clear beat where its band has one. Raises
    AudioDecodeError.
    """
    sample_rate = sample_rate_of(stems[0])
    hop = max(1, round(sample_rate / FRAME_RATE))
    end = start_seconds + LISTENED_SECONDS
    streams = [read_blocks(AudioSource(path, start_seconds, end)) for path in stems]
    mono = (mix_down(block, 1)[:, 0] for block in sum_blocks(streams))
    frames = [chunk["onset"][:, 0] for chunk in extract_features(mono, sample_rate, hop, ["onset"])]
    return estimate_tempo(np.concatenate(frames), sample_rate / hop) if frames else None
