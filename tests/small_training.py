"""Fixtures: a small shard set, and settings with which it is fast to train on."""

import numpy as np
import pytest

from wavenet.audio.io import write_audio
from wavenet.audio.quantization import Quantizer
from wavenet.config import ModelConfig, StemConfig, TrainingConfig
from wavenet.data.shards.sources import ShardFormat, StemSource
from wavenet.data.shards.writer import write_shards

RATE = 2000


@pytest.fixture(scope="session")
def shard_folder(tmp_path_factory):
    """Two tracks of a decaying tone at two levels, one held out, 64 levels."""
    folder = tmp_path_factory.mktemp("shards")
    time = np.arange(4 * RATE) / RATE
    sources = []
    for number, split in enumerate(["train", "heldout"]):
        waveform = ((0.5 - 0.1 * number) * np.sin(2 * np.pi * 90 * time) * (1 - time % 1)).astype(np.float32)
        path = tmp_path_factory.mktemp("audio") / "a.wav"
        write_audio(path, waveform, RATE)
        sources.append(StemSource(path, len(waveform), f"{number:032x}", f"song {number}", split))
    write_shards(sources, folder, ShardFormat("drums", RATE, Quantizer("mu-law", 64), RATE, 0.1, 20))
    return folder


@pytest.fixture
def config():
    return small_config()


def small_config():
    """Two dozen steps."""
    return StemConfig(
        model=ModelConfig(
            dilation_cycle=4, num_cycles=1, residual_channels=8, gate_channels=8, skip_channels=8
        ),
        training=TrainingConfig(
            steps=24,
            batch_size=2,
            scored_length=100,
            learning_rate=5e-3,
            warmup_steps=2,
            log_every=5,
            heldout_every=8,
            heldout_windows=3,
            checkpoint_seconds=0,
        ),
    )
