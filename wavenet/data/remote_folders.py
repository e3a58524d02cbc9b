"""A prefix of a remote store as a place for small files and for folders that are whole or not there.

Knows nothing of what is kept. The invariant: a folder is there once its inventory is, which is uploaded
last and names every file with its size; what was cut off before that is no folder, and is uploaded again; and
none is fetched that is made of two, which digests tell where a name says nothing of the content.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from wavenet.data import stores
from wavenet.errors import ConfigError
from wavenet.files import digest_file, new_folder, publish_folder, sizes_of_files, sync_folder

INVENTORY = ".waveband-files.json"
ATTEMPTS = 5
"""Of each request: a store that is busy says so, and is asked again, each time later."""
Answer = TypeVar("Answer")


class RemoteFolders:
    """Files below an address such as s3://bucket/prefix, by their names below it."""

    def __init__(self, address: str) -> None:
        """Raises ConfigError where the kind of address is unknown, or a package for it is missing."""
        self.address = address.rstrip("/")
        self._store = stores.open_store(stores.protocol_of(address))
        if hasattr(self._store, "retries"):
            self._store.retries = ATTEMPTS
        self._root = self._store._strip_protocol(self.address)

    def read(self, name: str) -> bytes:
        """A small file. Raises FileNotFoundError."""
        return self._ask(lambda: self._store.cat_file(self._key(name)))

    def write(self, name: str, content: bytes) -> None:
        """A small file, whole or not at all, over what was there."""
        self._ask(lambda: self._store.pipe_file(self._key(name), content))

    def create(self, name: str, content: bytes) -> bool | None:
        """A small file if there is none; whether this made it. None: the store cannot promise that."""
        try:
            self._store.pipe_file(self._key(name), content, mode="create")
            return True
        except FileExistsError:
            return False
        except Exception as error:
            if isinstance(error, NotImplementedError) or "NotImplemented" in stores.brief(error):
                return None
            if "ConditionalRequestConflict" in stores.brief(error):  # somebody else makes it just now
                return False
            raise self._out_of_reach(error) from error

    def sizes(self, name: str) -> dict[str, int]:
        """The size of every file below a name, by its name below that."""

        def find() -> Mapping[str, Mapping[str, Any]]:
            self._store.invalidate_cache()  # of listings: others write there, too
            return self._store.find(self._key(name), detail=True)

        try:
            found = self._ask(find)
        except FileNotFoundError:
            return {}
        start = len(self._key(name)) + 1
        return {key[start:]: int(facts["size"]) for key, facts in found.items() if key[start:]}

    def delete(self, names: Iterable[str]) -> None:
        """Files, where they are there."""
        keys = [self._key(name) for name in names]

        def remove() -> None:
            if keys:
                self._store.rm(keys)

        with suppress(FileNotFoundError):
            self._ask(remove)

    def delete_folder(self, name: str) -> None:
        """Everything below a name, inventories first, so that no half of a folder counts as one."""
        files = [f"{name}/{file}" for file in self.sizes(name)]
        self.delete(file for file in files if file.endswith(INVENTORY))
        self.delete(file for file in files if not file.endswith(INVENTORY))

    def holds(self, name: str, files: Mapping[str, int]) -> bool:
        """Whether a folder is there with just these files, by size."""
        there = self.sizes(name)
        return there.pop(INVENTORY, None) is not None and there == dict(files)

    def folders(self, name: str) -> list[str]:
        """Names of the whole folders right below a name, in order."""
        return sorted(file.split("/")[0] for file in self.sizes(name) if file.endswith(f"/{INVENTORY}"))

    def upload(self, folder: Path, name: str, *, by_content: bool = False) -> None:
        """Keep a finished folder under a name. A whole one with the same files stays as it is.

        by_content: the name stands for the content, so files that are there are kept if they have the size:
        an upload that was cut off goes on. Of another folder they may be from another machine's half.
        """
        files, there = sizes_of_files(folder), self.sizes(name)
        digests = {} if by_content else {file: digest_file(folder / file) for file in files}
        whole = there.pop(INVENTORY, None) is not None
        if whole and there == files and (by_content or self._inventory(name)["digests"] in ({}, digests)):
            return
        self.delete([f"{name}/{INVENTORY}"] if whole else [])
        for file in files:
            if not by_content or there.get(file) != files[file]:
                self._put(folder / file, f"{name}/{file}")
        self.delete(f"{name}/{file}" for file in there if file not in files)
        inventory = {"files": files, "digests": digests, "made": time.time()}
        self.write(f"{name}/{INVENTORY}", json.dumps(inventory).encode())

    def _put(self, file: Path, name: str) -> None:
        self._ask(lambda: self._store.put_file(str(file), self._key(name)))

    def fetch(self, name: str, destination: Path) -> None:
        """Bring a folder here, whole or not at all. Raises FileNotFoundError where none is there."""
        inventory = self._inventory(name)
        with new_folder(destination.parent, "fetched") as folder:
            for file in inventory["files"]:
                self._fetch_into(folder, name, file, inventory)
            publish_folder(folder, destination)

    def fetch_file(self, name: str, file: str, destination: Path) -> None:
        """Bring one file of a folder here, as `fetch`."""
        inventory = self._inventory(name)
        if file not in inventory["files"]:
            raise FileNotFoundError(f"{self.address}/{name}/{file}")
        with new_folder(destination.parent, "fetched") as folder:
            self._fetch_into(folder, name, file, inventory)
            os.replace(folder / file, destination)
            sync_folder(destination.parent)

    def _inventory(self, name: str) -> dict[str, Any]:
        """What `upload` has written; digests are empty where none were kept."""
        return {"digests": {}, **json.loads(self.read(f"{name}/{INVENTORY}"))}

    def _fetch_into(self, folder: Path, name: str, file: str, inventory: Mapping[str, Any]) -> None:
        """A file into a folder, with the time of its making: who asks for the newest goes by that."""
        if stores.leads_elsewhere(file):
            raise ConfigError(
                f"{self.address}/{name}/{INVENTORY}: names {file!r}, which is no plain name; the folder was "
                "not made by Waveband: delete it"
            )
        place = folder / file
        place.parent.mkdir(parents=True, exist_ok=True)
        self._ask(lambda: self._store.get_file(self._key(f"{name}/{file}"), str(place)))
        if place.stat().st_size != (size := inventory["files"][file]):
            raise FileNotFoundError(f"{self.address}/{name}/{file}: not of {size} bytes")
        digest = inventory["digests"].get(file)
        if digest is not None and digest_file(place) != digest:
            raise FileNotFoundError(f"{self.address}/{name}/{file}: another upload's, made at the same time")
        os.utime(place, (inventory["made"], inventory["made"]))

    def _key(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _ask(self, question: Callable[[], Answer]) -> Answer:
        """An answer of the store's; "no such file" is one. Raises ConfigError where it gives none."""
        try:
            return question()
        except (FileNotFoundError, ConfigError):
            raise
        except Exception as error:  # each store has its own kinds
            raise self._out_of_reach(error) from error

    def _out_of_reach(self, error: Exception) -> ConfigError:
        return ConfigError(
            f"{self.address}: cannot be read or written ({stores.brief(error)}); check the address, who may "
            "write there and, for s3, the credentials and AWS_ENDPOINT_URL. Nothing is lost: run again"
        )


_opened: dict[str, RemoteFolders] = {}
_opening = threading.Lock()


def open_folders(address: str) -> RemoteFolders:
    """The folders of an address, opened once in a process. Raises as `RemoteFolders`."""
    with _opening:
        if address not in _opened:
            _opened[address] = RemoteFolders(address)
        return _opened[address]
