"""What is heard in a track: the loudness of its stems and of their sum, and fingerprints.

Reads working audio, writes fingerprints beside each other into a folder. Knows nothing of segments.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wavenet.audio.fingerprint import fingerprint_blocks
from wavenet.audio.io import mix_down, read_blocks
from wavenet.audio.loudness import LoudnessMeter
from wavenet.audio.resampling import sum_blocks


@dataclass(frozen=True)
class Examination:
    """Loudness in LUFS (BS.1770; None for silence), peak of full scale; `prints` are files of uint32."""

    loudness_lufs: dict[str, float | None]
    sum_loudness_lufs: float | None
    sum_peak: float
    prints: dict[str, str]


def examine_track(stems: Mapping[str, Path], sample_rate: int, folder: Path) -> Examination:
    """Measure a track's stems, given as working audio. Streams."""
    loudness, prints = {}, {}
    for number, (stem, path) in enumerate(sorted(stems.items())):
        prints[stem] = f"{number}.npy"
        loudness[stem] = _measure_stem(path, sample_rate, folder / prints[stem])
    total, peak = LoudnessMeter(sample_rate), 0.0
    for block in sum_blocks([read_blocks(path) for path in stems.values()]):
        total.add(block)
        peak = max(peak, float(np.abs(block).max(initial=0.0)))
    return Examination(loudness, total.loudness(), peak, prints)


def load_print(path: Path) -> NDArray[np.uint32]:
    """A fingerprint as it was saved."""
    return np.load(path, allow_pickle=False)


def _measure_stem(path: Path, sample_rate: int, print_path: Path) -> float | None:
    meter = LoudnessMeter(sample_rate)

    def metered() -> Iterator[NDArray[np.float32]]:
        for block in read_blocks(path):
            meter.add(block)
            yield mix_down(block, 1)[:, 0]

    np.save(print_path, fingerprint_blocks(metered(), sample_rate), allow_pickle=False)
    return meter.loudness()
