"""The layout `spoken_digit`: the Free Spoken Digit Dataset (Jackson 2016), one digit a file, 8 kHz.

    recordings/7_jackson_32.wav      digit, speaker, and the number of the recording

By its makers' rule recordings 0 to 4 of each digit and speaker are for testing. There is no third part,
so they are what is held out.
"""

import re

from wavenet.audio.decoding import AudioSource
from wavenet.data.layouts.accounts import account_for_all, is_audio
from wavenet.data.listing import Listing
from wavenet.data.songs import Scan, Song

EXPECTED = "recordings/DIGIT_SPEAKER_NUMBER.wav, such as recordings/7_jackson_32.wav"
RECORDING = re.compile(
    r"((?:.*/)?recordings/(?P<digit>\d)_(?P<speaker>[^\W\d_]+)_(?P<number>\d{1,4}))\.wav", re.A
)
STEM = "speech"
NUM_HELDOUT = 5
"""Recordings of each digit and speaker that are held out: the first."""
LICENCE = "CC BY-SA 4.0 (Free Spoken Digit Dataset)"


def recognize(listing: Listing) -> bool:
    """Whether all audio is such recordings."""
    audio = [name for name in listing.names if is_audio(name)]
    return bool(audio) and all(RECORDING.fullmatch(name) for name in audio)


def scan(listing: Listing, track_stem: str) -> Scan:
    """A song of each recording, labelled with digit and speaker."""
    songs = [
        Song(
            name=found[1],
            stems={STEM: [AudioSource(listing.path(name))]},
            split="heldout" if int(found["number"]) < NUM_HELDOUT else "train",
            labels={"digit": found["digit"], "speaker": found["speaker"]},
            licence=LICENCE,
        )
        for name in listing.names
        if (found := RECORDING.fullmatch(name))
    ]
    return account_for_all(listing, "spoken_digit", songs, reasons={})
