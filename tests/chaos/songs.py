"""What chaos is made on: toy songs and a configuration that takes seconds, but is killed in mid-training."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import TINY, write_tone
from tests.tiny_demucs import write_tiny_demucs

OVERRIDES = ["training.steps=60", "training.checkpoint_seconds=0.05", "training.heldout_every=20"]
HUB = "hub"
PITCHES = {"drums": 200.0, "bass": 60.0}
SEPARATED = ["separation.enabled=true", "separation.device=cpu"]


@dataclass(frozen=True)
class Asked:
    """What every run of a campaign is asked for."""

    input: Path
    config: Path
    overrides: Sequence[str]

    def command(self) -> list[object]:
        """Arguments of `waveband`, without the workspace."""
        return ["run", "--input", self.input, "--config", self.config, *self.overrides, "--json"]

    def parameters(self) -> dict[str, Any]:
        """Of the deployment, without the workspace."""
        return {
            "input": str(self.input),
            "config": [str(self.config)],
            "overrides": list(self.overrides),
        }


def write_input(folder: Path, stems: Sequence[str]) -> Asked:
    """Write songs and configuration."""
    config = folder / "tiny.yaml"
    config.write_text(TINY)
    for number in range(3):
        for place, stem in enumerate(stems):
            pitch = PITCHES.get(stem, 90.0 + 40 * place) + 10 * number
            write_tone(folder / "songs" / f"song {number}" / f"{stem}.wav", pitch)
    return Asked(folder / "songs", config, OVERRIDES)


def write_tracks(folder: Path) -> Asked:
    """Write finished tracks, and the separator that they go through: `HF_HUB_CACHE` is to be its folder's."""
    config = folder / "tiny.yaml"
    config.write_text(TINY)
    write_tiny_demucs(folder / HUB)
    for number in range(2):
        write_tone(folder / "album" / f"track {number}.flac", 100.0 + 50 * number, sample_rate=16000)
    return Asked(folder / "album", config, [*OVERRIDES, *SEPARATED])
