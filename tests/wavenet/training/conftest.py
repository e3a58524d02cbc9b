"""What trainings are tested on."""

from tests.small_training import config, shard_folder

__all__ = ["config", "shard_folder"]
