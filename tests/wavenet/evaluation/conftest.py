"""What baselines and scores are tested on."""

import pytest

from tests.small_training import shard_folder
from tests.wavenet.evaluation.played import play, write_set

__all__ = ["shard_folder"]


@pytest.fixture(scope="session")
def music(tmp_path_factory):
    """Shards of three tracks of music and one held out."""
    tracks = [(play(seed, 16.0), "train") for seed in range(3)]
    return write_set(tmp_path_factory.mktemp("music") / "set", [*tracks, (play(7, 12.0), "heldout")])
