"""What chaos is made on: toy songs and a configuration that takes seconds, but is killed in mid-training."""

from pathlib import Path

from tests.conftest import TINY, write_tone

OVERRIDES = ["training.steps=60", "training.checkpoint_seconds=0.05", "training.heldout_every=20"]
PITCHES = {"drums": 200.0, "bass": 60.0}


def write_input(folder: Path, stems: list[str]) -> list[object]:
    """Write songs and configuration. Returns the arguments of `waveband run` that name them."""
    config = folder / "tiny.yaml"
    config.write_text(TINY)
    for number in range(3):
        for place, stem in enumerate(stems):
            pitch = PITCHES.get(stem, 90.0 + 40 * place) + 10 * number
            write_tone(folder / "songs" / f"song {number}" / f"{stem}.wav", pitch)
    return ["--input", folder / "songs", "--config", config]
