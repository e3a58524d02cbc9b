"""Files of remote stores, each brought here once.

Knows nothing of audio or songs. The invariants: a file lies under a digest of its address and the
store's own mark of its version, so that what is here is never fetched again and what changed there is;
it appears whole or not at all; and a name that a server sent is never used as a path.
"""

import os
import re
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from posixpath import splitext
from typing import Any

from wavenet.data import stores
from wavenet.data.songs import SetAside
from wavenet.errors import AudioDecodeError, ConfigError, NoAudioError
from wavenet.files import digest_json, sync_file, sync_folder

FETCH_ATTEMPTS = 3
AT_ONCE = 16
"""Questions for the facts of files that are under way together."""
LONGEST_NAME = 60


@dataclass(frozen=True)
class RemoteFile:
    """A file of a store. key: its name there. size: in bytes; None where the store does not tell."""

    address: str
    key: str
    size: int | None


class Downloads:
    """The folder of fetched files, and what is known of those that may be fetched."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[Path, RemoteFile] = {}
        self._stores: dict[str, Any] = {}
        self._locks: dict[Path, threading.Lock] = {}

    def list_files(self, address: str) -> tuple[dict[str, Path], list[SetAside]]:
        """Where every file below an address will lie, by its name below it; and what is of no use there.

        Asks the store for names and versions and fetches nothing. Raises NoAudioError where the store
        cannot be reached or holds nothing there, ConfigError where a package for it is missing.
        """
        store, key = self._open(address)
        list_below = self._list_pages if stores.is_web(address) else self._list_keys
        try:
            places, reasons = list_below(store, key)
        except (NoAudioError, ConfigError):
            raise
        except Exception as error:  # each store raises kinds of its own
            raise stores.out_of_reach(address, error) from None
        if not places and not reasons:
            hint = "; a web server must show an index page of its files" if stores.is_web(address) else ""
            raise NoAudioError(f"{address}: nothing lies there; check the address{hint}")
        return places, [SetAside(name, reason) for name, reason in reasons.items()]

    def locate(self, address: str) -> Path:
        """Where a remote file will lie. Raises AudioDecodeError, or NoAudioError if out of reach."""
        places, reasons = self.locate_many([address])
        if reasons:
            raise AudioDecodeError(f"{address}: {reasons[address]}")
        return places[address]

    def locate_many(self, addresses: Iterable[str]) -> tuple[dict[str, Path], dict[str, str]]:
        """Where each file will lie, and for those that cannot be had the reason.

        Raises NoAudioError where a store cannot be reached: then none of its files can be.
        """
        wanted = list(dict.fromkeys(addresses))
        for address in wanted:
            self._open(address)
        places, reasons = {}, {}
        pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="remote")
        try:
            for address, answer in zip(wanted, pool.map(self._ask, wanted), strict=True):
                if isinstance(answer, Path):
                    places[address] = answer
                else:
                    reasons[address] = answer
        finally:
            pool.shutdown(cancel_futures=True)
        return places, reasons

    def fetch(self, path: Path) -> None:
        """Bring a remote file to its place, if it is one and is not there yet.

        Raises AudioDecodeError where this file cannot be had (gone, forbidden), NoAudioError where its
        store is out of reach: then nothing else can be had either, and a later run goes on from here.
        """
        file = self._files.get(path)
        if file is None:
            return
        with self._locks.setdefault(path, threading.Lock()):  # many songs may be parts of one file
            if not path.is_file() or file.size not in (None, path.stat().st_size):
                self._fetch(file, path)

    def address(self, path: Path) -> str | None:
        """The address that a path stands for; None where it is no remote file's."""
        file = self._files.get(path)
        return file.address if file else None

    def _open(self, address: str) -> tuple[Any, str]:
        """The store of an address, and its key there. Raises ConfigError."""
        protocol = stores.protocol_of(address)
        if protocol not in self._stores:
            self._stores[protocol] = stores.open_store(protocol)
        store = self._stores[protocol]
        return store, store._strip_protocol(address)

    def _list_keys(self, store: Any, root: str) -> tuple[dict[str, Path], dict[str, str]]:
        places, reasons = {}, {}
        for name, (key, facts) in stores.list_keys(store, root).items():
            if stores.leads_elsewhere(name):
                reasons[name] = "a name with empty, '.' or '..' parts; rename it"
            else:
                places[name] = self._note(store.unstrip_protocol(key), key, facts)
        return places, reasons

    def _list_pages(self, store: Any, root: str) -> tuple[dict[str, Path], dict[str, str]]:
        addresses, reasons = stores.list_pages(store, root.rstrip("/") + "/")
        places, refused = self.locate_many(addresses.values())
        reasons |= {name: refused[address] for name, address in addresses.items() if address in refused}
        return {name: places[address] for name, address in addresses.items() if address in places}, reasons

    def _ask(self, address: str) -> Path | str:
        """Where a file will lie, or why it cannot be had."""
        store, key = self._open(address)
        try:
            return self._note(address, key, store.info(key))
        except Exception as error:
            if stores.is_refusal(error):
                return f"cannot be fetched ({stores.brief(error)}); check the address and who may read it"
            raise stores.out_of_reach(address, error) from None

    def _note(self, address: str, key: str, facts: Mapping[str, Any]) -> Path:
        """Remember a file by where it will lie: a digest of address and version, and a tame name."""
        digest = digest_json([address, stores.read_version(facts)])
        path = self.folder / digest / _tame_name(stores.last_name(address))
        self._files[path] = RemoteFile(address, key, facts.get("size"))
        return path

    def _fetch(self, file: RemoteFile, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".part-", dir=path.parent)
        os.close(handle)
        try:
            self._bring(file, temporary)
            sync_file(Path(temporary))
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)
        sync_folder(path.parent)

    def _bring(self, file: RemoteFile, temporary: str) -> None:
        """Fetch into a temporary file, with some patience for a network that stumbles."""
        store, key = self._open(file.address)
        for attempt in range(1, FETCH_ATTEMPTS + 1):
            try:
                store.get_file(key, temporary)
                break
            except Exception as error:
                if stores.is_refusal(error):
                    raise AudioDecodeError(
                        f"{file.address}: cannot be fetched ({stores.brief(error)})"
                    ) from None
                if attempt == FETCH_ATTEMPTS:
                    raise stores.out_of_reach(file.address, error) from None
                time.sleep(attempt)
        size = os.stat(temporary).st_size
        if file.size not in (None, size):
            raise AudioDecodeError(
                f"{file.address}: {size} bytes came of {file.size}; it changed meanwhile, run again"
            )


def _tame_name(name: str) -> str:
    """A file name for this machine that keeps the suffix and whatever else is harmless."""
    stem, suffix = splitext(re.sub(r"[^\w .()-]", "_", name).lstrip(". "))
    return (stem[: LONGEST_NAME - len(suffix[:12])] or "file") + suffix[:12]
