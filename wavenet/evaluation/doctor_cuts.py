"""What would be left out of a stem, to be heard and to be seen: a clip of it, and an outline of the whole.

Knows nothing of why it is left out. The invariant: a clip holds nothing of what is kept, at the level it
has in the file.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from wavenet.audio.io import envelope_hop
from wavenet.audio.silence import complement

CUT_SECONDS = 10.0
OUTLINE_POINTS = 400

Envelope = NDArray[np.float32]
Regions = Sequence[tuple[float, float]]


def find_loudest(envelope: Envelope, frame_seconds: float, seconds: float) -> float:
    """Where the loudest stretch of so many seconds begins, seconds; of equally loud ones the first.

    envelope: (frames,) mean squares.
    """
    width = min(len(envelope), round(seconds / frame_seconds))
    if width == 0:
        return 0.0
    sums = np.cumsum(np.concatenate([[0.0], envelope.astype(np.float64)]))
    return int(np.argmax(sums[width:] - sums[:-width])) * frame_seconds


def outline(envelope: Envelope) -> list[float]:
    """The loudness of a file over time, at most OUTLINE_POINTS values from 0 to 1."""
    edges = np.linspace(0, len(envelope), min(len(envelope), OUTLINE_POINTS), endpoint=False).astype(int)
    levels = np.sqrt(np.maximum.reduceat(envelope, edges)) if len(envelope) else np.zeros(0)
    return np.minimum(levels * math.sqrt(2), 1).tolist()


def write_cut(audio: Path, envelope: Envelope, kept: Regions, clip: Path) -> None:
    """Write the loudest CUT_SECONDS of what is left out, its pieces joined, as 16-bit FLAC.

    audio: working audio. envelope: its mean squares, (frames,). kept: sorted, disjoint (start, end)
    seconds. The loudest, since whoever fears for a quiet note listens for it there.
    """
    with soundfile.SoundFile(audio) as stream:
        rate = stream.samplerate
        cuts = complement(list(kept), stream.frames / rate)
        parts = []
        for start, end in _choose_loudest(cuts, envelope, envelope_hop(rate) / rate):
            stream.seek(round(start * rate))
            parts.append(stream.read(round(end * rate) - round(start * rate), always_2d=True))
    clip.parent.mkdir(exist_ok=True)
    soundfile.write(clip, np.clip(np.concatenate(parts), -1, 1), rate, format="FLAC", subtype="PCM_16")


def _choose_loudest(cuts: Regions, envelope: Envelope, frame_seconds: float) -> list[tuple[float, float]]:
    """Those parts of the cuts that, joined, are their loudest CUT_SECONDS."""
    edges = [(round(start / frame_seconds), round(end / frame_seconds)) for start, end in cuts]
    joined = np.concatenate([envelope[first:last] for first, last in edges])
    begin = find_loudest(joined, frame_seconds, CUT_SECONDS)
    chosen, passed = [], 0.0  # seconds of cuts before this one
    for start, end in cuts:
        first = start + max(0.0, begin - passed)
        last = min(end, start + begin + CUT_SECONDS - passed)
        if first < last:
            chosen.append((first, last))
        passed += end - start
    return chosen
