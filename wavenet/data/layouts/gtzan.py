"""The layout `gtzan`: GTZAN (Tzanetakis and Cook 2002), a thousand clips of 30 s in ten genres.

    genres/blues/blues.00000.au                the original
    genres_original/blues/blues.00000.wav      as it is passed on today

It has no split of its own. One clip of the newer form, jazz.00054.wav, cannot be decoded.
"""

import re

from wavenet.audio.decoding import AudioSource
from wavenet.data.layouts.accounts import account_for_all
from wavenet.data.listing import Listing
from wavenet.data.songs import Scan, Song

EXPECTED = "genres/GENRE/GENRE.00000.au or genres_original/GENRE/GENRE.00000.wav"
CLIP = re.compile(r"((?:.*/)?genres(?:_original)?/(?P<genre>[^/]+)/(?P=genre)\.\d{5})\.(?:wav|au)")
GENRES = frozenset(
    {"blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock"}
)


def recognize(listing: Listing) -> bool:
    """Whether all ten genres have clips."""
    return {found["genre"] for name in listing.names if (found := CLIP.fullmatch(name))} >= GENRES


def scan(listing: Listing, track_stem: str) -> Scan:
    """A song of each clip, labelled with its genre."""
    songs = [
        Song(found[1], {track_stem: [AudioSource(listing.path(name))]}, labels={"genre": found["genre"]})
        for name in listing.names
        if (found := CLIP.fullmatch(name))
    ]
    return account_for_all(listing, "gtzan", songs, reasons={})
