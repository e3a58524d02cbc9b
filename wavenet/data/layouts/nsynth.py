"""The layout `nsynth`: NSynth (Engel et al. 2017), 300 000 notes of a thousand instruments, 16 kHz.

    nsynth-train|valid|test/examples.json      what each note is, by its name
    nsynth-train|valid|test/audio/guitar_acoustic_010-066-100.wav

A stem is a family of instruments: a model of it plays one note after another of all its instruments.
"""

from posixpath import basename, dirname, join
from typing import Any

from wavenet.audio.decoding import AudioSource
from wavenet.data.layouts.accounts import account_for_all
from wavenet.data.layouts.stems import stem_name
from wavenet.data.layouts.tables import SPLIT_NAMES, as_label, read_json_object
from wavenet.data.listing import Listing
from wavenet.data.songs import Scan, SetAside, Song
from wavenet.data.splits import Split
from wavenet.errors import AudioDecodeError, MetadataError

EXPECTED = "nsynth-train/, nsynth-valid/ or nsynth-test/ with examples.json and audio/*.wav"
LABELS = {
    "instrument_family": "instrument_family_str",
    "instrument_source": "instrument_source_str",
    "instrument": "instrument_str",
    "pitch": "pitch",
    "velocity": "velocity",
}
"""Labels, and what examples.json calls them; the names without _str are its own numbering."""
PREFIX = "nsynth-"
LICENCE = "CC BY 4.0 (NSynth)"


def recognize(listing: Listing) -> bool:
    """Whether any examples.json has a folder audio beside it."""
    tables = {dirname(table) for table in _tables(listing)}
    return any(
        dirname(dirname(name)) in tables for name in listing.names if basename(dirname(name)) == "audio"
    )


def scan(listing: Listing, track_stem: str) -> Scan:
    """A song of each note that an examples.json names and whose audio is there."""
    songs: list[Song] = []
    notes: list[SetAside] = []
    reasons: dict[str, str] = {}
    metadata = []
    for table in _tables(listing):
        try:
            examples = read_json_object(table, listing.read_text(table))
        except (MetadataError, AudioDecodeError) as error:
            reasons[table] = str(error)
            continue
        metadata.append(table)
        for note, facts in examples.items():
            audio = join(dirname(table), "audio", f"{note}.wav")
            try:
                songs.append(_song(listing, table, note, audio, facts))
            except MetadataError as error:
                if audio in listing.places:
                    reasons[audio] = f"{table}: {error}"
                else:
                    notes.append(SetAside(f"{table}:{note}", str(error)))
    because = "no examples.json names it"
    return account_for_all(listing, "nsynth", songs, reasons, notes, metadata, because)


def _song(listing: Listing, table: str, note: str, audio: str, facts: Any) -> Song:
    if audio not in listing.places:
        raise MetadataError(f"audio/{note}.wav is not there; unpack the whole data set")
    if not isinstance(facts, dict):
        raise MetadataError(f"found a {type(facts).__name__}, expected what the note is")
    labels = {label: as_label(facts.get(key)) for label, key in LABELS.items()}
    if missing := [LABELS[label] for label, value in labels.items() if not value]:
        raise MetadataError(f"says nothing of use as {', '.join(missing)}")
    family = stem_name(labels["instrument_family"] or "")
    if not family:
        raise MetadataError(f"instrument_family_str {labels['instrument_family']!r} has no letter in it")
    return Song(
        name=join(dirname(table), note),
        stems={family: [AudioSource(listing.path(audio))]},
        split=_split_of(listing, table),
        labels={label: value for label, value in labels.items() if value},
        licence=LICENCE,
    )


def _split_of(listing: Listing, table: str) -> Split | None:
    folder = basename(dirname(table)) or listing.title
    return SPLIT_NAMES.get(folder.removeprefix(PREFIX)) if folder.startswith(PREFIX) else None


def _tables(listing: Listing) -> list[str]:
    return [name for name in listing.names if basename(name) == "examples.json"]
