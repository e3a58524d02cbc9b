"""The doctor's report as one HTML file: how much music there is, then what is wrong, then all the rest.

Knows nothing of how files were examined. The invariants: the page needs no other file and no network,
whatever comes from names or files is escaped, the same report gives the same bytes, and however many files
there are it stays small enough to open: players and waveforms are capped, what is left out is named.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import jinja2
import soundfile

from wavenet.audio.silence import complement
from wavenet.evaluation.doctor import DoctorReport, FileReport
from wavenet.evaluation.doctor_tables import (
    SAME_REASON,
    SPLIT_NAMES,
    doctor_table,
    find_near_pairs,
    find_splits,
    format_clock,
    format_music,
    format_percent,
    format_regions,
    group_by_reason,
    group_floors,
)
from wavenet.evaluation.listening_page import audio_uri, format_number, format_seconds, make_environment
from wavenet.files import write_text

__all__ = ["PageExtras", "doctor_table", "write_doctor_page"]

TEMPLATE = Path(__file__).with_name("doctor_page.html.j2")
MOST_PLAYERS, MOST_PLAYER_BYTES = 60, 24 << 20
"""As many clips, and as many bytes of them, are put into the page; a browser takes both in a second."""
MOST_STRIPS = 100
OPEN_ROWS = 50
"""Longer lists are folded."""

STRIP_WIDTH, STRIP_HEIGHT = 400, 100


@dataclass(frozen=True)
class PageExtras:
    """What only the page shows of a file. outline: about 400 peaks from 0 to 1; clips: audio files."""

    outline: list[float] = field(default_factory=list)
    cut_clip: Path | None = None  # of what is left out
    kept_clip: Path | None = None


def write_doctor_page(report: DoctorReport, extras: Mapping[str, PageExtras], path: Path) -> None:
    """Write the report as one HTML file, whole or not at all.

    extras: by path of a file, where there are any. Clips of the quantization floor are found relative to
    the page's folder; a clip that is missing or no audio has no player. Raises AudioDecodeError for one
    that can be opened but not read.
    """
    view = _View(report, extras, path.parent)
    html = _environment().get_template(TEMPLATE.name).render(report=report, view=view)
    write_text(path, html.encode("utf-8", "backslashreplace").decode())  # names may hold stray bytes


class _View:
    """What the template asks for beyond the report itself."""

    open_rows, same_reason, most_strips = OPEN_ROWS, SAME_REASON, MOST_STRIPS
    strip_box = f"0 0 {STRIP_WIDTH} {STRIP_HEIGHT}"

    def __init__(self, report: DoctorReport, extras: Mapping[str, PageExtras], folder: Path) -> None:
        self.report, self.extras, self.folder = report, extras, folder
        self.floors = group_floors(report.quantization)
        self.pairs = find_near_pairs(report.files)
        self.copies = [file for file in report.files if file.duplicate_of is not None]
        self.dropped = group_by_reason(
            file for file in report.files if file.verdict == "dropped" and file.duplicate_of is None
        )
        partial = [file for file in report.files if file.verdict == "partial"]
        self.partial = sorted(partial, key=lambda file: -_cut_seconds(file))
        used = [file for file in report.files if file.verdict != "dropped"]
        self.heard = [file for file in used if file.seconds is not None]
        self.other = [file for file in used if file.seconds is None]
        self.splits = find_splits(report)

    @property
    def usable_seconds(self) -> float:
        return sum(sum(splits.values()) for splits in self.report.totals.seconds.values())

    @property
    def longest_seconds(self) -> float:
        """Of the stem that there is most of; the bars are drawn against it."""
        return max((sum(splits.values()) for splits in self.report.totals.seconds.values()), default=0.0)

    @property
    def warned(self) -> list[FileReport]:
        return [file for file in self.report.files if file.warnings]

    @cached_property
    def players(self) -> frozenset[Path]:
        """The clips that are put into the page: of each stem as configured, of what is cut, then the rest."""
        heard = [[self.folder / floor.clip for floor in floors.heard] for floors in self.floors]
        cuts = [
            clip
            for file in self.partial[:MOST_STRIPS]
            for extras in [self.extras.get(file.path, PageExtras())]
            for clip in (extras.cut_clip, extras.kept_clip)
            if clip is not None
        ]
        first = [clips[0] for clips in heard if clips]
        rest = [clip for clips in heard for clip in clips[1:]]
        return _within_budget([*first, *cuts, *rest])

    @property
    def num_silent(self) -> int:
        """Partial files of which what is cut could be heard, but not on the page."""
        clips = {extras.cut_clip for extras in self.extras.values() if extras.cut_clip is not None}
        return len(clips - self.players)

    @property
    def cuts_folder(self) -> str:
        clips = [extras.cut_clip for extras in self.extras.values() if extras.cut_clip is not None]
        return clips[0].parent.name if clips else ""


def outline_path(outline: Sequence[float]) -> str:
    """An SVG path of a waveform's outline, mirrored, as high as its highest peak allows."""
    if not outline:
        return ""
    middle, highest = STRIP_HEIGHT / 2, max(max(outline), 1e-9)
    places = [round(STRIP_WIDTH * number / max(1, len(outline) - 1)) for number in range(len(outline))]
    heights = [max(1, round(middle * max(0.0, peak) / highest)) for peak in outline]
    points = [(place, middle - height) for place, height in zip(places, heights, strict=True)]
    points += [(place, middle + height) for place, height in zip(places[::-1], heights[::-1], strict=True)]
    return "M" + "L".join(f"{x} {y:.0f}" for x, y in points) + "Z"


def cut_regions(file: FileReport) -> list[tuple[float, float]]:
    """(start, end) seconds of what is left out of a file."""
    return complement([(start, end) for start, end in file.kept], file.seconds or 0.0)


def _cut_seconds(file: FileReport) -> float:
    return sum(end - start for start, end in cut_regions(file))


def _within_budget(clips: Iterable[Path]) -> frozenset[Path]:
    """As many of the clips, in order, as a page may hold."""
    chosen: set[Path] = set()
    num_bytes = 0
    for clip in dict.fromkeys(clips):
        size = _embedded_bytes(clip)
        if size is not None and len(chosen) < MOST_PLAYERS and num_bytes + size <= MOST_PLAYER_BYTES:
            chosen.add(clip)
            num_bytes += size
    return frozenset(chosen)


def _embedded_bytes(clip: Path) -> int | None:
    """The length of a clip as base64 of 16-bit samples; None for one that is not there or no audio."""
    try:
        info = soundfile.info(clip)
    except (soundfile.SoundFileError, OSError):
        return None
    return math.ceil(2 * info.frames * info.channels * 4 / 3)


def _environment() -> jinja2.Environment:
    environment = make_environment(
        audio_uri, format_number, format_seconds, format_clock, format_regions, format_music, format_percent,
        outline_path, cut_regions,
    )  # fmt: skip
    environment.globals["split_names"] = SPLIT_NAMES
    return environment
