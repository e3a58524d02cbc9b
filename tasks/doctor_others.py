"""The doctor's rows of what is no audio of a song: scores, metadata, and what was set aside.

Counts files, reads none. The invariant: with the rows of songs, every path that was found has one.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from tasks.plan import Prepared
from wavenet.config import Config
from wavenet.data.layouts.accounts import is_audio, is_score
from wavenet.evaluation.doctor import FileReport, Role
from wavenet.evaluation.doctor_words import count

MOST_COUNTED = 1000
"""Files of a folder that is set aside are counted up to here."""


def score_rows(prepared: Prepared, config: Config) -> Iterator[FileReport]:
    """A row for each score: used where notes are among the features."""
    scores = {path: song.name for song in prepared.scan.songs for path in song.scores.values()}
    used = {track.score.path for tracks in prepared.plan.stems.values() for track in tracks if track.score}
    for path, song in scores.items():
        row = FileReport(
            path=prepared.name_of(path), verdict="kept", reason=f"the notes of {song}", role="score"
        )
        if "notes" not in config.features.names:
            why = "; notes are not among features.names"
            yield replace(row, idle=True, reason=row.reason + why)
        elif path not in used:
            empty = [
                note for note in prepared.plan.notes if note.startswith(f"{song}: ") and path.name in note
            ]
            why = next(iter(empty), f"{song}: nothing of it that has a score is used")
            yield replace(row, verdict="dropped", reason=why.removeprefix(f"{song}: "))
        else:
            yield row


def other_rows(prepared: Prepared) -> Iterator[FileReport]:
    """A row for what was read of the songs, and for what is part of none."""
    scores = {prepared.name_of(path) for song in prepared.scan.songs for path in song.scores.values()}
    read = "read for what it says of the songs"
    for name in prepared.scan.metadata:
        if name not in scores:
            yield FileReport(path=name, verdict="kept", reason=read, role="metadata")
    root = _root(prepared)
    for path, reason in prepared.plan.set_aside:
        if root is not None and (inside := _count_files(root / path)):
            reason += f"; {inside} in it"
        yield FileReport(path=path, verdict="dropped", reason=reason, role=_role(path))


def _role(name: str) -> Role:
    return "audio" if is_audio(name) else "score" if is_score(name) else "other"


def _root(prepared: Prepared) -> Path | None:
    """The folder that names are relative to; None of files that came from elsewhere."""
    for path, name in prepared.names.items():
        if str(path).endswith(f"/{name}"):
            return Path(str(path).removesuffix(name))
    return None


def _count_files(folder: Path) -> str:
    """How many files lie in a folder that was set aside whole, in words; nothing for what is no folder."""
    if folder.is_symlink() or not folder.is_dir():
        return ""
    files = (name for _, _, names in os.walk(folder) for name in names)
    number = sum(1 for _ in islice(files, MOST_COUNTED + 1))
    return f"more than {count(MOST_COUNTED, 'file')}" if number > MOST_COUNTED else count(number, "file")
