"""Finding songs in a folder. Looks at names only and opens no file.

The invariant: every file below the folder is either part of a song or set aside with a reason; a
hidden or linked folder is set aside whole.
"""

import os
import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from wavenet.audio.io import AUDIO_SUFFIXES
from wavenet.errors import NoAudioError
from wavenet.files import digest_bytes

MIXTURE = "mixture"
KNOWN_STEMS = frozenset(
    {"drums", "bass", "other", "vocals", "guitar", "piano", "keys", "strings", "synth", MIXTURE}
)
WORKSPACE_MARK = ".waveband-workspace"
"""A file that says of its folder: made by Waveband, not music to train on."""

NOT_AUDIO = "not an audio file by its name"
"""How the reason begins for a cover, a score or a text: expected beside music, and no loss."""

STEMS_TO_BE_SURE = 2
"""A folder with so many files named like stems is a song of stems."""
LONGEST_STEM_NAME = 32

Layout = Literal["album", "stems"]


@dataclass(frozen=True)
class SetAside:
    """A file that is not used, and why, for the report."""

    path: str  # relative to the input folder
    reason: str


@dataclass(frozen=True)
class Song:
    """Files that belong together, by stem name. `mixture` is kept apart: it is no stem."""

    name: str
    stems: dict[str, Path]
    mixture: Path | None = None


@dataclass(frozen=True)
class Scan:
    """What a folder holds."""

    layout: Layout
    songs: list[Song]
    set_aside: list[SetAside] = field(default_factory=list)


def scan_folder(root: Path, layout: str = "auto", track_stem: str = "mix") -> Scan:
    """Songs below a folder, in sorted order.

    layout `album`: each audio file is a song with one stem, `track_stem`. layout `stems`: each
    folder is a song, each audio file in it a stem named by the file. `auto` is `stems` where any
    folder has two files or more named like stems. Raises NoAudioError where there is no song.
    """
    if not root.is_dir():
        raise NoAudioError(f"{root}: no such folder; --input expects a folder of audio files")
    if not _is_text(str(root)):
        raise NoAudioError(f"{str(root)!r}: its name is not valid UTF-8; rename it")
    audio, set_aside = _sort_files(root)
    if layout == "auto":
        layout = guess_layout(audio)
        if layout == "stems":
            audio, others = _split_off_unnamed(root, audio)
            set_aside += others
    if layout == "album":
        scan = Scan("album", _tracks(root, audio, track_stem), set_aside)
    else:
        scan = _scan_stems(root, audio, set_aside)
    if not scan.songs:
        unused = [f"{one.path}: {one.reason}" for one in scan.set_aside]
        found = f"{len(unused)} of no use, such as {unused[0]}" if unused else "nothing at all"
        raise NoAudioError(
            f"{root}: no audio in it to work on (found {found}); expected "
            f"{', '.join(sorted(AUDIO_SUFFIXES))} files, nested as you like"
        )
    return scan


def guess_layout(audio: list[Path]) -> Layout:
    """`stems` where any folder has files of at least two known stem names, else `album`."""
    known = defaultdict(set)
    for path in audio:
        if path.stem.casefold() in KNOWN_STEMS:
            known[path.parent].add(path.stem.casefold())
    return "stems" if any(len(names) >= STEMS_TO_BE_SURE for names in known.values()) else "album"


def _split_off_unnamed(root: Path, audio: list[Path]) -> tuple[list[Path], list[SetAside]]:
    """Where stems were guessed: folders in which no file is named like one are albums, not songs."""
    songs = {root, *(path.parent for path in audio if path.stem.casefold() in KNOWN_STEMS)}
    reason = "no file in its folder is named like a stem; if it is one, say ingest.layout=stems"
    others = [SetAside(relative_name(root, path), reason) for path in audio if path.parent not in songs]
    return [path for path in audio if path.parent in songs], others


def stem_name(file_name: str) -> str:
    """A stem's name from its file's: lower case, words joined by `-`; empty if no letter is left.

    Long names end in a digest, so that two that begin alike stay two.
    """
    composed = unicodedata.normalize("NFC", file_name.casefold())  # macOS takes accents apart
    name = re.sub(r"[^\w]+", "-", composed).strip("-_")
    if len(name) > LONGEST_STEM_NAME:
        name = f"{name[: LONGEST_STEM_NAME - 7]}-{digest_bytes(name.encode())[:6]}"
    return name


def _sort_files(root: Path) -> tuple[list[Path], list[SetAside]]:
    audio, set_aside = [], []

    def note_unreadable(error: OSError) -> None:
        folder = relative_name(root, Path(error.filename))
        set_aside.append(SetAside(folder, "a folder that cannot be read; check its permissions"))

    for folder, subfolders, names in os.walk(root, onerror=note_unreadable):
        for name in sorted(subfolders):
            if reason := _why_not_enter(Path(folder, name)):
                set_aside.append(SetAside(relative_name(root, Path(folder, name)), reason))
                subfolders.remove(name)
        subfolders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            reason = _why_not(path)
            if reason:
                set_aside.append(SetAside(relative_name(root, path), reason))
            else:
                audio.append(path)
    return audio, set_aside


def _why_not_enter(folder: Path) -> str | None:
    if not _is_text(folder.name):
        return "a folder whose name is not valid UTF-8; rename it"
    if folder.name.startswith("."):
        return "a hidden folder"
    if (folder / WORKSPACE_MARK).exists():
        return "a workspace of Waveband's own"
    if folder.is_symlink():
        return "a link to a folder; links are not followed, put the folder itself there"
    return None


def _why_not(path: Path) -> str | None:
    if not _is_text(path.name):
        return "its name is not valid UTF-8; rename it"
    if path.name.startswith("."):
        return "a hidden file"
    if path.suffix.lower() not in AUDIO_SUFFIXES:
        return f"{NOT_AUDIO} ({path.suffix or 'no suffix'})"
    if not path.is_file():  # opening a pipe would wait for ever
        return "no file, but a pipe, a device or a link to nothing"
    return None


def relative_name(root: Path, path: Path) -> str:
    """A path below root as printable text."""
    return os.fsencode(path.relative_to(root).as_posix()).decode("utf-8", "replace")


def _is_text(name: str) -> bool:
    """Whether a name was valid UTF-8: Python keeps other bytes as lone surrogates."""
    return not any("\udc80" <= char <= "\udcff" for char in name)


def _tracks(root: Path, audio: list[Path], track_stem: str) -> list[Song]:
    """A song of each file, named without its suffix where that leaves no two of one name."""
    full = [relative_name(root, path) for path in audio]
    short = [relative_name(root, path.with_suffix("")) for path in audio]
    uses = Counter(full + short)
    names = [brief if uses[brief] == 1 else whole for brief, whole in zip(short, full, strict=True)]
    return [Song(name, {track_stem: path}) for name, path in zip(names, audio, strict=True)]


def _scan_stems(root: Path, audio: list[Path], set_aside: list[SetAside]) -> Scan:
    folders = defaultdict(list)
    for path in audio:
        folders[path.parent].append(path)
    songs = []
    for folder, paths in sorted(folders.items()):
        if folder == root and len(folders) > 1:
            reason = "a loose file beside folders of stems; put it in a folder of its own"
            set_aside += [SetAside(relative_name(root, path), reason) for path in paths]
            continue
        song, unused = _song_of_stems(root, folder, paths)
        set_aside += unused
        if song.stems:
            songs.append(song)
    return Scan("stems", songs, set_aside)


def _song_of_stems(root: Path, folder: Path, paths: list[Path]) -> tuple[Song, list[SetAside]]:
    stems: dict[str, Path] = {}
    set_aside = []
    for path in paths:
        name = stem_name(path.stem)
        if not name:
            set_aside.append(SetAside(relative_name(root, path), "no letter or digit in the stem's name"))
        elif name in stems:
            reason = f"a second file for stem '{name}' beside {stems[name].name}"
            set_aside.append(SetAside(relative_name(root, path), reason))
        else:
            stems[name] = path
    mixture = stems.pop(MIXTURE, None)
    if mixture and not stems:
        set_aside.append(SetAside(relative_name(root, mixture), "a mixture with no stems beside it"))
    name = relative_name(root, folder) if folder != root else root.resolve().name
    return Song(name, stems, mixture), set_aside
