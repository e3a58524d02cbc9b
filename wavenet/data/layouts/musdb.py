"""The layout `musdb`: MUSDB18 and MUSDB18-HQ (Rafii et al. 2017, 2019), 150 songs as four stems.

    train|test/ARTIST - TITLE.stem.mp4      five audio streams: mixture, drums, bass, other, vocals
    train|test/ARTIST - TITLE/STEM.wav      mixture, drums, bass, other, vocals (HQ)

It has no folder of validation songs, so `test` is what is held out: nothing of it is trained on, and
the curves of a training have something to be measured on.
"""

import re
from collections import defaultdict
from posixpath import basename, dirname

from wavenet.audio.decoding import AudioSource
from wavenet.data.layouts.accounts import account_for_all, is_audio
from wavenet.data.layouts.stems import MIXTURE
from wavenet.data.listing import Listing
from wavenet.data.songs import Scan, Song
from wavenet.data.splits import Split

EXPECTED = (
    "train/ and test/ with 'ARTIST - TITLE.stem.mp4' files, or with folders 'ARTIST - TITLE' of mixture.wav, "
    "drums.wav, bass.wav, other.wav and vocals.wav"
)
STREAMS = (MIXTURE, "drums", "bass", "other", "vocals")
SPLITS: dict[str, Split] = {"train": "train", "test": "heldout"}
STEM_FILE = re.compile(r"(?:.*/)?(?:train|test)/[^/]+/(?P<stem>mixture|drums|bass|other|vocals)\.wav", re.I)
CONTAINER = ".stem.mp4"
LICENCE = "MUSDB18: for educational use, not commercial"


def recognize(listing: Listing) -> bool:
    """Whether there are Stems containers, or nothing but songs of the five files below train and test."""
    if any(name.lower().endswith(CONTAINER) for name in listing.names):
        return True
    audio = [name for name in listing.names if is_audio(name)]
    stems = defaultdict(set)
    for name in audio:
        if found := STEM_FILE.fullmatch(name):
            stems[dirname(name)].add(found["stem"].lower())
    return len(audio) == 5 * len(stems) > 0 and all(len(names) == 5 for names in stems.values())


def scan(listing: Listing, track_stem: str) -> Scan:
    """A song of each container, and of each folder of stems."""
    songs = []
    folders: dict[str, dict[str, AudioSource]] = defaultdict(dict)
    for name in listing.names:
        if name.lower().endswith(CONTAINER):
            path = listing.path(name)
            parts = {stem: AudioSource(path, stream=number) for number, stem in enumerate(STREAMS)}
            songs.append(_song(name[: -len(CONTAINER)], parts))
        elif found := STEM_FILE.fullmatch(name):
            folders[dirname(name)][found["stem"].lower()] = AudioSource(listing.path(name))
    songs += [_song(folder, parts) for folder, parts in folders.items() if set(parts) != {MIXTURE}]
    return account_for_all(listing, "musdb", songs, reasons={})


def _song(name: str, parts: dict[str, AudioSource]) -> Song:
    artist, separator, title = basename(name).partition(" - ")
    return Song(
        name=name,
        stems={stem: [source] for stem, source in parts.items() if stem != MIXTURE},
        mixture=parts.get(MIXTURE),
        split=SPLITS.get(basename(dirname(name)).lower()),
        labels={"artist": artist, "title": title} if separator else {"title": artist},
        licence=LICENCE,
    )
