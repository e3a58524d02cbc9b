"""Where everything of a project lies: one folder, which can be moved or mounted elsewhere.

    store/     what tasks made, each in a folder named by its content; appears whole or not at all
    results/   which inputs led to which record: small JSON files, named by key
    work/      trainings under way: checkpoints and metrics
    locks/     one file a key being computed
    downloads/ files of a remote input
    splits.json    which tracks are held out, once decided
    again/     that stems were to be made again, by which runs
    output/    mixes, stems and pages for people
    models/    what `waveband train` trains by itself
    prefect/, mlflow.db, mlflow-artifacts/    the embedded services

Knows nothing of what is stored. What several machines share is reached through methods alone, which
`tasks/remote.py` has another way for: a workspace behind an address.
"""

import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from tasks.stopping import Waiting
from wavenet.data.scan import WORKSPACE_MARK
from wavenet.data.shards.storage import is_url, open_location
from wavenet.files import (
    is_left_behind,
    new_folder,
    publish_folder,
    read_json,
    sizes_of_files,
    write_json,
    write_text,
)
from wavenet.locks import locked

A_DAY = 86400.0
_locks: dict[Path, threading.Lock] = {}


def _in_this_process(path: Path) -> threading.Lock:
    """The lock of a name among threads, which need not be told that one of them makes what others want."""
    return _locks.setdefault(path, threading.Lock())


class Workspace(BaseModel):
    """Paths below one root. Never part of a content key."""

    model_config = ConfigDict(frozen=True)

    root: Path

    def path(self, relative: str) -> Path:
        """Where what a record names lies: below the root, or behind a URL."""
        return open_location(relative) if is_url(relative) else self.root / relative

    def file(self, folder: str, name: str) -> Path:
        """One file of what a record names, for whoever needs no other of them."""
        return self.path(folder) / name

    def holds(self, folder: str, files: Mapping[str, int]) -> bool:
        """Whether what a record names is there with just these files, by size."""
        return sizes_of_files(self.path(folder)) == files

    def read(self, name: str) -> Any:
        """The value of a JSON file that all runs share. Raises OSError, ValueError."""
        return read_json(self.root / name)

    def write(self, name: str, value: Any) -> None:
        """Write a JSON file that all runs share, whole or not at all."""
        write_json(self.root / name, value)

    def results_of(self, task: str) -> Iterator[Any]:
        """All results of a task that can be read."""
        for path in (self.root / "results").glob(f"{task}-*.json"):
            with suppress(OSError, ValueError):
                yield self.read(f"results/{path.name}")

    def share(self, folder: Path) -> None:
        """Let all who share this workspace have a finished folder in it."""

    @property
    def downloads(self) -> Path:
        return self.root / "downloads"

    @property
    def output(self) -> Path:
        return self.root / "output"

    @property
    def models(self) -> Path:
        return self.root / "models"

    def work(self, name: str) -> Path:
        """The folder of a training under way."""
        return self.root / "work" / name

    def forget_work(self, name: str) -> None:
        """Remove that folder."""
        shutil.rmtree(self.work(name), ignore_errors=True)

    def mark(self) -> None:
        """Mark the folder as a workspace, so that no scan takes it for music."""
        write_text(self.root / WORKSPACE_MARK, "made by Waveband\n")

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the only claim on a name, across threads and processes; waits for it.

        An flock: the system frees it when its holder dies, so kill -9 leaves nothing behind.
        """
        path = self.root / "locks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with _in_this_process(path), locked(path, Waiting(f"another run that makes {name}").look):
            yield

    @contextmanager
    def new_folder(self, kind: str) -> Iterator[Path]:
        """A temporary folder to fill and then `publish`."""
        with new_folder(self.root / "store" / kind, kind) as folder:
            yield folder

    def sweep(self) -> None:
        """Remove folders that killed runs have left half filled. For a day they may be another run's."""
        for folder in (self.root / "store").glob("*/.*"):
            with suppress(FileNotFoundError):  # another run sweeps, or is done with it
                if folder.is_dir() and is_left_behind(folder, A_DAY):
                    shutil.rmtree(folder, ignore_errors=True)

    def name_of(self, digest: str, label: str = "") -> str:
        """The name of a folder by label and content."""
        return "-".join(part for part in (safe_name(label), digest[:16]) if part)

    def publish(self, folder: Path, digest: str, label: str = "") -> str:
        """Give a filled folder its name by label and content. Returns it relative to the root."""
        destination = folder.parent / self.name_of(digest, label)
        publish_folder(folder, destination)
        return destination.relative_to(self.root).as_posix()


def safe_name(label: str) -> str:
    """A label as part of a file name: ASCII letters, digits, `-` and `_` only, 40 at most."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", label).strip("-")[:40]
