"""The account of a scan: what became of every name of a listing.

Knows nothing of any layout. The invariant: each name is used by a song, was read for what it says of
songs, or is set aside with a reason: one of the three, whatever a layout made of it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from posixpath import splitext

from wavenet.audio.decoding import AUDIO_SUFFIXES
from wavenet.data.listing import Listing
from wavenet.data.songs import Scan, SetAside, Song

NOT_AUDIO = "not an audio file by its name"
"""How the reason begins for a cover, a score or a text: expected beside music, and no loss."""
SCORE_SUFFIXES = frozenset({".mid", ".midi"})


def account_for_all(
    listing: Listing,
    layout: str,
    songs: Sequence[Song],
    reasons: Mapping[str, str],
    notes: Sequence[SetAside] = (),
    metadata: Collection[str] = (),
    else_because: str = "no part of the data set",
) -> Scan:
    """A scan in which no name of the listing is missing.

    reasons: why a name is set aside, where no song uses it. notes: what else is set aside, such as rows of
    a table that name no file. metadata: names that were read. else_because: why other audio is set aside.
    """
    read = {listing.path(name) for name in metadata} | {p for song in songs for p in song.scores.values()}
    used = {path for song in songs for path in audio_files(song)}
    set_aside = [*listing.set_aside, *notes]
    for name in listing.names:
        path = listing.path(name)
        if path not in used and path not in read:
            set_aside.append(SetAside(name, reasons.get(name) or _why_not_used(name, else_because)))
    return Scan(layout, list(songs), set_aside, [n for n in listing.names if listing.path(n) in read])


def audio_files(song: Song) -> Iterator[Path]:
    """The audio files that a song is made of."""
    for sources in song.stems.values():
        yield from (source.path for source in sources)
    if song.mixture:
        yield song.mixture.path


def is_audio(name: str) -> bool:
    """Whether a name ends as audio files do."""
    return splitext(name)[1].lower() in AUDIO_SUFFIXES


def is_score(name: str) -> bool:
    """Whether a name ends as MIDI files do."""
    return splitext(name)[1].lower() in SCORE_SUFFIXES


def _why_not_used(name: str, else_because: str) -> str:
    return else_because if is_audio(name) else f"{NOT_AUDIO} ({splitext(name)[1] or 'no suffix'})"
