"""A workspace behind an address such as s3://bucket/prefix, of which each machine has a cache.

Work is done in the cache, a workspace like any other; what is finished is uploaded before its result is
written there, and what somebody else has finished is fetched when it is first asked for. Knows nothing of
what is stored. The invariants: the address is the truth, so that every machine sees one set of results; and
what a machine that died has left half uploaded is never read.
"""

import json
import os
import platform
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tasks.lease import lease
from tasks.workspace import Workspace, safe_name
from wavenet.data import stores
from wavenet.data.remote_folders import RemoteFolders, open_folders
from wavenet.data.scan import WORKSPACE_MARK
from wavenet.errors import ConfigError
from wavenet.files import digest_bytes, write_text

CACHE = "WAVEBAND_CACHE"
"""Names the folder of the caches; ~/.cache/waveband if it is not set."""
MACHINE = "machine"
BOOT = Path("/proc/sys/kernel/random/boot_id")
"""Another one after each start of a machine; on Linux."""


class RemoteWorkspace(Workspace):
    """`root` is this machine's cache, and is found anew where a workspace arrives from another machine."""

    address: str

    def __reduce__(self) -> Any:
        return workspace_at, (self.address,)

    @property
    def remote(self) -> RemoteFolders:
        """What all machines share."""
        return open_folders(self.address)

    def path(self, relative: str) -> Path:
        """Where what a record names lies; fetched, if it is not here yet."""
        place = super().path(relative)
        if isinstance(place, Path) and not place.exists() and _is_plain(relative):
            with super().lock(f"fetch-{safe_name(Path(relative).name)}"), suppress(FileNotFoundError):
                if not place.exists():
                    self.remote.fetch(relative, place)
        return place

    def file(self, folder: str, name: str) -> Path:
        """One file of what a record names: the folder's, or fetched by itself."""
        place = super().path(folder)
        if not isinstance(place, Path) or place.exists() or not _is_plain(f"{folder}/{name}"):
            return place / name
        alone = self.root / "parts" / folder / name
        if not alone.exists():
            self.remote.fetch_file(folder, name, alone)
        return alone

    def holds(self, folder: str, files: Mapping[str, int]) -> bool:
        """Whether what a record names is here or there with just these files, by size."""
        place = super().path(folder)
        if not isinstance(place, Path) or not _is_plain(folder):
            return super().holds(folder, files)
        if place.exists():
            if super().holds(folder, files):
                return True
            with suppress(FileNotFoundError):  # ours is damaged: theirs takes its place
                self.remote.fetch(folder, place)
            return super().holds(folder, files)
        return self.remote.holds(folder, files)

    def read(self, name: str) -> Any:
        """The value of a JSON file there."""
        return json.loads(self.remote.read(name))

    def write(self, name: str, value: Any) -> None:
        """Write a JSON file, here and there; there it counts."""
        super().write(name, value)
        self.remote.write(name, (self.root / name).read_bytes())

    def results_of(self, task: str) -> Iterator[Any]:
        """All results of a task that can be read."""
        for name in self.remote.sizes("results"):
            if name.startswith(f"{task}-"):
                with suppress(OSError, ValueError):
                    yield self.read(f"results/{name}")

    def publish(self, folder: Path, digest: str, label: str = "") -> str:
        """As of any workspace, and uploaded."""
        name = super().publish(folder, digest, label)
        self.remote.upload(self.root / name, name, by_content=True)
        return name

    def share(self, folder: Path) -> None:
        """Upload a finished folder in it."""
        self.remote.upload(folder, folder.relative_to(self.root).as_posix())

    def forget_work(self, name: str) -> None:
        """Remove a training under way, here and there."""
        super().forget_work(name)
        self.remote.delete_folder(f"work/{name}")

    def mark(self) -> None:
        """Mark both as workspaces, which tries whether there can be written."""
        super().mark()
        self.remote.write(WORKSPACE_MARK, (self.root / WORKSPACE_MARK).read_bytes())

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the only claim on a name, across threads, processes and machines; waits for it."""
        with super().lock(name), lease(self.remote, f"locks/{name}", self._machine()):
            yield

    def _machine(self) -> str:
        """Who this is among all that share the address: the cache, and the machine since it was started.

        A cache may be several machines': images hold copies of it, and a home may lie on NFS. So may a host's
        name be; and a boot is that of all containers there.
        """
        path = self.root / MACHINE
        with super().lock(MACHINE):
            if not path.exists():
                write_text(path, uuid.uuid4().hex)
            boot = BOOT.read_text().strip() if BOOT.exists() else ""
            return f"{path.read_text()} {platform.node()} {boot}".strip()


def workspace_at(place: str | Path) -> Workspace:
    """The workspace of a folder or of an address. Raises ConfigError where it can be neither."""
    text = str(place)
    if slip := re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/(?!/)", text):
        raise ConfigError(f"--workspace {text}: expected a folder, or {slip[1]}:// with two slashes")
    if not stores.is_address(text):
        return Workspace(root=Path(place).resolve())
    if not stores.is_known(text):
        raise stores.unknown_address(f"--workspace {text}")
    if stores.is_web(text):
        raise ConfigError(f"--workspace {text}: a web server cannot be written to; name a folder or s3://")
    return RemoteWorkspace(root=cache_of(text), address=text.rstrip("/"))


def cache_of(address: str) -> Path:
    """The folder in which this machine works for an address; an absolute path."""
    address = address.rstrip("/")
    base = Path(os.environ.get(CACHE) or "~/.cache/waveband").expanduser()
    return base.resolve() / f"{safe_name(address)}-{digest_bytes(address.encode())[:8]}"


def _is_plain(relative: str) -> bool:
    """Whether a name leads downwards from the root."""
    return not stores.leads_elsewhere(relative)
