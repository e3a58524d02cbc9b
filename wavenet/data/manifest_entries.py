"""Rows of a manifest as entries: what each says of a file, checked, and where two contradict each other.

Knows nothing of songs. The invariant: an entry names a file that is there, or a remote one that may be
had, and a part of it that can be; what does not raises MetadataError with the reason.
"""

import difflib
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from posixpath import basename, splitext
from typing import Any

from wavenet.audio.decoding import AudioSource
from wavenet.data.folders import is_text
from wavenet.data.layouts.accounts import is_audio, is_score
from wavenet.data.layouts.stems import MIXTURE, stem_name
from wavenet.data.layouts.tables import Row, as_label, read_json_object, read_split
from wavenet.data.listing import Listing
from wavenet.data.splits import Split
from wavenet.data.stores import is_address, last_name
from wavenet.errors import MetadataError

COLUMNS = ("path", "track", "stem", "split", "start", "end", "stream", "midi", "licence")
LABELS = "labels"
SO_CLOSE = 0.8
"""Of difflib's likeness: `spilt` and `tracks` are taken for mistakes, `style` and `artist` are labels."""


@dataclass(frozen=True)
class Entry:
    """What a row says. source: None where it states but the score of a whole track."""

    line: int
    source: AudioSource | None
    brief: str  # what a track is called that has no name
    track: str
    stem: str
    split: Split | None
    midi: Path | None
    licence: str | None
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def scored(self) -> str:
        """The stem that midi is the score of; the whole track under ""."""
        return "" if self.stem == MIXTURE else self.stem


def column_of(name: str) -> str:
    """The column that a name means, in capitals or not; else a label's. Raises MetadataError for a slip."""
    plain = name.strip().casefold()
    if plain in {*COLUMNS, LABELS}:
        return plain
    if close := difflib.get_close_matches(plain, [*COLUMNS, LABELS], n=1, cutoff=SO_CLOSE):
        raise MetadataError(
            f"unknown column {name!r}: did you mean {close[0]!r}? If it is a label, write it in the column "
            f'labels, as {{"{name}": "..."}}'
        )
    return name


def name_columns(manifest: str, rows: list[Row]) -> list[Row]:
    """Rows under the columns' own names. Raises MetadataError for a slip, or a column that is there twice."""
    names: dict[str, str] = {}
    for row in rows:
        try:
            names |= {name: column_of(name) for name in row.values if name not in names}
        except MetadataError as error:
            raise MetadataError(f"{manifest}: {error}") from None
        meant = [names[name] for name in row.values]
        if twice := {column for column in meant if meant.count(column) > 1}:
            raise MetadataError(f"{manifest}: names the column {min(twice)} twice; expected each once")
    return [replace(row, values={names[name]: value for name, value in row.values.items()}) for row in rows]


def locate_files(listing: Listing, rows: list[Row]) -> Callable[[str], Path]:
    """Where the file of a reference lies: a function that raises MetadataError where there is none.

    Remote files are asked for all at once. Raises NoAudioError where a store cannot be reached.
    """
    wanted: dict[str, str] = {}
    for reference in (row.values.get(column) for row in rows for column in ("path", "midi")):
        if isinstance(reference, str) and reference:
            try:
                wanted[reference] = listing.absolute(reference)
            except MetadataError:
                continue  # told of with its row
    remote, reasons = listing.downloads.locate_many(a for a in wanted.values() if is_address(a))

    def locate(reference: str) -> Path:
        address = listing.absolute(reference)
        if address in reasons:
            raise MetadataError(f"{reference}: {reasons[address]}")
        path = remote.get(address) or Path(address)
        if address not in remote and not os.path.isfile(path):
            raise MetadataError(f"{reference}: no such file; paths are relative to the manifest")
        return path

    return locate


def read_entry(row: Row, locate: Callable[[str], Path]) -> Entry:
    """What a row says. Raises MetadataError."""
    if row.damage:
        raise MetadataError(row.damage)
    text = {column: _read_text(row.values, column) for column in COLUMNS}
    stem = stem_name(text["stem"])
    if text["stem"] and not stem:
        raise MetadataError(f"stem {text['stem']!r} has no letter or digit in it")
    source = _read_source(text, locate)
    if text["midi"] and not is_score(text["midi"]):
        raise MetadataError(f"midi {text['midi']}: not a MIDI file by its name")
    midi = locate(text["midi"]) if text["midi"] else None
    if source is None and (midi is None or stem or not text["track"]):
        raise MetadataError("names no path; only the score of a whole track may do without one")
    return Entry(
        line=row.line,
        source=source,
        brief=_name_track(text["path"], source),
        track=text["track"],
        stem=stem,
        split=read_split(text["split"]),
        midi=midi,
        licence=text["licence"] or None,
        labels=_read_labels(row.values),
    )


def _read_source(text: dict[str, str], locate: Callable[[str], Path]) -> AudioSource | None:
    start, end = _read_seconds(text, "start") or 0.0, _read_seconds(text, "end")
    if end is not None and end <= start:
        raise MetadataError(f"end {end:g} s is not after start {start:g} s")
    stream = text["stream"].strip() or "0"
    if not (stream.isascii() and stream.isdigit() and len(stream) < 4):
        raise MetadataError(f"stream {stream!r}: expected a number, 0 for the first audio stream")
    if not text["path"]:
        return None
    if not is_audio(last_name(text["path"]) if is_address(text["path"]) else text["path"]):
        raise MetadataError(f"{text['path']}: not an audio file by its name")
    return AudioSource(locate(text["path"]), start, end, int(stream))


def _read_seconds(text: dict[str, str], column: str) -> float | None:
    if not text[column].strip():
        return None
    try:
        seconds = float(text[column])
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise MetadataError(f"{column} {text[column]!r}: expected seconds from 0 on")
    return seconds


def _read_text(values: dict[str, Any], column: str) -> str:
    value = values.get(column)
    label = "" if value is None else as_label(value)
    if label is None:
        raise MetadataError(f"{column}: found a {type(value).__name__}, expected a plain value in UTF-8")
    return label


def _read_labels(values: dict[str, Any]) -> dict[str, str]:
    """Labels of a row: its other columns, and the object of labels."""
    given = values.get(LABELS) or {}
    if isinstance(given, str):
        given = read_json_object(LABELS, given)
    if not isinstance(given, dict):
        raise MetadataError(f"labels: found a {type(given).__name__}, expected an object of names and values")
    others = {name: value for name, value in values.items() if name not in {*COLUMNS, LABELS}}
    labels = {name: _read_text(part, name) for part in (others, given) for name in part}
    for name in given:
        if name in others and _read_text(others, name) != labels[name]:
            raise MetadataError(f"label {name!r} has two values")
    if not is_text("".join(labels)):
        raise MetadataError("a label's name is not valid UTF-8; save the file as UTF-8")
    return {name: value for name, value in labels.items() if name and value}


def _name_track(reference: str, source: AudioSource | None) -> str:
    """A name for a track that has none: its file's, and where it is a part of the file, which."""
    is_elsewhere = is_address(reference) or reference.startswith(("/", "../"))
    name = splitext(basename(reference) if is_elsewhere else os.path.normpath(reference))[0]
    if source is None or (source.start == 0 and source.end is None):
        return name
    return f"{name} {source.start:g}-{'' if source.end is None else f'{source.end:g}'} s"


def drop_repeated(entries: list[Entry]) -> tuple[list[Entry], dict[int, str]]:
    """Entries less those that repeat one: its audio would be summed twice. By line, why they are not used."""
    first: dict[tuple[str, str, AudioSource], int] = {}
    kept, reasons = [], {}
    for entry in entries:
        line = entry.line
        if entry.source:
            line = first.setdefault((entry.track, entry.stem, entry.source), entry.line)
        if line == entry.line:
            kept.append(entry)
        else:
            reasons[entry.line] = f"repeats line {line}"
    return kept, reasons


def find_contradiction(entries: list[Entry]) -> str | None:
    """What two entries of a track say differently of the track, or of a stem's score."""
    said: dict[tuple[str, str], tuple[int, object]] = {}
    for entry in entries:
        for what, value in _claims(entry):
            line, before = said.setdefault(what, (entry.line, value))
            if before != value:
                return f"line {line} says {' '.join(what).strip()} {before}, line {entry.line} {value}"
    return None


def _claims(entry: Entry) -> Iterator[tuple[tuple[str, str], object]]:
    if entry.split:
        yield ("split", ""), entry.split
    if entry.licence:
        yield ("licence", ""), entry.licence
    if entry.midi:
        yield ("midi of", entry.scored or "the track"), entry.midi
    for label, value in entry.labels.items():
        yield ("label", label), value
