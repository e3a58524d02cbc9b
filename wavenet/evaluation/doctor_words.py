"""A report in words: names that tell rows apart, counts, places in recordings, notes of many songs in one.

Knows nothing of tables or of HTML. The invariant: two rows of one path that differ in stem, excerpt, stream
or track have two names.
"""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from wavenet.evaluation.doctor import DoctorReport, FileReport

SAME_REASON = 4
"""From as many on, those of one reason are told together."""
BESIDE_NOUNS = {"mixture": "mixture", "score": "score", "metadata": "metadata file"}


def tell_apart(files: Iterable[FileReport]) -> list[FileReport]:
    """The rows, each with `part`: where an excerpt lies; of a path with several rows the stem, or more."""
    by_path: dict[str, list[FileReport]] = {}
    for file in files:
        by_path.setdefault(file.path, []).append(file)
    return [replace(file, part=part) for rows in by_path.values() for file, part in _name_parts(rows)]


def _name_parts(rows: Sequence[FileReport]) -> Iterable[tuple[FileReport, str]]:
    """What tells each of a path's rows from the others: as little as does, and always its excerpt."""
    parts = [(format_excerpt(row),) if row.start is not None else () for row in rows]
    facets: list[Callable[[FileReport], str]] = [
        lambda row: row.stem or row.role,
        lambda row: f"stream {row.stream}",
        lambda row: f"of {row.track}",
    ]
    for facet in facets:
        if len(set(parts)) < len(rows) > 1 and len({facet(row) for row in rows}) > 1:
            parts = [(facet(row), *part) for row, part in zip(rows, parts, strict=True)]
    return zip(rows, [", ".join(part) for part in parts], strict=True)


def format_excerpt(file: FileReport) -> str:
    """Where an excerpt lies in its file: 0:10-0:30."""
    end = "" if file.end is None else format_place(file.end)
    return f"{format_place(file.start or 0.0)}-{end}"


def format_place(seconds: float) -> str:
    """A place in a recording, whole seconds without a fraction: 0:04, 12:30.5, 1:02:03."""
    return format_clock(seconds).removesuffix(".0")


def format_clock(seconds: float) -> str:
    """A place in a recording: 0:04.2, 12:30.0, 1:02:03.5."""
    minutes, rest = divmod(round(seconds * 10), 600)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:{minutes:02d}" if hours else f"{minutes}") + f":{rest / 10:04.1f}"


def count(number: int, noun: str) -> str:
    """A number of things: 1 file, 2 files, 1,000 files."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def count_rows(rows: Sequence[FileReport]) -> str:
    """How many files rows are of: 2 files, or 8 parts of 2 files."""
    files = count(len({row.path for row in rows}), "file")
    return files if len({row.path for row in rows}) == len(rows) else f"{count(len(rows), 'part')} of {files}"


def format_counts(report: DoctorReport) -> str:
    """How many files there are, what becomes of them, and how the input was read."""
    totals = report.totals
    parts = [
        f"{totals.num_kept:,} kept",
        f"{totals.num_partial:,} in part",
        f"{totals.num_dropped:,} dropped",
    ]
    parts += [count(number, BESIDE_NOUNS[role]) for role, number in totals.num_beside.items()]
    files = f"{count(totals.num_files, 'file')}: {', '.join(parts)}"
    return "; ".join(filter(None, [files, format_stem_counts(report), f"layout: {format_layout(report)}"]))


def format_stem_counts(report: DoctorReport) -> str:
    """How many stems there are and what becomes of them; nothing where each file is one."""
    kept, partial, dropped = (report.totals.num_stems.get(v, 0) for v in ("kept", "partial", "dropped"))
    number = kept + partial + dropped
    if number == len({file.path for file in report.files if file.stems}):
        return ""
    return f"{count(number, 'stem')}: {kept:,} kept, {partial:,} in part, {dropped:,} dropped"


def format_layout(report: DoctorReport) -> str:
    """How the input was read: stems (guessed)."""
    return report.layout + (" (guessed)" if report.layout_guessed else "")


def format_length(file: FileReport) -> str:
    """How long a file is, an excerpt with the length of all of it: 0:20.0 of 0:40."""
    whole = file.start is not None and file.file_seconds is not None
    return format_clock(file.seconds or 0.0) + (
        f" of {format_place(file.file_seconds or 0.0)}" if whole else ""
    )


def song_of(note: str, songs: Collection[str]) -> str:
    """The song that a note is on, `SONG: text`; empty for a note on none."""
    ends = [at.start() for at in re.finditer(": ", note) if note[: at.start()] in songs]
    return note[: ends[-1]] if ends else ""


def group_notes(notes: Iterable[str], songs: Collection[str]) -> list[str]:
    """Notes (`SONG: text`), those of many songs that differ in song and figures alone told by the first."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for note in notes:
        song = song_of(note, songs)
        kind = re.sub(r"\d+([.,]\d+)*", "#", note.removeprefix(song))
        kinds.setdefault(kind, []).append((song, note))
    told = []
    for alike in kinds.values():
        num_songs = len({song for song, _ in alike})
        many = f"{count(num_songs, 'song')}, such as {alike[0][1]}"
        told += [many] if num_songs >= SAME_REASON else [note for _, note in alike]
    return told
