"""Shard sets behind a URL, such as s3://bucket/shards: written, and read as if they lay on a disk.

The invariant: the manifest is uploaded last, so a set whose upload was cut off is no set.
"""

from pathlib import Path
from typing import Any

from wavenet.data.shards.format import MANIFEST
from wavenet.data.stores import brief
from wavenet.errors import ConfigError
from wavenet.files import sizes_of_files

INSTALL = "pip install 'waveband[remote]'"


def is_url(location: str) -> bool:
    """Whether a location is to be reached through fsspec."""
    return "://" in location


def open_location(location: str) -> Any:
    """A path-like object for a URL or a path. Raises ConfigError where its package is not installed."""
    if not is_url(location):
        return Path(location)
    try:
        from upath import UPath

        path = UPath(location)
        _ = path.fs  # imports what the protocol needs
        return path
    except (ImportError, ValueError) as error:
        raise ConfigError(f"{location}: cannot be reached ({error}); {INSTALL}") from None


def upload_shards(folder: Path, destination: Any) -> None:
    """Copy a finished shard set to a place named by its digest: what is not there, the manifest last.

    Raises ConfigError where the place cannot be reached.
    """
    try:
        _copy_missing(folder, destination)
    except Exception as error:  # each store has its own kinds
        raise ConfigError(
            f"{destination}: shards cannot be written there ({brief(error)}); check storage.shards, the "
            "credentials and, for s3, AWS_ENDPOINT_URL; then run again"
        ) from error


def _copy_missing(folder: Path, destination: Any) -> None:
    if "s3" not in destination.fs.protocol:  # there folders are but names, and a bucket is for people to make
        destination.mkdir(parents=True, exist_ok=True)
    there = sizes_of_files(destination)
    for name, size in sorted(sizes_of_files(folder).items(), key=lambda item: item[0] == MANIFEST):
        if there.get(name) != size:
            destination.fs.put_file(str(folder / name), f"{destination.path}/{name}")
