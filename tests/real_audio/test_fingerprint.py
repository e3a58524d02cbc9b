"""Fingerprints on recorded and rendered music: every copy is found, no song is taken for another."""

import io
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from wavenet.audio.fingerprint import LEAST_FRAMES, find_closest, find_near_duplicates, fingerprint_blocks

pytestmark = pytest.mark.real_audio

RATE = 16000
MOST_SECONDS = 60.0
SAME_BREAK = {"loop_amen.flac", "loop_amen_full.flac"}  # the one is a bar of the other


@pytest.fixture(scope="module")
def recordings(real_audio) -> dict[str, np.ndarray]:
    """A minute of each loop, stem and finished track, mono at RATE."""
    files = sorted(path for part in ("loops", "stems", "album") for path in (real_audio / part).rglob("*.*"))
    audio = [path for path in files if path.suffix in {".flac", ".wav", ".ogg"}]
    return {f"{path.parent.name}/{path.name}": read_mono(path) for path in audio}


@pytest.fixture(scope="module")
def prints(recordings) -> dict[str, np.ndarray]:
    return {name: fingerprint_blocks([waveform], RATE) for name, waveform in recordings.items()}


def read_mono(path: Path) -> np.ndarray:
    with soundfile.SoundFile(path) as stream:
        waveform = stream.read(round(MOST_SECONDS * stream.samplerate), dtype="float32", always_2d=True)
        return soxr.resample(waveform.mean(axis=1), stream.samplerate, RATE)


def compress(waveform: np.ndarray, container: str, level: float) -> np.ndarray:
    stream = io.BytesIO()
    with soundfile.SoundFile(stream, "w", RATE, 1, format=container, compression_level=level) as out:
        for start in range(0, len(waveform), 4096):
            out.write(waveform[start : start + 4096])
    stream.seek(0)
    return soundfile.read(stream, dtype="float32")[0]


@pytest.mark.parametrize(
    ("container", "level", "shift"),
    [("MP3", 0.3, 0.05), ("MP3", 0.95, 0.0157), ("OGG", 0.1, 0.0), ("OGG", 0.95, 0.33)],
)
def test_every_compressed_shifted_and_quieter_copy_is_found(container, level, shift, recordings, prints):
    judged = [name for name in prints if len(prints[name]) - 32 * shift >= LEAST_FRAMES + 4]
    copies = {
        f"{name} copy": fingerprint_blocks(
            [compress(0.4 * recordings[name][round(shift * RATE) :], container, level)], RATE
        )
        for name in judged
    }
    pairs = {(pair.first, pair.second) for pair in find_near_duplicates({**prints, **copies})}
    assert [name for name in judged if (name, f"{name} copy") not in pairs] == []
    assert len(judged) > 25


def test_different_music_is_never_flagged(prints):
    flagged = [
        (pair.first, pair.second)
        for pair in find_near_duplicates(prints)
        if song_of(pair.first) != song_of(pair.second)
    ]
    assert flagged == []


def test_different_music_is_nowhere_near_the_threshold(prints):
    """Each recording's passage that is most like a clip of another, over all of its offsets."""
    nearest = 0.0
    clips = {name: print_[100:260] for name, print_ in prints.items() if (print_[100:260] != 0).sum() > 100}
    assert len(clips) > 15
    for name, other in combinations(clips, 2):
        if song_of(name) != song_of(other):
            nearest = max(nearest, find_closest(clips[name], {other: prints[other]}).agreement)
    assert 0.5 < nearest < 0.6


def song_of(name: str) -> str:
    """Stems of one song are alike where one of them plays alone; so are the two cuts of one break."""
    folder, file = name.split("/")
    if file in SAME_BREAK:
        return "amen"
    return folder if folder not in {"loops", "album"} else name
