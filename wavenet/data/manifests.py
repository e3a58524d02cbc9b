"""Manifests: a person's own list of audio files, and what each is; read, and written of any scan.

    path,track,stem,split,start,end,stream,midi,licence,ANY OTHER COLUMN
    one/drums.flac,one,drums,train,,,,one/drums.mid,,rock

As CSV, or as JSON Lines with the same names, in capitals or not; any other column is a label, and `labels`
an object of them. A name that is nearly a column's is taken for a slip and refused.
path: relative to the manifest, absolute, or an address. track: rows of one track are its stems, rows of
one stem are summed, `mixture` is kept apart; without it a row is a track of its own. start, end: seconds.
stream: which of a container's. midi: the score of the stem; of the whole track where no stem is named, in
a row that may do without a path.

The invariant: every row is used or set aside with its line, and a track whose rows contradict each other
is set aside whole. A scan that is written and read again is the same songs.
"""

import csv
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from wavenet.audio.decoding import AudioSource
from wavenet.data.folders import plain_path
from wavenet.data.layouts.accounts import account_for_all
from wavenet.data.layouts.stems import MIXTURE
from wavenet.data.layouts.tables import Row, read_csv, read_json_lines
from wavenet.data.listing import MANIFEST_SUFFIXES, Listing
from wavenet.data.manifest_entries import (
    COLUMNS,
    LABELS,
    Entry,
    column_of,
    drop_repeated,
    find_contradiction,
    locate_files,
    name_columns,
    read_entry,
)
from wavenet.data.songs import Scan, SetAside, Song
from wavenet.errors import MetadataError
from wavenet.files import write_text

EXPECTED = "a .csv or .jsonl file with a column path, or a folder that holds one named manifest"


def recognize(listing: Listing) -> bool:
    """Whether the input is a manifest."""
    return listing.manifest is not None


def scan(listing: Listing, track_stem: str) -> Scan:
    """The songs that a manifest lists. Raises MetadataError where there is none, or it cannot be read."""
    manifest = _find_manifest(listing)
    rows = _read_rows(manifest, listing.read_text(manifest))
    locate = locate_files(listing, rows)
    reasons: dict[int, str] = {}
    entries = []
    for row in rows:
        try:
            entries.append(read_entry(row, locate))
        except MetadataError as error:
            reasons[row.line] = str(error)
    entries, repeated = drop_repeated(entries)
    reasons |= repeated
    songs = []
    for name, members in _group_tracks(entries).items():
        try:
            songs.append(_song_of(name, members, track_stem))
        except MetadataError as error:
            reasons |= {entry.line: str(error) for entry in members}
    notes = [SetAside(f"{manifest}:{line}", reasons[line]) for line in sorted(reasons)]
    return account_for_all(listing, "manifest", songs, {}, notes, [manifest], "the manifest does not name it")


def write_manifest_csv(
    songs: Scan | Iterable[Song], path: Path, address: Callable[[Path], str] = str
) -> None:
    """Write songs as a manifest, so that what they are and their splits are kept and can be edited.

    Paths are relative to the manifest where they lie below it. address: how other files are named, such as
    Listing.address for those of a remote store.
    """
    songs = list(songs.songs if isinstance(songs, Scan) else songs)
    plain = sorted({label for song in songs for label in song.labels if _may_be_column(label)})
    rows = [row for song in songs for row in _rows_of(song, plain, lambda p: _refer(p, path, address))]
    columns = [c for c in (*COLUMNS, LABELS) if any(row.get(c) for row in rows) or c == "path"] + plain
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _find_manifest(listing: Listing) -> str:
    if listing.manifest:
        return listing.manifest
    there = [name for suffix in sorted(MANIFEST_SUFFIXES) if (name := f"manifest{suffix}") in listing.places]
    if len(there) != 1:
        raise MetadataError(
            f"{listing.root}: holds {' and '.join(there) or 'no manifest.csv or manifest.jsonl'}; "
            "expected one manifest; name its file as the input"
        )
    return there[0]


def _read_rows(manifest: str, text: str) -> list[Row]:
    if manifest.lower().endswith(".jsonl"):
        return name_columns(manifest, read_json_lines(text))
    return name_columns(manifest, read_csv(manifest, text, {_spell_path(text)}))


def _spell_path(text: str) -> str:
    """How the first line of a CSV file writes the one column that must be there."""
    found = re.search(r'(?:^|[,;\t])[\s"]*(path)[\s"]*(?:[,;\t]|$)', text.partition("\n")[0], re.IGNORECASE)
    return found[1] if found else "path"


def _group_tracks(entries: list[Entry]) -> dict[str, list[Entry]]:
    """Entries by the name of their track; names that would be two tracks' have the line with them."""
    uses = Counter(entry.track or entry.brief for entry in entries)
    uses.update({entry.track for entry in entries if entry.track})
    tracks = defaultdict(list)
    for entry in entries:
        unnamed = entry.brief if uses[entry.brief] == 1 else f"{entry.brief} (line {entry.line})"
        tracks[entry.track or unnamed].append(entry)
    return tracks


def _song_of(name: str, entries: list[Entry], track_stem: str) -> Song:
    """The song of a track's entries. Raises MetadataError where they contradict each other."""
    if contradiction := find_contradiction(entries):
        raise MetadataError(f"track {name!r}: {contradiction}")
    stems: dict[str, list[AudioSource]] = defaultdict(list)
    for entry in entries:
        if entry.source:
            stems[entry.stem or track_stem].append(entry.source)
    mixtures = stems.pop(MIXTURE, [])
    if not stems or len(mixtures) > 1:
        raise MetadataError(
            f"track {name!r}: has {len(stems)} stems and {len(mixtures)} mixtures; "
            "expected a stem or more, and a mixture at most"
        )
    return Song(
        name=name,
        stems=dict(stems),
        mixture=mixtures[0] if mixtures else None,
        scores={entry.scored: entry.midi for entry in entries if entry.midi},
        split=next((entry.split for entry in entries if entry.split), None),
        labels={label: value for entry in entries for label, value in entry.labels.items()},
        licence=next((entry.licence for entry in entries if entry.licence), None),
    )


def _rows_of(song: Song, plain: list[str], refer: Callable[[Path], str]) -> Iterator[dict[str, Any]]:
    """The rows of a song: a source each, and one for the score of the whole."""
    about: dict[str, Any] = {label: song.labels[label] for label in plain if label in song.labels}
    about |= {"track": song.name, "split": song.split or "", "licence": song.licence or ""}
    if others := {label: value for label, value in song.labels.items() if label not in plain}:
        about[LABELS] = json.dumps(others, ensure_ascii=False)
    parts = [(MIXTURE, song.mixture)] if song.mixture else []
    parts += [(stem, source) for stem, sources in song.stems.items() for source in sources]
    for stem, source in parts:
        score = song.scores.get(stem)
        yield about | {
            "path": refer(source.path),
            "stem": stem,
            "start": repr(source.start) if source.start else "",
            "end": "" if source.end is None else repr(source.end),
            "stream": source.stream or "",
            "midi": refer(score) if score else "",
        }
    if "" in song.scores:
        yield about | {"midi": refer(song.scores[""])}


def _may_be_column(label: str) -> bool:
    """Whether a label's name survives as the name of a column; others are written as `labels`."""
    try:
        return label == column_of(label).strip() and label not in {"", *COLUMNS, LABELS}
    except MetadataError:
        return False


def _refer(path: Path, manifest: Path, address: Callable[[Path], str]) -> str:
    """How a manifest names a file: below it by the relative path, else as address says."""
    if (written := address(path)) != str(path):
        return written
    folder, path = plain_path(manifest).parent, plain_path(path)
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()
