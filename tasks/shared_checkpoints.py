"""Checkpoints of a training under way, for whichever machine goes on with it.

Where a workspace is behind an address, a thread uploads the newest checkpoint while the process trains, and
before it begins the newest one of any machine is brought here. Knows nothing of networks. The invariants: a
checkpoint that is there has with it the lines of metrics up to its step; and a store that is out of reach
costs a remark and never a training.
"""

import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tasks.remote import RemoteWorkspace
from tasks.workspace import Workspace
from wavenet.data.remote_folders import RemoteFolders
from wavenet.errors import ConfigError
from wavenet.files import new_folder, publish_folder
from wavenet.session.job import SAMPLES
from wavenet.training import CHECKPOINTS
from wavenet.training.metrics import METRICS

KEPT = 2
"""Checkpoints there, as here: the newest, and one to fall back on."""
LOOK_SECONDS = 2.0


@contextmanager
def shared_checkpoints(workspace: Workspace, scratch: Path) -> Iterator[None]:
    """Go on from the newest checkpoint of all machines, and share those that are made in the block.

    scratch: the folder of the training, as `Workspace.work`. Of a folder's workspace all see it anyway.
    """
    if not isinstance(workspace, RemoteWorkspace):
        yield
        return
    sharer = _Sharer(workspace.remote, scratch, scratch.relative_to(workspace.root).as_posix())
    sharer.bring()
    with sharer.sharing():
        yield


class _Sharer:
    """One training's checkpoints and takes, here and there. place: its name there."""

    def __init__(self, store: RemoteFolders, scratch: Path, place: str) -> None:
        self.store, self.scratch, self.place = store, scratch, place
        self.shared: set[str] = set()
        self.refused = False  # and it was said

    def bring(self) -> None:
        """The newest checkpoint there, if none here is as new, and the takes made on the way to it."""
        try:
            if name := self._bring_checkpoint():
                self._bring_takes(name)
        except ConfigError as error:
            self._remark(f"goes on with what is on this machine: {error}")

    def _bring_checkpoint(self) -> str | None:
        """The newest that is whole there: between list and fetch its machine may have pruned one."""
        here = max(self._steps(CHECKPOINTS), default="")
        for name in reversed(self.store.folders(f"{self.place}/{CHECKPOINTS}")):
            if name <= here:
                break
            try:
                self._bring(name)
                return name
            except FileNotFoundError as error:
                self._remark(f"{name} is not whole there, so the one before it is looked for: {error}")
        return None

    def _bring(self, name: str) -> None:
        with new_folder(self.scratch, "brought") as parent:
            folder = parent / name
            self.store.fetch(f"{self.place}/{CHECKPOINTS}/{name}", folder)
            os.replace(folder / METRICS, self.scratch / METRICS)
            (self.scratch / CHECKPOINTS).mkdir(exist_ok=True)
            publish_folder(folder, self.scratch / CHECKPOINTS / name)

    def _bring_takes(self, newest: str) -> None:
        for name in self.store.folders(f"{self.place}/{SAMPLES}"):
            if name <= newest and not (self.scratch / SAMPLES / name).exists():
                with suppress(FileNotFoundError):  # a take is for listening: without it nothing is lost
                    self.store.fetch(f"{self.place}/{SAMPLES}/{name}", self.scratch / SAMPLES / name)

    @contextmanager
    def sharing(self) -> Iterator[None]:
        """Upload what is new while the block is entered, and once more at its end."""
        left = threading.Event()
        thread = threading.Thread(target=self._share_until, args=(left,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            left.set()
            thread.join()

    def _share_until(self, left: threading.Event) -> None:
        while not left.wait(LOOK_SECONDS):
            self._share()
        self._share()

    def _share(self) -> None:
        """What is new here. Whatever this disk or the store refuses is tried again next time."""
        try:
            for name in self._steps(SAMPLES):
                self._upload(SAMPLES, name)
            if steps := self._steps(CHECKPOINTS):
                self._share_checkpoint(steps[-1])
            self.refused = False
        except (OSError, ConfigError) as error:
            if not self.refused:
                self._remark(f"its checkpoint stays on this machine for now: {error}")
            self.refused = True

    def _share_checkpoint(self, name: str) -> None:
        """With the metrics as they are now: each line is written before the checkpoint that it leads to."""
        if f"{CHECKPOINTS}/{name}" in self.shared:
            return
        with new_folder(self.scratch, "shared") as parent:
            folder = parent / name
            if not self._copy(name, folder):
                return
            shutil.copyfile(self.scratch / METRICS, folder / METRICS)
            self.store.upload(folder, f"{self.place}/{CHECKPOINTS}/{name}")
        self.shared.add(f"{CHECKPOINTS}/{name}")
        for old in self.store.folders(f"{self.place}/{CHECKPOINTS}")[:-KEPT]:
            self.store.delete_folder(f"{self.place}/{CHECKPOINTS}/{old}")

    def _copy(self, name: str, folder: Path) -> bool:
        """Whether all of a checkpoint is copied: it may be removed meanwhile, when there are newer ones."""
        problem = None
        try:
            shutil.copytree(self.scratch / CHECKPOINTS / name, folder, copy_function=_link)
        except OSError as error:
            problem = error
        is_kept = name in self._steps(CHECKPOINTS)[-KEPT:]
        if problem and is_kept:
            raise problem
        return is_kept

    def _remark(self, what: str) -> None:
        print(f"{self.place}: {what}", file=sys.stderr)

    def _upload(self, kind: str, name: str) -> None:
        if f"{kind}/{name}" not in self.shared:
            self.store.upload(self.scratch / kind / name, f"{self.place}/{kind}/{name}")
            self.shared.add(f"{kind}/{name}")

    def _steps(self, kind: str) -> list[str]:
        return sorted(path.name for path in (self.scratch / kind).glob("step-*"))


def _link(source: str, target: str) -> None:
    """A copy that takes no room, where the file system knows them."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
