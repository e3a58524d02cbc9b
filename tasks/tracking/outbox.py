"""What is still to be told to an MLflow run, on disk: one file of lines a run, one folder a pipeline run.

    mlflow-outbox/RUN/LABEL.jsonl       entries, in order
                      LABEL.sent.json   how far they were told, and the id of the run there
                      store.json        which MLflow
                      alive             held by the process that runs the pipeline, an flock

Knows nothing of MLflow. The invariant: an entry that was added is there until it is marked as told, whoever
is killed in between; a folder goes when all was told and all its runs have ended.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ValidationError

from tasks.tracking.entries import ENTRY, End, Entry, Metrics
from tasks.workspace import Workspace
from wavenet.data.stores import public_address
from wavenet.files import PRIVATE, PUBLIC, read_json, write_json
from wavenet.locks import try_lock, wait_for_lock

OUTBOX, PARENT = "mlflow-outbox", "parent"
STORE, ALIVE = "store.json", "alive"


class Sent(BaseModel):
    """How far a run was told. tried: a run may have been made whose id never came back."""

    position: int = 0
    run_id: str | None = None
    tried: bool = False
    ended: bool = False


class Outbox:
    """The entries of one run."""

    def __init__(self, folder: Path, label: str) -> None:
        self.folder, self.label = folder, label
        self.path = folder / f"{label}.jsonl"

    @property
    def key(self) -> str:
        """Names the run, wherever it is told."""
        return f"{self.folder.name}/{self.label}"

    @property
    def sent(self) -> Sent:
        """How far it was told; not at all, where that is not known."""
        try:
            return Sent.model_validate(read_json(self._mark))
        except (OSError, ValueError, ValidationError):
            return Sent()

    def mark(self, sent: Sent) -> None:
        """Keep how far it was told."""
        write_json(self._mark, sent.model_dump())

    def add(self, *entries: Entry) -> None:
        """Append entries. Raises FileNotFoundError where the folder is gone: all has ended."""
        lines = b"".join(entry.model_dump_json().encode() + b"\n" for entry in entries)
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        with os.fdopen(handle, "rb+", buffering=0) as stream:
            size = stream.seek(0, os.SEEK_END)
            torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"  # by who was killed in a line
            stream.write(b"\n" + lines if torn else lines)

    def unsent(self) -> Iterator[tuple[Entry, int]]:
        """What was not told yet, each entry with the position behind it; what is no entry is passed over,
        and what is added meanwhile is left out."""
        return self._entries(self.sent.position)

    def _entries(self, position: int) -> Iterator[tuple[Entry, int]]:
        with self.path.open("rb") as stream:
            end = stream.seek(0, os.SEEK_END)
            stream.seek(position)
            for line in stream:
                position += len(line)
                if position > end or not line.endswith(b"\n"):
                    return
                try:
                    yield ENTRY.validate_json(line), position
                except ValidationError:
                    continue

    @property
    def has_end(self) -> bool:
        """Whether the run's end was added."""
        return self.sent.ended or any(isinstance(entry, End) for entry, _ in self.unsent())

    @property
    def has_metrics(self) -> bool:
        """Whether any metrics were added, told or not."""
        return any(isinstance(entry, Metrics) for entry, _ in self._entries(0))

    @property
    def is_empty(self) -> bool:
        """Whether all was told."""
        return self.sent.position >= self.path.stat().st_size

    @contextmanager
    def claimed(self, wait: bool) -> Iterator[bool]:
        """Be the only one who tells it, or know that somebody does already."""
        with claim(self.folder / f"{self.label}.lock", wait) as mine:
            yield mine

    @property
    def _mark(self) -> Path:
        return self.folder / f"{self.label}.sent.json"


@contextmanager
def claim(path: Path, wait: bool) -> Iterator[bool]:
    """Hold a file's lock. Yields whether it is held: not where somebody else does, or the folder is gone."""
    take = partial(wait_for_lock, wait=lambda: None) if wait else try_lock
    try:
        stream = take(path)
    except FileNotFoundError:
        stream = None
    with stream or nullcontext():
        yield stream is not None


@contextmanager
def new_outboxes(workspace: Workspace, run: str, named: str | None) -> Iterator[Path]:
    """The folder of a pipeline run, held while the block is entered. named: the MLflow to be told, as in
    `uri_of`: a workspace may be moved."""
    folder = workspace.root / OUTBOX / run
    folder.mkdir(parents=True)
    with claim(folder / ALIVE, wait=True):
        private = named is not None and public_address(named) != named  # it holds a password
        write_json(folder / STORE, {"uri": named}, PRIVATE if private else PUBLIC)  # now others see it
        yield folder


def outboxes_in(folder: Path) -> list[Outbox]:
    """The runs of a pipeline run, the parent first."""
    labels = sorted(path.stem for path in folder.glob("*.jsonl"))
    return [Outbox(folder, label) for label in sorted(labels, key=lambda label: label != PARENT)]


def folders_of(workspace: Workspace) -> list[Path]:
    """Pipeline runs with something to tell, the oldest first."""
    found = sorted((workspace.root / OUTBOX).glob(f"*/{STORE}"), key=lambda path: path.stat().st_mtime)
    return [path.parent for path in found]


def is_under_way(folder: Path) -> bool:
    """Whether somebody is at the pipeline run whose folder it is, and so has not told all of it yet."""
    with claim(folder / ALIVE, wait=False) as nobody_runs:
        return not nobody_runs


def store_of(folder: Path) -> str | None:
    """The MLflow that a pipeline run is told to, as it was named."""
    named = read_json(folder / STORE)["uri"]
    return None if named is None else str(named)


def end_what_died(folder: Path) -> None:
    """Add the end of runs whose process is gone without a word: killed, when it was last heard of."""
    with claim(folder / ALIVE, wait=False) as nobody_runs:
        if nobody_runs:
            for outbox in outboxes_in(folder):
                if not outbox.has_end:
                    heard = int(outbox.path.stat().st_mtime * 1000)
                    outbox.add(End(status="KILLED", when=heard))


def remove_if_told(folder: Path) -> None:
    """Delete the folder of a pipeline run of which all was told, or which ended before it began."""
    outboxes = outboxes_in(folder)
    if outboxes:
        told = all(outbox.is_empty and outbox.sent.ended for outbox in outboxes)
    else:
        with claim(folder / ALIVE, wait=False) as nobody_runs:
            told = nobody_runs
    if told:
        shutil.rmtree(folder, ignore_errors=True)
