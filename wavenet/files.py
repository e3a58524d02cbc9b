"""Files that appear whole or not at all, and digests of what is in them.

Knows nothing of audio or models. The invariant: a name that a reader may open never refers to
something half-written. Writers fill a temporary neighbour, flush it to disk, and rename it.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from blake3 import blake3

READ_BYTES = 1 << 20
PUBLIC, PRIVATE = 0o644, 0o600
"""Who may read a file, as `chmod` takes it: everybody, or its owner alone."""
DIGEST_LENGTH = 32
"""Hexadecimal characters kept of a BLAKE3: 128 bits, and short enough for MLflow's digest field."""


def new_hasher() -> blake3:
    """A BLAKE3 to feed piece by piece; `hexdigest()[:DIGEST_LENGTH]` is the digest used everywhere."""
    return blake3()


def digest_bytes(*parts: bytes) -> str:
    """Hex digest of the concatenated parts."""
    hasher = new_hasher()
    for part in parts:
        hasher.update(part)
    return hasher.hexdigest()[:DIGEST_LENGTH]


def digest_json(value: Any) -> str:
    """Hex digest of a JSON-able value, the same for every key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return digest_bytes(text.encode())


def digest_file(path: Path) -> str:
    """Hex digest of a file's bytes."""
    hasher = new_hasher()
    with path.open("rb", buffering=0) as stream:  # no memory map: a file cut short meanwhile would kill us
        while piece := stream.read(READ_BYTES):
            hasher.update(piece)
    return hasher.hexdigest()[:DIGEST_LENGTH]


def digest_folder(folder: Path, names: list[str]) -> str:
    """Hex digest of the named files of a folder: their names and bytes, in sorted order."""
    return digest_json({name: digest_file(folder / name) for name in names})


def read_json(path: Path) -> Any:
    """The value in a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, value: Any, mode: int = PUBLIC) -> None:
    """Write a value as indented JSON, whole or not at all. mode: PUBLIC or PRIVATE."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n", mode=mode)


def write_text(path: Path, text: str, flush: bool = True, mode: int = PUBLIC) -> None:
    """Write a text file, whole or not at all.

    flush: onto the disk at once; not needed in a folder that `publish_folder` flushes as a whole.
    mode: PUBLIC or PRIVATE.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:32]}-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            if flush:
                os.fsync(stream.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    if flush:
        sync_folder(path.parent)


@contextmanager
def new_folder(parent: Path, label: str) -> Iterator[Path]:
    """A temporary folder under `parent` to fill and then `publish_folder`; removed if it was not."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{label[:32]}-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_left_behind(folder: Path, seconds: float) -> bool:
    """Whether nothing in a temporary folder has changed for so long: whoever filled it was killed."""
    since = time.time() - seconds
    return all(path.lstat().st_mtime < since for path in [folder, *folder.rglob("*")])


def publish_folder(folder: Path, destination: Path) -> None:
    """Give a finished folder its name. Where that name is taken, the older folder stays if it is whole.

    Names of published folders hold a digest of their content, so the older one is as good, unless
    somebody has been at its files: then it makes way.
    """
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_folder(path)
        else:
            sync_file(path)
    sync_folder(folder)
    folder.chmod(0o755)
    if destination.exists() and sizes_of_files(destination) != sizes_of_files(folder):
        damaged = destination.with_name(f".damaged-{destination.name}")
        shutil.rmtree(damaged, ignore_errors=True)
        os.rename(destination, damaged)
        shutil.rmtree(damaged, ignore_errors=True)
    if not destination.exists():
        try:
            os.rename(folder, destination)
        except OSError:
            if not destination.exists():  # lost a race to a writer of the same content: fine
                raise
    sync_folder(destination.parent)


def sizes_of_files(folder: Path) -> dict[str, int]:
    """The size in bytes of every file below a folder, by relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def sync_file(path: Path) -> None:
    """Flush a file's bytes to disk."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Flush a folder's names to disk, where the system can (POSIX)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
