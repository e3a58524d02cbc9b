"""What baselines are tested on."""

from tests.small_training import shard_folder

__all__ = ["shard_folder"]
