"""The doctor's report as plain tables, for a terminal and for the page: text in cells, problems first.

Knows nothing of HTML or of terminals. The invariants: every row is as long as its head, and a pair of
recordings is told once, whichever of the two names the other.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wavenet.data.floors import Floor
from wavenet.evaluation.doctor import DoctorReport, FileReport
from wavenet.evaluation.listening_page import UNKNOWN, format_number, format_seconds

SAME_REASON = 4
"""From as many files on, those of one reason are told together."""
MOST_TERMINAL_ROWS = 60
SPLIT_NAMES = {"train": "Train", "heldout": "Held out", "test": "Test"}

Table = tuple[str, list[str], list[list[str]]]
"""Title, head, rows."""


def doctor_table(report: DoctorReport) -> list[Table]:
    """The report as (title, head, rows) of plain text: music by stem, verdicts, measures, copies, floors.

    Of many files only those are listed that are not kept whole or have a warning; of those dropped for one
    reason the first stands for all.
    """
    tables = [_usable_table(report), _verdict_table(report), _measures_table(report)]
    if pairs := find_near_pairs(report.files):
        head = ["Recording", "Nearly the same as", "Begins at", "Agreement", "Splits"]
        tables.append(("Near-duplicates", head, [pair.cells for pair in pairs]))
    return [*tables, *(floor.table for floor in group_floors(report.quantization))]


@dataclass(frozen=True)
class NearPair:
    """Two recordings that are nearly the same, once."""

    first: str
    second: str
    offset_seconds: float
    agreement: float
    other_split: bool

    @property
    def cells(self) -> list[str]:
        return [
            self.first,
            self.second,
            f"{format_number(self.offset_seconds, 1, signed=True)} s",
            format_percent(self.agreement),
            "different" if self.other_split else "the same",
        ]


@dataclass(frozen=True)
class FloorTable:
    """The floor of one stem: dB by levels and rate."""

    stem: str
    cells: dict[tuple[int, int], Floor]  # by (levels, rate)

    @property
    def rates(self) -> list[int]:
        return sorted({rate for _, rate in self.cells})

    @property
    def levels(self) -> list[int]:
        return sorted({levels for levels, _ in self.cells})

    @property
    def configured(self) -> Floor | None:
        return next((floor for floor in self.cells.values() if floor.configured), None)

    @property
    def heard(self) -> list[Floor]:
        """The configured setting, then those that differ from it in one respect."""
        here = self.configured
        if here is None:
            return []
        row = [self.cells[key] for key in sorted(self.cells) if key[0] == here.quantization_channels]
        column = [self.cells[key] for key in sorted(self.cells) if key[1] == here.sample_rate]
        return [here, *(floor for floor in [*row, *column] if floor is not here)]

    @property
    def table(self) -> Table:
        rows = [
            [
                f"{format_number(levels)} levels",
                *(_floor_cell(self.cells.get((levels, rate))) for rate in self.rates),
            ]
            for levels in self.levels
        ]
        head = ["", *(f"{format_number(rate)} Hz" for rate in self.rates)]
        return f"Quantization floor of {self.stem}, dB (* as configured)", head, rows


def find_splits(report: DoctorReport) -> list[str]:
    """Train and held out always, another split where it has any music."""
    lengths = report.totals.seconds.values()
    used = {split for seconds in lengths for split, length in seconds.items() if length}
    usual = [split for split in SPLIT_NAMES if split in used or split != "test"]
    return usual + sorted(used - set(usual))


def group_by_reason(files: Iterable[FileReport]) -> list[tuple[str, list[FileReport]]]:
    """Files by why they were dropped; the reasons of few files first, they are what one can do about."""
    groups: dict[str, list[FileReport]] = {}
    for file in files:
        groups.setdefault(file.reason, []).append(file)
    return sorted(groups.items(), key=lambda group: len(group[1]) >= SAME_REASON)


def find_near_pairs(files: Sequence[FileReport]) -> list[NearPair]:
    """Each pair once, those in different splits first. A file is known by its path or as track/stem."""
    paths = {file.path for file in files}
    pairs: dict[frozenset[str], NearPair] = {}
    for file in files:
        for copy in file.near_duplicates:
            name = file.path if copy.path in paths else f"{file.track}/{file.stem}"
            pair = NearPair(name, copy.path, copy.offset_seconds, copy.agreement, copy.other_split)
            pairs.setdefault(frozenset((name, copy.path)), pair)
    return sorted(pairs.values(), key=lambda pair: (not pair.other_split, -pair.agreement))


def group_floors(floors: Iterable[Floor]) -> list[FloorTable]:
    """The floors of each stem as a table."""
    tables: dict[str, FloorTable] = {}
    for floor in floors:
        table = tables.setdefault(floor.stem, FloorTable(floor.stem, {}))
        table.cells[floor.quantization_channels, floor.sample_rate] = floor
    return list(tables.values())


def format_clock(seconds: float) -> str:
    """A place in a recording: 0:04.2, 12:30.0, 1:02:03.5."""
    minutes, rest = divmod(round(seconds * 10), 600)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:{minutes:02d}" if hours else f"{minutes}") + f":{rest / 10:04.1f}"


def format_regions(regions: Sequence[tuple[float, float]], most: int = 4) -> str:
    """Stretches of a recording in words; of many the first."""
    words = [f"{format_clock(start)} to {format_clock(end)}" for start, end in regions[:most]]
    more = [f"and {len(regions) - most} more"] if len(regions) > most else []
    return ", ".join([*words, *more])


def format_music(seconds: float) -> str:
    """A length of audio in words, a dash for none."""
    return format_seconds(seconds) if seconds > 0 else UNKNOWN


def format_percent(share: float | None) -> str:
    """A share in percent, with a decimal where it is small; a dash for what is unknown."""
    if share is None or not math.isfinite(share):
        return UNKNOWN
    percent = 100 * share
    if 0 < percent < 0.1:
        return "<0.1%"
    return f"{format_number(percent, 1 if 0 < percent < 10 or 99 < percent < 100 else 0)}%"


def _usable_table(report: DoctorReport) -> Table:
    totals, splits = report.totals, find_splits(report)
    title = (
        f"{totals.num_files} files: {totals.num_kept} kept, {totals.num_partial} in part, "
        f"{totals.num_dropped} dropped"
    )
    rows = [
        [stem, *(format_music(seconds.get(split, 0.0)) for split in splits)]
        for stem, seconds in totals.seconds.items()
    ]
    return title, ["Stem", *(SPLIT_NAMES.get(split, split) for split in splits)], rows


def _choose_files(files: Sequence[FileReport]) -> list[FileReport]:
    """Those to list, problems first: dropped, in part, then the whole ones, of many only the doubtful."""
    dropped = [file for file in files if file.verdict == "dropped"]
    partial = [file for file in files if file.verdict == "partial"]
    whole = [file for file in files if file.verdict == "kept"]
    if len(files) > MOST_TERMINAL_ROWS:
        whole = [file for file in whole if file.warnings or file.near_duplicates]
    return [*dropped, *partial, *whole]


def _verdict_table(report: DoctorReport) -> Table:
    files = _choose_files(report.files)
    rows = []
    for reason, alike in group_by_reason(file for file in files if file.verdict == "dropped"):
        if len(alike) >= SAME_REASON:
            rows.append([f"{alike[0].path} and {len(alike) - 1} more", "dropped", reason])
        else:
            rows += [[file.path, "dropped", reason] for file in alike]
    for file in files:
        if file.verdict != "dropped":
            verdict = "in part" if file.verdict == "partial" else file.verdict
            rows.append([file.path, verdict, "; ".join([file.reason, *file.warnings])])
    few = len(report.files) <= MOST_TERMINAL_ROWS
    title = "Files" if few else "Files that are not kept whole, or have a warning"
    return title, ["File", "Verdict", "Why"], rows


def _measures_table(report: DoctorReport) -> Table:
    head = ["File", "Length", "kHz", "Ch.", "Peak", "LUFS", "Clip", "Silent", "DC"]
    rows = [
        [
            file.path,
            format_clock(file.seconds),
            UNKNOWN if file.sample_rate is None else f"{file.sample_rate / 1000:g}",
            format_number(file.num_channels),
            format_number(file.peak_db, 1),
            format_number(file.loudness_lufs, 1),
            format_percent(file.clipped_share),
            format_percent(file.silence_share),
            format_number(file.dc_offset, 3, signed=True),
        ]
        for file in _choose_files(report.files)
        if file.seconds is not None
    ]
    return "Measures", head, rows


def _floor_cell(floor: Floor | None) -> str:
    if floor is None:
        return UNKNOWN
    return format_number(floor.snr_db, 1) + ("*" if floor.configured else "")
