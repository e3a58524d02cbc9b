"""What is heard in a track: the loudness of its files, its stems and their sum, and fingerprints.

Reads files and working audio, writes fingerprints beside each other into a folder. Knows nothing of segments.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wavenet.audio.decoding import AudioSource, open_audio
from wavenet.audio.fingerprint import fingerprint_blocks
from wavenet.audio.io import mix_down, read_blocks
from wavenet.audio.loudness import LoudnessMeter, channel_weights
from wavenet.audio.resampling import sum_blocks
from wavenet.audio.silence import FLOOR_POWER, MOST_DITHER, STEP, is_only_dither, lies_on_steps


@dataclass(frozen=True)
class FileExamination:
    """What a file sounds like by itself: its own channels at its own rate, before downmix and resampling.

    loudness_lufs: integrated (BS.1770-4), None for silence. floor_power: the mean square up to which nothing
    of it is sound, but what its quantization added.
    """

    loudness_lufs: float | None
    floor_power: float


@dataclass(frozen=True)
class Examination:
    """Loudness in LUFS (BS.1770; None for silence), peak of full scale; `prints` are files of uint32.

    loudness_lufs, sum_loudness_lufs and sum_peak are of working audio, files of each stem's files, in their
    order: None where one could not be read again.
    """

    loudness_lufs: dict[str, float | None]
    sum_loudness_lufs: float | None
    sum_peak: float
    prints: dict[str, str]
    files: dict[str, list[FileExamination | None]] = field(default_factory=dict)

    def floor_power(self, stem: str) -> float:
        """The mean square up to which nothing of a stem is sound: the noise of its files, added up."""
        return sum(file.floor_power for file in self.files.get(stem, []) if file) or FLOOR_POWER


def examine_file(source: AudioSource) -> FileExamination:
    """Measure a file, or the part of it that is used. Streams. Raises AudioDecodeError."""
    with open_audio(source) as reader:
        vorbis_order = reader.facts.codec.startswith("OGG/")
        meter = LoudnessMeter(reader.sample_rate, channel_weights(reader.num_channels, vorbis_order))
        on_steps = True
        for block in reader.blocks():
            meter.add(block)
            on_steps = on_steps and lies_on_steps(block)
        peak = reader.facts.peak
    return FileExamination(meter.loudness(), _floor_power(source, peak) if on_steps else FLOOR_POWER)


def _floor_power(source: AudioSource, peak: float) -> float:
    """The floor of a file in steps of 16 bits: of one that holds nothing but dither, all of it."""
    if peak <= MOST_DITHER:
        with open_audio(source) as reader:
            if is_only_dither(reader.blocks(), reader.sample_rate, reader.num_channels):
                return max(peak, STEP) ** 2
    return STEP**2


def examine_track(
    stems: Mapping[str, Path],
    sample_rate: int,
    folder: Path,
    files: Mapping[str, Sequence[FileExamination | None]] = {},
) -> Examination:
    """Measure a track's stems, given as working audio. files: what is known of the files of each. Streams."""
    loudness, prints = {}, {}
    for number, (stem, path) in enumerate(sorted(stems.items())):
        prints[stem] = f"{number}.npy"
        loudness[stem] = _measure_stem(path, sample_rate, folder / prints[stem])
    total, peak = LoudnessMeter(sample_rate), 0.0
    for block in sum_blocks([read_blocks(path) for path in stems.values()]):
        total.add(block)
        peak = max(peak, float(np.abs(block).max(initial=0.0)))
    known = {stem: list(mine) for stem, mine in files.items()}
    return Examination(loudness, total.loudness(), peak, prints, known)


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
