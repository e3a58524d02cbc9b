"""The files below a folder of this machine, by name, all of them or those of a pattern.

Knows nothing of what the files are. The invariant: what is found is a name, or set aside with a reason;
links are not followed, a hidden folder or a workspace is set aside whole, and no file is opened.
"""

import os
import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path

from wavenet.data.songs import SetAside

WORKSPACE_MARK = ".waveband-workspace"
"""A file that says of its folder: made by Waveband, not music to train on."""
IN_WORKSPACE = "a workspace of Waveband's own"


def list_folder(root: Path) -> tuple[dict[str, Path], list[SetAside]]:
    """Every file below a folder, by posix path relative to it; and what is set aside."""
    return _walk(root)


def list_pattern(pattern: Path) -> tuple[Path, dict[str, Path], list[SetAside]]:
    """The last folder that a pattern writes out, the files below it that match, and what is set aside."""
    root, wanted = _split_pattern(pattern)
    places, set_aside = _walk(
        root,
        may_enter=lambda name: _may_hold(name.split("/"), wanted),
        may_take=lambda name: _matches(name.split("/"), wanted),
    )
    return root, places, set_aside


def plain_path(path: Path | str) -> Path:
    """An absolute path without `..`, so that the path of what lies below it begins with it."""
    path = Path(path).absolute()
    return path.resolve() if ".." in path.parts else path


def is_pattern(text: str) -> bool:
    """Whether a text holds a sign that stands for others: *, ? or [."""
    return re.search(r"[*?[]", text) is not None


def why_not(path: Path) -> str | None:
    """Why a file is not to be looked at, whatever it is; None where it may be."""
    if not is_text(path.name):
        return "its name is not valid UTF-8; rename it"
    if path.name.startswith("."):
        return "a hidden file"
    if not path.is_file():  # opening a pipe would wait for ever
        return "no file, but a pipe, a device or a link to nothing"
    return None


def relative_name(root: Path, path: Path) -> str:
    """A path below root as printable text."""
    return os.fsencode(path.relative_to(root).as_posix()).decode("utf-8", "replace")


def is_text(name: str) -> bool:
    """Whether a text was valid UTF-8: Python keeps other bytes as lone surrogates."""
    return re.search("[\ud800-\udfff]", name) is None


def _split_pattern(pattern: Path) -> tuple[Path, list[str]]:
    """The folder that is there, and the parts of the pattern below it."""
    root, parts = Path(pattern.anchor), list(pattern.parts[1:])
    while parts and (not is_pattern(parts[0]) or os.path.isdir(root / parts[0])):
        root /= parts.pop(0)
    return root, parts


def _walk(
    root: Path,
    may_enter: Callable[[str], bool] = lambda name: True,
    may_take: Callable[[str], bool] = lambda name: True,
) -> tuple[dict[str, Path], list[SetAside]]:
    """The files below a folder by relative name; and what is set aside of what may be taken."""
    places, set_aside = {}, []

    def note_unreadable(error: OSError) -> None:
        folder = relative_name(root, Path(error.filename))
        set_aside.append(SetAside(folder, "a folder that cannot be read; check its permissions"))

    for folder, subfolders, names in os.walk(root, onerror=note_unreadable):
        for name in sorted(subfolders):
            path = Path(folder, name)
            if not may_enter(relative_name(root, path)):
                subfolders.remove(name)
            elif reason := _why_not_enter(path):
                set_aside.append(SetAside(relative_name(root, path), reason))
                subfolders.remove(name)
        subfolders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            text = relative_name(root, path)
            if not may_take(text):
                continue
            if reason := why_not(path):
                set_aside.append(SetAside(text, reason))
            else:
                places[text] = path
    return places, set_aside


def _why_not_enter(folder: Path) -> str | None:
    if not is_text(folder.name):
        return "a folder whose name is not valid UTF-8; rename it"
    if folder.name.startswith("."):
        return "a hidden folder"
    if (folder / WORKSPACE_MARK).exists():
        return IN_WORKSPACE
    if folder.is_symlink():
        return "a link to a folder; links are not followed, put the folder itself there"
    return None


def _matches(parts: list[str], pattern: list[str]) -> bool:
    """Whether a path matches a pattern, part by part; ** stands for any number of parts."""
    if not parts or not pattern:
        return not parts and all(part == "**" for part in pattern)
    if pattern[0] == "**":
        return _matches(parts, pattern[1:]) or _matches(parts[1:], pattern)
    return fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _may_hold(folder: list[str], pattern: list[str]) -> bool:
    """Whether files that match may lie below a folder."""
    if not folder or not pattern:
        return bool(pattern)
    return pattern[0] == "**" or (fnmatchcase(folder[0], pattern[0]) and _may_hold(folder[1:], pattern[1:]))
