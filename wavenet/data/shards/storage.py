"""Shard sets outside the workspace, in a folder or behind a URL such as s3://bucket/shards: written, and
read as if they lay on a disk.

The invariant: a set whose writing was cut off is no set, for its manifest is uploaded last, or its folder is
given its name at the end.
"""

import os
import re
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from wavenet.data import stores
from wavenet.data.folders import plain_path
from wavenet.data.shards.format import MANIFEST
from wavenet.data.stores import brief
from wavenet.errors import ConfigError
from wavenet.files import new_folder, publish_folder, sizes_of_files

PROBE = ".waveband-may-write"


def is_url(location: str) -> bool:
    """Whether a location is to be reached through fsspec."""
    return "://" in location


def open_location(location: str) -> Any:
    """A path-like object for a URL or a path. Raises ConfigError where its kind or package is not there."""
    if not is_url(location):
        return Path(location)
    if not stores.is_known(location):
        raise stores.unknown_address(location)
    try:
        from upath import UPath

        path = UPath(location)
        _ = path.fs  # imports what the protocol needs
        return path
    except ImportError as error:
        raise stores.missing_package(location, error) from None
    except Exception as error:  # such as an account that is not named: each store has its own kinds
        raise ConfigError(
            f"{location}: cannot be opened ({brief(error)}); check the address and its credentials"
        ) from None


def plain_target(text: str) -> str:
    """Where shard sets are to lie: an address, or the absolute path of a folder. Raises ConfigError."""
    if not text.strip():
        raise ConfigError("storage.shards: is empty; name a folder or an address, or leave it out")
    if is_url(text):
        if not stores.is_known(text):
            raise stores.unknown_address(f"storage.shards={text}")
        if stores.is_web(text):
            raise ConfigError(
                f"storage.shards={text}: a web server cannot be written to; name a folder or s3://"
            )
        return text.rstrip("/")
    if slip := re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/", text):
        raise ConfigError(f"storage.shards={text}: expected a folder, or {slip[1]}:// with two slashes")
    return str(plain_path(os.path.expanduser(text)))


def check_target(text: str) -> None:
    """Write a little where shard sets are to lie, before hours are spent on them. Raises ConfigError."""
    target = plain_target(text)
    open_location(target)
    try:
        (_touch_store if is_url(target) else _touch_folder)(target)
    except ConfigError:
        raise
    except Exception as error:  # each store has its own kinds
        raise _cannot_write(f"storage.shards={text}", error) from error


def _touch_folder(target: str) -> None:
    Path(target).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=target):
        pass


def _touch_store(target: str) -> None:
    store = stores.open_store(stores.protocol_of(target))  # one that does not wait for minutes
    key = store._strip_protocol(f"{target}/{PROBE}")
    store.pipe_file(key, b"")
    with suppress(Exception):  # who may write need not be one who may delete
        store.rm_file(key)


def _cannot_write(place: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"{place}: shards cannot be written there ({brief(error)}); check storage.shards, who may write "
        "there and, for s3, the credentials and AWS_ENDPOINT_URL; then run again"
    )


def upload_shards(folder: Path, destination: Any) -> None:
    """Copy a finished shard set to a place named by its digest.

    Behind a URL: what is not there, the manifest last. In a folder: under another name, then renamed.
    Raises ConfigError where it cannot be written.
    """
    try:
        if is_url(str(destination)):
            _copy_missing(folder, destination)
        else:
            _copy_folder(folder, destination)
    except Exception as error:  # each store has its own kinds
        raise _cannot_write(str(destination), error) from error


def _copy_folder(folder: Path, destination: Path) -> None:
    with new_folder(destination.parent, "shards") as copy:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        publish_folder(copy, destination)


def _copy_missing(folder: Path, destination: Any) -> None:
    if "s3" not in destination.fs.protocol:  # there folders are but names, and a bucket is for people to make
        destination.mkdir(parents=True, exist_ok=True)
    there = sizes_of_files(destination)
    for name, size in sorted(sizes_of_files(folder).items(), key=lambda item: item[0] == MANIFEST):
        if there.get(name) != size:
            destination.fs.put_file(str(folder / name), f"{destination.path}/{name}")
