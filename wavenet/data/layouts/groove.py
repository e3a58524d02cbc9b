"""The layout `groove`: the Groove MIDI Dataset (Gillick et al. 2019), drum takes beside their scores.

    info.csv        a row a take: who, what style and tempo, its .mid and .wav, and its split
    drummer1/session1/1_funk_80_beat_4-4.mid
    drummer1/session1/1_funk_80_beat_4-4.wav

Some takes were recorded as MIDI alone: their audio_filename is empty.
"""

from collections.abc import Callable
from posixpath import basename, dirname, join, splitext
from typing import Any

from wavenet.audio.decoding import AudioSource
from wavenet.data.layouts.accounts import account_for_all, is_audio, is_score
from wavenet.data.layouts.tables import Row, columns_of, read_csv, read_split
from wavenet.data.listing import Listing
from wavenet.data.songs import Scan, SetAside, Song
from wavenet.errors import AudioDecodeError, MetadataError

EXPECTED = "info.csv with columns drummer, style, bpm, beat_type, midi_filename, audio_filename and split"
COLUMNS = {"drummer", "style", "bpm", "beat_type", "midi_filename", "audio_filename", "split"}
LABELS = ("drummer", "style", "beat_type", "bpm")
STEM = "drums"
LICENCE = "CC BY 4.0 (Groove MIDI Dataset)"


def recognize(listing: Listing) -> bool:
    """Whether there is an info.csv with the data set's columns."""
    return any(_has_columns(listing, name) for name in _tables(listing))


def scan(listing: Listing, track_stem: str) -> Scan:
    """A song of one stem, drums, of each row that names files which are there."""
    songs: dict[str, Song] = {}
    notes: list[SetAside] = []
    reasons: dict[str, str] = {}
    metadata = []
    for table in _tables(listing):
        try:
            rows = read_csv(table, listing.read_text(table), COLUMNS)
        except (MetadataError, AudioDecodeError) as error:
            reasons[table] = str(error)
            continue
        metadata.append(table)
        for row in rows:
            try:
                audio, song = _read_row(listing, table, row)
                if audio in songs:
                    raise MetadataError(f"an earlier row names {basename(audio)} too")
                songs[audio] = song
            except MetadataError as error:
                notes.append(SetAside(f"{table}:{row.line}", str(error)))
                reasons |= _explain_files(listing, table, row, f"{table}:{row.line}: {error}")
    because = "no row of info.csv names it"
    return account_for_all(listing, "groove", list(songs.values()), reasons, notes, metadata, because)


def _read_row(listing: Listing, table: str, row: Row) -> tuple[str, Song]:
    """The name of a take's audio, and its song. Raises MetadataError."""
    if row.damage:
        raise MetadataError(row.damage)
    values = row.values
    audio = _find(listing, table, values, "audio_filename", is_audio)
    score = _find(listing, table, values, "midi_filename", is_score)
    return audio, Song(
        name=splitext(audio)[0],
        stems={STEM: [AudioSource(listing.path(audio))]},
        scores={STEM: listing.path(score)},
        split=read_split(values["split"]),
        labels={label: values[label] for label in LABELS if values[label]},
        licence=LICENCE,
    )


def _find(
    listing: Listing, table: str, values: dict[str, Any], column: str, is_right: Callable[[str], bool]
) -> str:
    """The name that a row's column means. Raises MetadataError where it is empty, not there or amiss."""
    if not values[column]:
        raise MetadataError(f"{column} is empty: the take was recorded without")
    name = join(dirname(table), values[column])
    if name not in listing.places:
        raise MetadataError(f"{column} {values[column]!r} is not there; unpack the whole data set")
    if not is_right(name):
        raise MetadataError(f"{column} {values[column]!r} is of another kind by its name")
    return name


def _explain_files(listing: Listing, table: str, row: Row, reason: str) -> dict[str, str]:
    """Why files that a row names are not used, if no other row does."""
    names = [
        join(dirname(table), row.values.get(column, "")) for column in ("audio_filename", "midi_filename")
    ]
    return {name: reason for name in names if name in listing.places}


def _tables(listing: Listing) -> list[str]:
    return [name for name in listing.names if basename(name) == "info.csv"]


def _has_columns(listing: Listing, table: str) -> bool:
    try:
        return columns_of(listing.read_text(table)) >= COLUMNS
    except (MetadataError, AudioDecodeError):
        return False
