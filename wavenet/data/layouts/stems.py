"""The layout `stems`: every folder is a song, every audio file in it a stem named by the file.

`mixture` is kept apart, and so is a `mix` or `master` beside stems: a band that learned it would play all
twice. `drums.mid` is the score of the drums; one MIDI file of another name is that of
the whole song. Where the layout is guessed, folders in which no file is named like a stem are no songs.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping
from posixpath import basename, dirname, splitext
from types import MappingProxyType

from wavenet.audio.decoding import AudioSource
from wavenet.data.layouts.accounts import NOT_AUDIO, account_for_all, is_audio, is_score
from wavenet.data.listing import Listing
from wavenet.data.songs import Scan, Song
from wavenet.files import digest_bytes

MIXTURE = "mixture"
MIXTURES = (MIXTURE, "mix", "master")
"""What a mixture is called beside stems, the surest first; alone, the others are stems like any."""
KNOWN_STEMS = frozenset(
    {"drums", "bass", "other", "vocals", "guitar", "piano", "keys", "strings", "synth", MIXTURE}
)
STEMS_TO_BE_SURE = 2
"""A folder with so many files named like stems is a song of stems."""
LONGEST_STEM_NAME = 32


def recognize(listing: Listing) -> bool:
    """Whether any folder has files of at least two known stem names."""
    known = defaultdict(set)
    for name in listing.names:
        if is_audio(name) and _is_known(name):
            known[dirname(name)].add(_bare(name).casefold())
    return any(len(names) >= STEMS_TO_BE_SURE for names in known.values())


def scan(listing: Listing, track_stem: str) -> Scan:
    """A song of each folder that holds audio."""
    return _scan_folders(listing, _audio_by_folder(listing))


def scan_guessed(listing: Listing, track_stem: str) -> Scan:
    """A song of each folder in which some file is named like a stem; other folders are set aside."""
    folders = _audio_by_folder(listing)
    songs = {f for f, names in folders.items() if f == "" or any(_is_known(name) for name in names)}
    reason = "no file in its folder is named like a stem; if it is one, say ingest.layout=stems"
    album = {name: reason for folder in folders.keys() - songs for name in folders[folder]}
    return _scan_folders(listing, {f: names for f, names in folders.items() if f in songs}, album)


def stem_name(file_name: str) -> str:
    """A stem's name from its file's: lower case, words joined by `-`; empty if no letter is left.

    Long names end in a digest, so that two that begin alike stay two.
    """
    composed = unicodedata.normalize("NFC", file_name.casefold())  # macOS takes accents apart
    name = re.sub(r"[^\w]+", "-", composed).strip("-_")
    if len(name) > LONGEST_STEM_NAME:
        name = f"{name[: LONGEST_STEM_NAME - 7]}-{digest_bytes(name.encode())[:6]}"
    return name


def _scan_folders(
    listing: Listing, folders: dict[str, list[str]], unused: Mapping[str, str] = MappingProxyType({})
) -> Scan:
    """A song of each folder. unused: other audio and why it is set aside."""
    reasons = dict(unused)
    scores = defaultdict(list)
    for name in listing.names:
        if is_score(name):
            scores[dirname(name)].append(name)
    songs = []
    for folder, names in sorted(folders.items()):
        if not folder and len(folders) > 1:
            reason = "a loose file beside folders of stems; put it in a folder of its own"
            reasons |= dict.fromkeys(names, reason)
            continue
        song, left = _song_of(listing, folder, names, scores[folder])
        reasons |= left
        if song.stems:
            songs.append(song)
    return account_for_all(listing, "stems", songs, reasons)


def _song_of(
    listing: Listing, folder: str, names: list[str], scores: list[str]
) -> tuple[Song, dict[str, str]]:
    """The song of a folder, and why files of it are not used."""
    stems: dict[str, str] = {}
    reasons = {}
    for name in names:
        stem = stem_name(_bare(name))
        if not stem:
            reasons[name] = "no letter or digit in the stem's name"
        elif stem in stems:
            reasons[name] = f"a second file for stem '{stem}' beside {basename(stems[stem])}"
        else:
            stems[stem] = name
    mixtures = _take_mixtures(stems)
    mixture = mixtures[0] if mixtures else None
    if mixture and not stems:
        reasons[mixture] = "a mixture with no stems beside it"
    reasons |= {name: f"a second mixture beside {basename(mixtures[0])}" for name in mixtures[1:]}
    found, unused = _match_scores(scores, stems) if stems else ({}, {})
    song = Song(
        name=folder or listing.title,
        stems={stem: [AudioSource(listing.path(name))] for stem, name in stems.items()},
        mixture=AudioSource(listing.path(mixture)) if mixture else None,
        scores={stem: listing.path(name) for stem, name in found.items()},
    )
    return song, reasons | unused


def _take_mixtures(stems: dict[str, str]) -> list[str]:
    """Take the mixtures out of the files of a folder, by stem; the surest comes first."""
    names = [name for name in MIXTURES if name in stems]
    if MIXTURE not in names and len(names) == len(stems):  # nothing that they could be a mixture of
        return []
    return [stems.pop(name) for name in names]


def _match_scores(names: list[str], stems: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The score of each stem by its file's name, that of the whole song under ""; why others are not used."""
    scores: dict[str, str] = {}
    whole, reasons = [], {}
    for name in names:
        stem = stem_name(_bare(name))
        if stem not in stems:
            whole.append(name)
        elif stem in scores:
            reasons[name] = f"{NOT_AUDIO}, and a second score of stem '{stem}'"
        else:
            scores[stem] = name
    if len(whole) == 1:
        scores[""] = whole.pop()
    reason = f"{NOT_AUDIO}, and one of {len(whole)} that may be the score of the song"
    return scores, reasons | dict.fromkeys(whole, reason)


def _audio_by_folder(listing: Listing) -> dict[str, list[str]]:
    folders = defaultdict(list)
    for name in listing.names:
        if is_audio(name):
            folders[dirname(name)].append(name)
    return folders


def _is_known(name: str) -> bool:
    return _bare(name).casefold() in KNOWN_STEMS


def _bare(name: str) -> str:
    return splitext(basename(name))[0]
