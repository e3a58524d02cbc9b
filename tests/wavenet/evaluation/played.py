"""Music to measure and to remember, and shards of it."""

from pathlib import Path

import numpy as np

from wavenet.audio.io import write_audio
from wavenet.audio.quantization import Quantizer
from wavenet.data.shards.sources import ShardFormat, StemSource
from wavenet.data.shards.writer import write_shards

RATE = 8000
QUANTIZER = Quantizer("mu-law", 256)


def play(seed: int, seconds: float) -> np.ndarray:
    """Random plucked chords and bursts of noise, three a second: music enough for a print."""
    rng = np.random.default_rng(seed)
    waveform = np.zeros(round(seconds * RATE))
    for begin in range(0, len(waveform), RATE // 3):
        since = np.arange(min(RATE, len(waveform) - begin)) / RATE
        sound = 0.1 * rng.standard_normal(len(since)) * np.exp(-since * rng.uniform(5, 30))
        for pitch in rng.choice(np.arange(36, 80), 3, replace=False):
            for harmonic in range(1, 6):
                turns = 440 * 2 ** ((pitch - 69) / 12) * harmonic * since
                sound += np.sin(2 * np.pi * turns) * np.exp(-3 * since) / harmonic
        waveform[begin : begin + RATE] += 0.05 * sound * np.linspace(1, 0, len(sound))
    return waveform.astype(np.float32)


def write_set(folder: Path, tracks: list[tuple[np.ndarray, str]], rate: int = RATE) -> Path:
    """Shards of waveforms and their splits, in segments of half a second; nothing is cut as silence."""
    sources = []
    for number, (waveform, split) in enumerate(tracks):
        path = folder.parent / f"{folder.name}-{number}.wav"
        write_audio(path, waveform, rate)
        sources.append(StemSource(path, len(waveform), f"{number:032x}", f"song {number}", split))
    folder.mkdir()
    write_shards(sources, folder, ShardFormat("keys", rate, QUANTIZER, rate // 2, 0.1, rate // 100))
    return folder
