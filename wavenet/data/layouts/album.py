"""The layout `album`: every audio file is a finished track, nested as you like.

A MIDI file of the same name beside it is the score of the whole track.
"""

from collections import Counter
from posixpath import splitext

from wavenet.audio.decoding import AudioSource
from wavenet.data.layouts.accounts import account_for_all, is_audio, is_score
from wavenet.data.listing import Listing
from wavenet.data.songs import Scan, Song


def scan(listing: Listing, track_stem: str) -> Scan:
    """A song of each audio file, named without its suffix where that leaves no two of one name."""
    full = [name for name in listing.names if is_audio(name)]
    short = [splitext(name)[0] for name in full]
    uses = Counter(full + short)
    scores = {splitext(name)[0]: listing.path(name) for name in reversed(listing.names) if is_score(name)}
    songs = [
        Song(
            name=brief if uses[brief] == 1 else whole,
            stems={track_stem: [AudioSource(listing.path(whole))]},
            scores={"": scores[brief]} if brief in scores else {},
        )
        for brief, whole in zip(short, full, strict=True)
    ]
    return account_for_all(listing, "album", songs, reasons={})
