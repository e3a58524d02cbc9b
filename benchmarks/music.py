"""Music to measure with: a folder of somebody's own, or the demo album, rendered to stereo ogg.

The demo is rendered once and then repeated: to a decoder a chorus is as long as a verse.
"""

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from benchmarks.harness import Setting
from wavenet.audio.decoding import AUDIO_SUFFIXES
from wavenet.data.demo_album import STEMS, write_demo_album

SAMPLE_RATE = 44100
WRITTEN_FRAMES = 1 << 14
"""At once: libsndfile's Vorbis encoder keeps what it is given on the stack, and breaks down on minutes."""


def gather_music(setting: Setting) -> list[Path]:
    """The files to measure with, four at least. Raises FileNotFoundError on a folder without audio."""
    if setting.audio is None:
        files = render_music(setting.folder, *((2, 8, 16) if setting.quick else (4, 60, 4)))
        return (files * 2)[:4]
    files = sorted(path for path in setting.audio.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    if not files:
        raise FileNotFoundError(f"{setting.audio}: found no audio in it; name a folder of music")
    files = files[:2] if setting.quick else files
    return (files * 4)[: max(4, len(files))]


def render_music(folder: Path, num_songs: int, seconds: float, repeats: int) -> list[Path]:
    """Songs of the demo album as stereo ogg, each of seconds * repeats."""
    album = write_demo_album(folder / "album", num_songs=num_songs, seconds=seconds, sample_rate=SAMPLE_RATE)
    paths = []
    for song in sorted(path for path in album.iterdir() if path.is_dir()):
        paths.append(folder / f"{song.name}.ogg")
        write_in_blocks(paths[-1], _pan_stems(song), repeats)
    return paths


def write_in_blocks(
    path: Path, waveform: NDArray[np.float32], repeats: int = 1, sample_rate: int = SAMPLE_RATE
) -> None:
    """Write (frames, channels) so many times in a row, in the format that the suffix names."""
    with soundfile.SoundFile(path, "w", sample_rate, waveform.shape[1]) as out:
        for _ in range(repeats):
            for start in range(0, len(waveform), WRITTEN_FRAMES):
                out.write(waveform[start : start + WRITTEN_FRAMES])


def _pan_stems(song: Path) -> NDArray[np.float32]:
    """A song's stems side by side, (frames, 2): what is in the middle alone compresses too well."""
    left = right = np.float32(0)
    for stem, position in zip(STEMS, (0.5, 0.4, 0.75), strict=True):
        waveform, _ = soundfile.read(song / f"{stem}.wav", dtype="float32")
        left, right = left + waveform * (1 - position), right + waveform * position
    return np.stack([left, right], axis=1)
