"""What is made of an input: songs, their files, and the files set aside.

Knows nothing of how they are found or decoded; layouts (`layouts.py`, `scan.py`) make these, ingest
reads them.
"""

from dataclasses import dataclass, field
from pathlib import Path

from wavenet.audio.decoding import AudioSource
from wavenet.data.splits import Split


@dataclass(frozen=True)
class SetAside:
    """A file that is not used, and why, for the report."""

    path: str  # relative to the input
    reason: str


@dataclass(frozen=True)
class Song:
    """Files that belong together: a track to be.

    stems: the files of each stem, which are summed where there are several (two guitars of a band).
    mixture is kept apart: it is no stem. scores: the .mid of each stem; that of the whole song under "".
    split: what the data set or manifest says; None leaves it to the track's digest. labels: for global
    conditioning, such as artist or genre.
    """

    name: str
    stems: dict[str, list[AudioSource]]
    mixture: AudioSource | None = None
    scores: dict[str, Path] = field(default_factory=dict)
    split: Split | None = None
    labels: dict[str, str] = field(default_factory=dict)
    licence: str | None = None


@dataclass(frozen=True)
class Scan:
    """What an input holds. Every name found is in a song, in `metadata`, or set aside with a reason."""

    layout: str
    songs: list[Song]
    set_aside: list[SetAside] = field(default_factory=list)
    metadata: list[str] = field(default_factory=list)  # names that were read for what they say of songs
