"""The size of shards as it is foretold, beside shards that were written."""

import numpy as np
import pytest

from wavenet.audio.io import write_audio
from wavenet.audio.quantization import Quantizer
from wavenet.data.scores import Note
from wavenet.data.shards.size import estimate_bytes
from wavenet.data.shards.sources import ShardFormat, StemSource
from wavenet.data.shards.writer import write_shards

RATE, HOP, SECONDS = 8000, 80, 40
SEGMENT = 100 * HOP
ALL = ["energy", "onset", "f0", "chroma", "notes", "context"]


@pytest.fixture(scope="module")
def audio(tmp_path_factory):
    """Noise that swells and fades, and another file of it: as little to be compressed as music is."""
    folder = tmp_path_factory.mktemp("audio")
    generator = np.random.default_rng(0)
    swell = 0.1 + 0.1 * np.sin(np.arange(SECONDS * RATE) / RATE)
    for name in ("mine", "other"):
        waveform = (swell * generator.standard_normal(SECONDS * RATE)).astype(np.float32)
        write_audio(folder / f"{name}.wav", waveform.clip(-1, 1), RATE)
    return folder


@pytest.mark.parametrize(("levels", "features"), [(256, []), (1024, []), (256, ALL), (256, ["energy"])])
def test_shards_become_as_large_as_foretold(audio, tmp_path, levels, features):
    notes = [Note(40 + i % 24, i / 4, 0.2, 90, 0, 0) for i in range(4 * SECONDS)]
    source = StemSource(
        audio / "mine.wav", SECONDS * RATE, "0" * 32, "song", "train", notes=notes,
        others=[audio / "other.wav"],
    )  # fmt: skip
    fmt = ShardFormat("drums", RATE, Quantizer("mu-law", levels), SEGMENT, 0.1, HOP, features)
    manifest = write_shards([source], tmp_path, fmt)
    written = sum(file.num_bytes for file in manifest.files)
    foretold = estimate_bytes(SECONDS * RATE, levels, SEGMENT, features, HOP)
    assert foretold == pytest.approx(written, rel=0.03)
