"""What lies in an input, as one list of names: of a folder, a pattern, a file or a remote prefix.

Knows nothing of audio, songs or layouts. The invariant: everything found is a name or set aside with a
reason; a hidden or linked folder is set aside whole. Names are looked up and never joined to paths, so
nothing that metadata says of files leads outside; manifests, which may, are the user's own word.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from posixpath import basename, dirname, splitext

from wavenet.data.downloads import Downloads
from wavenet.data.folders import (
    IN_WORKSPACE,
    WORKSPACE_MARK,
    is_pattern,
    is_text,
    list_folder,
    list_pattern,
    plain_path,
    relative_name,
    why_not,
)
from wavenet.data.songs import SetAside
from wavenet.data.stores import (
    ADDRESSES,
    is_address,
    is_known,
    is_web,
    last_name,
    leads_elsewhere,
    quote_name,
)
from wavenet.errors import MetadataError, NoAudioError

MANIFEST_SUFFIXES = frozenset({".csv", ".jsonl"})
EXPECTED = (
    "expected a folder of audio files, an audio file, a pattern such as 'music/**/*.flac', a manifest (.csv, "
    ".jsonl) or an address (s3://, https://)"
)
LARGEST_TEXT = 1 << 30
"""Bytes of metadata that are read at most; the examples.json of NSynth is the longest, at a third."""


@dataclass(frozen=True)
class Listing:
    """The files of an input by name, in sorted order, and where they lie or will lie once fetched.

    title: a short name of the input. root: the folder or address that names are relative to.
    set_aside: what was found and is no file to look at. manifest: the name of the one file given, where
    that is a manifest.
    """

    title: str
    root: str
    places: dict[str, Path]
    downloads: Downloads
    set_aside: list[SetAside] = field(default_factory=list)
    manifest: str | None = None

    @cached_property
    def names(self) -> list[str]:
        """Posix paths relative to the root."""
        return sorted(self.places)

    def path(self, name: str) -> Path:
        """Where a file lies, or will lie once it is fetched."""
        return self.places[name]

    def fetch(self, path: Path) -> None:
        """Bring a remote file to its path; nothing to do for others. Raises as Downloads.fetch."""
        self.downloads.fetch(path)

    def address(self, path: Path) -> str:
        """How a manifest would name a file: its address if it is remote, else its path."""
        return self.downloads.address(path) or str(path)

    def read_text(self, name: str, limit: int = LARGEST_TEXT) -> str:
        """A file's text, fetched if need be; bytes that are no UTF-8 become lone surrogates.

        Raises MetadataError where it cannot be read or is longer than limit, in bytes.
        """
        path = self.path(name)
        self.fetch(path)
        try:
            size = path.stat().st_size
            if size > limit:
                raise MetadataError(
                    f"{name}: {size} bytes are too long for metadata; expected {limit} at most"
                )
            return path.read_bytes().decode("utf-8", "surrogateescape").removeprefix("\ufeff")
        except OSError as error:
            raise MetadataError(f"{name}: cannot be read ({error.strerror}); check its permissions") from None

    def absolute(self, reference: str) -> str:
        """The address or path that a manifest means by a reference. Raises MetadataError."""
        if is_address(reference):
            if not is_known(reference):
                raise MetadataError(f"{reference}: no kind of address that is known; expected {ADDRESSES}")
            return reference
        if not is_address(self.root):
            return os.path.normpath(os.path.join(self.root, reference))
        if leads_elsewhere(reference):
            raise MetadataError(f"{reference}: a remote manifest names what lies below it, or addresses")
        return f"{self.root}/{quote_name(self.root, reference)}"


def open_listing(input: str | Path, downloads: Path) -> Listing:
    """The listing of an input.

    input: a folder; a pattern with *, ?, [] and ** for any depth; an audio file; a manifest (.csv, .jsonl);
    or an address such as s3://bucket/music or https://host/music/. downloads: the folder where remote
    files are kept. Raises NoAudioError where there is no such thing, ConfigError where a package for an
    address is missing.
    """
    text = _restore_address(str(input))
    if not text.strip():
        raise NoAudioError(f"the input is an empty name; {EXPECTED}")
    if not is_text(text):
        raise NoAudioError(f"{text!r}: its name is not valid UTF-8; rename it")
    store = Downloads(Path(downloads).absolute())
    if is_address(text):
        return _list_remote(text, store)
    path = plain_path(os.path.expanduser(text))
    if os.path.isdir(path):
        return _list_folder(path, store)
    if os.path.isfile(path):
        return _list_file(path, store)
    if is_pattern(text):
        return _list_pattern(path, store)
    raise NoAudioError(f"{text}: no such folder or file; {EXPECTED}")


def _restore_address(text: str) -> str:
    """Undo what Path does to an address: it makes one slash of two."""
    return text if os.path.exists(text) else re.sub(r"^([a-z][a-z0-9+.-]+):/(?=[^/])", r"\1://", text)


def _list_folder(root: Path, downloads: Downloads) -> Listing:
    places, set_aside = list_folder(root)
    return Listing(root.resolve().name, str(root), places, downloads, set_aside)


def _list_file(path: Path, downloads: Downloads) -> Listing:
    reason = why_not(path)
    return Listing(
        path.stem,
        str(path.parent),
        {} if reason else {path.name: path},
        downloads,
        [SetAside(relative_name(path.parent, path), reason)] if reason else [],
        manifest=path.name if path.suffix.lower() in MANIFEST_SUFFIXES else None,
    )


def _list_pattern(pattern: Path, downloads: Downloads) -> Listing:
    """Files that match, below the last folder that is written out."""
    root, places, set_aside = list_pattern(pattern)
    if not places:
        raise NoAudioError(
            f"{pattern}: matches no file; * and ? match within one folder's names, ** any depth of folders, "
            "as in 'music/**/*.flac'"
        )
    return Listing(root.name, str(root), places, downloads, set_aside)


def _list_remote(address: str, downloads: Downloads) -> Listing:
    found: dict[str, Path]
    set_aside: list[SetAside] = []
    if is_web(address) and splitext(last_name(address))[1]:  # else it might be a folder
        found = {last_name(address): downloads.locate(address)}
    else:
        address = address.rstrip("/")
        found, set_aside = downloads.list_files(address)
    name = last_name(address)
    places, unused = _sort_names(found)
    if list(found) != [name]:
        title = name or address.partition("://")[2]
        return Listing(title, address, places, downloads, set_aside + unused)
    title, suffix = splitext(name)
    manifest = name if suffix.lower() in MANIFEST_SUFFIXES else None
    return Listing(title, dirname(address), places, downloads, set_aside + unused, manifest)


def _sort_names(found: dict[str, Path]) -> tuple[dict[str, Path], list[SetAside]]:
    """What a folder's walk would set aside, of names from elsewhere."""
    workspaces = {dirname(name) for name in found if basename(name) == WORKSPACE_MARK} - {""}
    places, set_aside = {}, []
    for name in sorted(found):
        if not workspaces.isdisjoint(_folders_of(name)):
            set_aside.append(SetAside(name, IN_WORKSPACE))
        elif any(part.startswith(".") for part in name.split("/")):
            set_aside.append(SetAside(name, "a hidden file"))
        else:
            places[name] = found[name]
    return places, set_aside


def _folders_of(name: str) -> Iterator[str]:
    while name := dirname(name):
        yield name
