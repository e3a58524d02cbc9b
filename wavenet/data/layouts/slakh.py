"""The layout `slakh`: Slakh2100 (Manilow et al. 2019), songs rendered from MIDI, each source by itself.

    train|validation|test|omitted/Track00001/
        metadata.yaml  all_src.mid  mix.flac  stems/S00.flac ...  MIDI/S00.mid ...

metadata.yaml says of each source its class of instruments, and whether it was rendered; some were not.
Sources of one class are summed into one stem. `omitted` holds songs that the data set's makers took out
of their splits, since their MIDI is that of another song: trained on, it would leak.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from posixpath import basename, dirname
from typing import Any

from wavenet.audio.decoding import AudioSource
from wavenet.data.layouts.accounts import account_for_all, is_audio
from wavenet.data.layouts.stems import stem_name
from wavenet.data.layouts.tables import SPLIT_NAMES, read_yaml_object
from wavenet.data.listing import Listing
from wavenet.data.songs import Scan, SetAside, Song
from wavenet.errors import AudioDecodeError, MetadataError

EXPECTED = (
    "folders Track00001 ... of metadata.yaml, mix.flac and stems/S00.flac ..., in train/, validation/, test/"
)
METADATA = re.compile(r"(?P<folder>(?:.*/)?Track\d{5})/metadata\.yaml")
OMITTED = "omitted"
SUFFIXES = ("flac", "wav")
LARGEST_METADATA = 1 << 20
LICENCE = "CC BY 4.0 (Slakh2100)"


@dataclass
class Sources:
    """Names of a song's files: the audio of each stem and, where it has but one source, its score."""

    stems: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    scores: dict[str, str] = field(default_factory=dict)
    notes: list[SetAside] = field(default_factory=list)


def recognize(listing: Listing) -> bool:
    """Whether any folder named as Slakh's tracks are has metadata.yaml and stems."""
    folders = {found["folder"] for name in listing.names if (found := METADATA.fullmatch(name))}
    return any(dirname(name).removesuffix("/stems") in folders for name in listing.names if "/stems/" in name)


def scan(listing: Listing, track_stem: str) -> Scan:
    """A song of each track folder."""
    songs, notes, metadata = [], [], []
    reasons: dict[str, str] = {}
    below = _files_below_tracks(listing)
    for folder, names in below.items():
        file = f"{folder}/metadata.yaml"
        audio = [name for name in names if is_audio(name)]
        if basename(dirname(folder)) == OMITTED:
            reasons |= dict.fromkeys(
                audio, "omitted by the data set's makers: its MIDI is another song's too"
            )
            continue
        try:
            facts = read_yaml_object(file, listing.read_text(file, LARGEST_METADATA))
            sources = _sort_sources(listing, folder, facts)
            notes += sources.notes
            if not sources.stems:
                raise MetadataError(f"{file}: names no source that is there")
        except (MetadataError, AudioDecodeError) as error:
            reasons |= dict.fromkeys([file, *audio], str(error))
            continue
        metadata.append(file)
        reasons |= dict.fromkeys(audio, "metadata.yaml does not say what instrument it is")
        songs.append(_song(listing, folder, sources))
    return account_for_all(listing, "slakh", songs, reasons, notes, metadata)


def _files_below_tracks(listing: Listing) -> dict[str, list[str]]:
    """Names of all files below each folder that has metadata.yaml."""
    below: dict[str, list[str]] = {
        found["folder"]: [] for name in listing.names if (found := METADATA.fullmatch(name))
    }
    for name in listing.names:
        folder = name
        while folder := dirname(folder):
            if folder in below:
                below[folder].append(name)
                break
    return below


def _sort_sources(listing: Listing, folder: str, facts: dict[str, Any]) -> Sources:
    """The sources of a track by stem. Raises MetadataError where metadata.yaml names none at all."""
    file = f"{folder}/metadata.yaml"
    described = facts.get("stems")
    if not isinstance(described, dict) or not described:
        raise MetadataError(f"{file}: says nothing of stems; expected each source with its inst_class")
    sources = Sources()
    scores: dict[str, str] = {}
    used: set[str | None] = set()
    for source, said in described.items():
        try:
            stem, audio, rendered = _read_source(listing, folder, source, said)
        except MetadataError as error:
            sources.notes.append(SetAside(f"{file}:{source}", str(error)))
            continue
        if audio in used:
            sources.notes.append(SetAside(f"{file}:{source}", f"an earlier source names {audio} too"))
        elif audio:
            used.add(audio)
            sources.stems[stem].append(audio)
            scores[stem] = f"{folder}/MIDI/{source}.mid"
        elif rendered:
            sources.notes.append(SetAside(f"{file}:{source}", f"stems/{source}.flac is not there"))
    sources.scores = {
        stem: scores[stem]
        for stem, audio_names in sources.stems.items()
        if len(audio_names) == 1 and scores[stem] in listing.places
    }
    return sources


def _read_source(listing: Listing, folder: str, source: object, said: object) -> tuple[str, str | None, bool]:
    """Stem and audio of a source, and whether it was rendered: some sources were not, and have no audio."""
    if not isinstance(said, dict) or not isinstance(said.get("inst_class"), str):
        raise MetadataError("its inst_class is not stated")
    stem = "drums" if said.get("is_drum") is True else stem_name(said["inst_class"])
    if not stem:
        raise MetadataError(f"inst_class {said['inst_class']!r} has no letter in it")
    candidates = _variants(f"{folder}/stems/{source}")
    audio = next((name for name in candidates if name in listing.places), None)
    return stem, audio, said.get("audio_rendered") is not False


def _song(listing: Listing, folder: str, sources: Sources) -> Song:
    mixture = next((name for name in _variants(f"{folder}/mix") if name in listing.places), None)
    whole = f"{folder}/all_src.mid"
    scores = sources.scores | ({"": whole} if whole in listing.places else {})
    return Song(
        name=folder,
        stems={
            stem: [AudioSource(listing.path(name)) for name in names] for stem, names in sources.stems.items()
        },
        mixture=AudioSource(listing.path(mixture)) if mixture else None,
        scores={stem: listing.path(name) for stem, name in scores.items()},
        split=SPLIT_NAMES.get(basename(dirname(folder))),
        licence=LICENCE,
    )


def _variants(name: str) -> Iterator[str]:
    return (f"{name}.{suffix}" for suffix in SUFFIXES)
