"""Finding songs in any input: the layout is guessed or named, and read.

Knows nothing of any layout's files, and opens no audio. The invariant: every name of the listing is used
by a song, was read as metadata, or is set aside with a reason; where there is no song, the error says
what was expected and what was found.
"""

from collections.abc import Callable
from dataclasses import dataclass

from wavenet.data import manifests
from wavenet.data.folders import WORKSPACE_MARK
from wavenet.data.layouts import album, groove, gtzan, musdb, nsynth, slakh, spoken_digit, stems
from wavenet.data.layouts.accounts import NOT_AUDIO
from wavenet.data.layouts.stems import stem_name
from wavenet.data.listing import Listing
from wavenet.data.songs import Scan, SetAside, Song
from wavenet.errors import ConfigError, NoAudioError

__all__ = ["NOT_AUDIO", "WORKSPACE_MARK", "Scan", "SetAside", "Song", "scan_input", "stem_name"]

Scanner = Callable[[Listing, str], Scan]


@dataclass(frozen=True)
class Layout:
    """How a layout is read when it is asked for, and what is then expected to be there."""

    scan: Scanner
    expected: str


MOST_EXAMPLES = 3
"""Reasons that are told, each with a file, where nothing is of use."""
AUDIO_FILES = ".wav, .flac, .mp3, .ogg, .m4a and other audio files, nested as you like"

LAYOUTS: dict[str, Layout] = {
    "album": Layout(album.scan, AUDIO_FILES),
    "stems": Layout(stems.scan, AUDIO_FILES),
    "musdb": Layout(musdb.scan, musdb.EXPECTED),
    "slakh": Layout(slakh.scan, slakh.EXPECTED),
    "groove": Layout(groove.scan, groove.EXPECTED),
    "gtzan": Layout(gtzan.scan, gtzan.EXPECTED),
    "spoken_digit": Layout(spoken_digit.scan, spoken_digit.EXPECTED),
    "nsynth": Layout(nsynth.scan, nsynth.EXPECTED),
    "manifest": Layout(manifests.scan, manifests.EXPECTED),
}

GUESSES: list[tuple[Callable[[Listing], bool], Scanner]] = [
    (manifests.recognize, manifests.scan),
    (groove.recognize, groove.scan),
    (nsynth.recognize, nsynth.scan),
    (slakh.recognize, slakh.scan),
    (gtzan.recognize, gtzan.scan),
    (spoken_digit.recognize, spoken_digit.scan),
    (musdb.recognize, musdb.scan),
    (stems.recognize, stems.scan_guessed),
]
"""In the order in which they are tried; what none recognizes is an album."""


def scan_input(listing: Listing, layout: str = "auto", track_stem: str = "mix") -> Scan:
    """The songs of an input, in the order of their names, or of the rows that list them.

    layout: of LAYOUTS, or `auto`: the first of GUESSES that recognizes its marks. track_stem: the stem
    that finished tracks are. Raises NoAudioError where there is no song, ConfigError for a manifest that
    is to be read as something else.
    """
    if listing.manifest and layout not in {"auto", "manifest"}:
        raise ConfigError(
            f"{listing.manifest}: ingest.layout={layout} does not go with a manifest, which says all itself; "
            "leave ingest.layout out, or name the folder"
        )
    scan = _choose(listing, layout)(listing, track_stem)
    if not scan.songs:
        raise _no_song(listing, scan, layout)
    return scan


def _choose(listing: Listing, layout: str) -> Scanner:
    if layout != "auto":
        return LAYOUTS[layout].scan
    return next((scan for recognize, scan in GUESSES if recognize(listing)), album.scan)


def _no_song(listing: Listing, scan: Scan, layout: str) -> NoAudioError:
    examples: dict[str, str] = {}
    for one in scan.set_aside:
        examples.setdefault(one.reason, f"{one.path}: {one.reason}")
    telling = sorted(examples, key=lambda reason: reason.startswith(NOT_AUDIO))
    such_as = "; ".join(examples[reason] for reason in telling[:MOST_EXAMPLES])
    found = f"{len(scan.set_aside)} of no use, such as {such_as}" if such_as else "nothing at all"
    insisted = "" if layout == "auto" else f" as ingest.layout={layout}"
    remedy = "; name the folder that holds these, or leave ingest.layout out" if insisted else ""
    where = f"{listing.root}/{listing.manifest}" if listing.manifest else listing.root
    return NoAudioError(
        f"{where}: no audio in it to work on{insisted} (found {found}); expected "
        f"{LAYOUTS[scan.layout].expected}{remedy}"
    )
