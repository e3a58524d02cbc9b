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
from contextlib import contextmanager
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

    def bring(self) -> None:
        """The newest checkpoint there, if none here is as new, and the takes made on the way to it."""
        theirs = self.store.folders(f"{self.place}/{CHECKPOINTS}")
        if not theirs or theirs[-1] <= max(self._steps(CHECKPOINTS), default=""):
            return
        with new_folder(self.scratch, "brought") as parent:
            folder = parent / theirs[-1]
            self.store.fetch(f"{self.place}/{CHECKPOINTS}/{theirs[-1]}", folder)
            os.replace(folder / METRICS, self.scratch / METRICS)
            (self.scratch / CHECKPOINTS).mkdir(exist_ok=True)
            publish_folder(folder, self.scratch / CHECKPOINTS / theirs[-1])
        for name in self.store.folders(f"{self.place}/{SAMPLES}"):
            if name <= theirs[-1] and not (self.scratch / SAMPLES / name).exists():
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
        try:
            for name in self._steps(SAMPLES):
                self._upload(SAMPLES, name)
            if steps := self._steps(CHECKPOINTS):
                self._share_checkpoint(steps[-1])
        except FileNotFoundError:  # an older checkpoint, removed meanwhile: there is a newer one
            pass
        except ConfigError as error:
            print(f"{self.place}: its checkpoint stays on this machine for now: {error}", file=sys.stderr)

    def _share_checkpoint(self, name: str) -> None:
        """With the metrics as they are now: each line is written before the checkpoint that it leads to."""
        if f"{CHECKPOINTS}/{name}" in self.shared:
            return
        with new_folder(self.scratch, "shared") as parent:
            folder = parent / name
            shutil.copytree(self.scratch / CHECKPOINTS / name, folder, copy_function=os.link)
            shutil.copyfile(self.scratch / METRICS, folder / METRICS)
            self.store.upload(folder, f"{self.place}/{CHECKPOINTS}/{name}")
        self.shared.add(f"{CHECKPOINTS}/{name}")
        for old in self.store.folders(f"{self.place}/{CHECKPOINTS}")[:-KEPT]:
            self.store.delete_folder(f"{self.place}/{CHECKPOINTS}/{old}")

    def _upload(self, kind: str, name: str) -> None:
        if f"{kind}/{name}" not in self.shared:
            self.store.upload(self.scratch / kind / name, f"{self.place}/{kind}/{name}")
            self.shared.add(f"{kind}/{name}")

    def _steps(self, kind: str) -> list[str]:
        return sorted(path.name for path in (self.scratch / kind).glob("step-*"))
