"""Shard sets made on the spot."""

from pathlib import Path

import pytest

from wavenet.audio.io import write_audio
from wavenet.audio.quantization import Quantizer
from wavenet.data.shards.format import Manifest
from wavenet.data.shards.sources import ShardFormat, StemSource
from wavenet.data.shards.writer import write_shards

RATE = 2000


@pytest.fixture
def write(tmp_path):
    """Write tracks as a shard set; gives its folder and manifest.

    A track is a waveform and its split, and what else a StemSource is to know. The format is 256 levels in
    segments of 500 samples at 2000 Hz, unless told otherwise.
    """
    count = iter(range(100))

    def write(
        *tracks, audio_rate=None, levels=256, law="mu-law", dither=False, **options
    ) -> tuple[Path, Manifest]:
        place = tmp_path / f"set {next(count)}"
        place.mkdir()
        shared = {"stem": "drums", "sample_rate": RATE, "segment_length": 500, "heldout_share": 0.25}
        fmt = ShardFormat(quantizer=Quantizer(law, levels, dither), **{"hop_length": 20, **shared, **options})
        sources = []
        for number, (waveform, split, *known) in enumerate(tracks):
            path = tmp_path / f"{place.name} {number}.wav"
            write_audio(path, waveform, audio_rate or fmt.sample_rate)
            facts = {"track_id": f"{number:032x}", "track": f"song {number}", **dict(*known)}
            sources.append(StemSource(path=path, num_samples=len(waveform), split=split, **facts))
        return place, write_shards(sources, place, fmt)

    return write
