"""The doctor's report as one HTML file: how much music there is, then what is wrong, then all the rest.

Knows nothing of how files were examined. The invariants: the page needs no other file and no network,
whatever comes from names or files is escaped, the same report gives the same bytes, and however many files
there are it stays small enough to open: players and waveforms are capped, what is left out is named.
"""

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import jinja2
import soundfile

from wavenet.data.tracks import CLIPPED_TO_TELL
from wavenet.evaluation.doctor import DoctorReport, FileReport, StemReport
from wavenet.evaluation.doctor_tables import (
    SPLIT_NAMES,
    doctor_table,
    find_near_pairs,
    find_splits,
    format_music,
    format_percent,
    format_regions,
    group_by_reason,
    group_floors,
)
from wavenet.evaluation.doctor_words import (
    SAME_REASON,
    count_rows,
    format_clock,
    format_layout,
    format_length,
    format_stem_counts,
)
from wavenet.evaluation.listening_page import audio_uri, format_number, format_seconds, make_environment
from wavenet.files import write_text

__all__ = ["doctor_table", "write_doctor_page"]

TEMPLATE = Path(__file__).with_name("doctor_page.html.j2")
MOST_PLAYERS, MOST_PLAYER_BYTES = 60, 24 << 20
"""As many clips, and as many bytes of them, are put into the page; a browser takes both in a second."""
MOST_STRIPS = 100
OPEN_ROWS = 50
"""Longer lists are folded."""
MOST_PAIRS = 1000

STRIP_WIDTH, STRIP_HEIGHT = 400, 100


Outlines = Mapping[tuple[str, str], list[float]]
"""By track and stem: about 400 peaks from 0 to 1."""


def write_doctor_page(report: DoctorReport, outlines: Outlines, path: Path) -> None:
    """Write the report as one HTML file, whole or not at all.

    outlines: of stems of which something is left out. Clips are found relative to the page's folder; one
    that is missing or no audio has no player. Raises AudioDecodeError for one that can be opened but not
    read.
    """
    view = _View(report, outlines, path.parent)
    html = _environment().get_template(TEMPLATE.name).render(report=report, view=view)
    write_text(path, html.encode("utf-8", "backslashreplace").decode())  # names may hold stray bytes


class _View:
    """What the template asks for beyond the report itself."""

    open_rows, same_reason = OPEN_ROWS, SAME_REASON
    strip_box = f"0 0 {STRIP_WIDTH} {STRIP_HEIGHT}"

    def __init__(self, report: DoctorReport, outlines: Outlines, folder: Path) -> None:
        self.report, self.outlines, self.folder = report, outlines, folder
        self.floors = group_floors(report.quantization)
        pairs = find_near_pairs(report.files)
        self.pairs, self.more_pairs = pairs[:MOST_PAIRS], len(pairs[MOST_PAIRS:])
        self.copies = [file for file in report.files if file.duplicate_of is not None]
        self.dropped = group_by_reason(
            file for file in report.files if file.verdict == "dropped" and file.duplicate_of is None
        )
        self.partial = _group_partial(report.files)
        num_strips = accumulate(len(part.cut) for part in self.partial)
        self.shown = [
            part for part, number in zip(self.partial, num_strips, strict=True) if number <= MOST_STRIPS
        ]
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
    def num_beside(self) -> int:
        """Files that are used, and not trained on."""
        return sum(self.report.totals.num_beside.values())

    @property
    def rare(self) -> list[FileReport]:
        """What was dropped for reasons of few files."""
        return [file for _, files in self.dropped if len(files) < SAME_REASON for file in files]

    @property
    def unsaid(self) -> list[str]:
        """Notes of songs that the warnings told of by others."""
        said = set(self.report.warnings)
        return [note for note in self.report.notes if note not in said]

    @property
    def warned(self) -> list[FileReport]:
        return [file for file in self.report.files if file.warnings]

    @property
    def num_clipped(self) -> int:
        """Files whose warnings tell of clipping, for where the list is folded."""
        return sum((file.clipped_share or 0.0) > CLIPPED_TO_TELL for file in self.warned)

    @property
    def unused(self) -> bool:
        """Whether there is a clip of a separated stem that is not used at all."""
        return any(s.verdict == "dropped" and s.cut_clip for part in self.shown for s in part.cut)

    @cached_property
    def players(self) -> frozenset[Path]:
        """The clips that are put into the page: of each stem as configured, of what is cut, then the rest."""
        heard = [[self.folder / floor.clip for floor in floors.heard] for floors in self.floors]
        cuts = [
            self.folder / stem.cut_clip
            for part in self.shown
            for stem in part.cut
            if stem.cut_clip is not None
        ]
        first = [clips[0] for clips in heard if clips]
        rest = [clip for clips in heard for clip in clips[1:]]
        return _within_budget([*first, *cuts, *rest])


@dataclass(frozen=True)
class _Part:
    """A file that is kept in part, or files that are one stem together. cut: its stems that are not whole."""

    files: list[FileReport]
    cut: list[StemReport]

    @property
    def cut_seconds(self) -> float:
        """How much is left out of stems that are used."""
        return sum(stem.cut_seconds for stem in self.cut if stem.verdict == "partial")

    @property
    def whole(self) -> list[str]:
        """Stems of which nothing is left out."""
        return [stem.stem for stem in self.files[0].stems if stem.verdict == "kept"]


def _group_partial(files: Iterable[FileReport]) -> list[_Part]:
    """What is kept in part, that of which most is left out first."""
    groups: dict[tuple[str | None, str | None], list[FileReport]] = {}
    for file in files:
        if file.verdict == "partial":
            groups.setdefault((file.track, file.stem), []).append(file)
    parts = [_Part(group, _find_cut(group[0].stems)) for group in groups.values()]
    return sorted(parts, key=lambda part: -part.cut_seconds)


def _find_cut(stems: Iterable[StemReport]) -> list[StemReport]:
    """Stems that are not whole: those used in part, then those that are not used at all."""
    return sorted(
        (stem for stem in stems if stem.verdict != "kept"), key=lambda stem: stem.verdict == "dropped"
    )


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


def clip_uri(clip: Path) -> str:
    """A clip as a data: URI, FLAC as it is: what is nearly silent is small so."""
    if clip.suffix != ".flac":
        return audio_uri(clip)
    return f"data:audio/flac;base64,{base64.b64encode(clip.read_bytes()).decode('ascii')}"


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
    """The length of a clip as base64, see `clip_uri`; None for one that is not there or no audio."""
    try:
        info = soundfile.info(clip)
    except (soundfile.SoundFileError, OSError):
        return None
    num_bytes = clip.stat().st_size if clip.suffix == ".flac" else 2 * info.frames * info.channels
    return math.ceil(num_bytes * 4 / 3)


def _environment() -> jinja2.Environment:
    environment = make_environment(
        format_number, format_seconds, format_clock, format_regions, format_music, format_percent,
        format_layout, format_length, format_stem_counts, count_rows, outline_path, clip_uri,
    )  # fmt: skip
    environment.globals["split_names"] = SPLIT_NAMES
    return environment
