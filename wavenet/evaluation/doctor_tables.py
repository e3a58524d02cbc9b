"""The doctor's report as plain tables, for a terminal and for the page: text in cells, problems first.

Knows nothing of HTML or of terminals. The invariants: every row is as long as its head, a pair of recordings
is told once, whichever of the two names the other, and however many files there are, the tables are short:
the worst are listed, the rest is counted.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wavenet.data.floors import Floor
from wavenet.evaluation.doctor import BESIDE, DoctorReport, FileReport
from wavenet.evaluation.doctor_words import SAME_REASON, format_clock, format_counts
from wavenet.evaluation.listening_page import UNKNOWN, format_number, format_seconds

FEW_ROWS = 8
"""So many files are listed one by one, whatever becomes of them."""
MOST_ROWS = 10
"""Of more problems of a kind the worst are listed."""
MOST_STEMS = 20
OVER = "†"
"""Marks a floor that is no matter of rounding: peaks that are clipped."""
SPLIT_NAMES = {"train": "Train", "heldout": "Held out", "test": "Test"}

Table = tuple[str, list[str], list[list[str]]]
"""Title, head, rows."""


def doctor_table(report: DoctorReport) -> list[Table]:
    """The report as (title, head, rows) of plain text: music by stem, verdicts, measures, copies, floors.

    Few files are listed one by one. Of many those are that are not kept whole or have a warning, the worst
    of each kind; the others, and those dropped for one reason, are told together.
    """
    tables = [_usable_table(report), _verdict_table(report), _measures_table(report)]
    if pairs := find_near_pairs(report.files):
        head = ["Recording", "Nearly the same as", "Begins at", "Agreement", "Splits"]
        tables.append(("Near-duplicates", head, _cap([pair.cells for pair in pairs])))
    return [table for table in [*tables, *_floor_tables(report)] if table[2] or table is tables[0]]


def list_files(report: DoctorReport, most: int) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a list of all files one by one, those to look at first; of very many the first."""
    files = [*_find_doubtful(report.files), *_find_clean(report.files)]
    head = ["File", "Verdict", "Length", "Peak", "LUFS", "Clip", "Silent", "Why"]
    rows = []
    for file in files[:most]:
        _, length, _, _, peak, loudness, clip, silent, _ = _measures_row(file)
        _, use, why = _verdict_row([file])
        length = UNKNOWN if file.seconds is None else length
        rows.append([file.name, use, length, peak, loudness, clip, silent, why])
    if len(files) > most:
        rows.append([f"and {len(files) - most:,} more, in the report", *[""] * (len(head) - 1)])
    return head, rows


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
    def overshoots(self) -> bool:
        """Whether some figure is no matter of rounding, but of peaks that are clipped."""
        return any(floor.overshoots for floor in self.cells.values())

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
        told = _floor_marks(self.cells.values())
        return f"Quantization floor of {self.stem}, dB ({told})", head, rows


def find_splits(report: DoctorReport) -> list[str]:
    """Train and held out always, another split where it has any music."""
    lengths = report.totals.seconds.values()
    used = {split for seconds in lengths for split, length in seconds.items() if length}
    usual = [split for split in SPLIT_NAMES if split in used or split != "test"]
    return usual + sorted(used - set(usual))


def group_by_reason(files: Iterable[FileReport]) -> list[tuple[str, list[FileReport]]]:
    """Files by why they were dropped; the reasons of few files first, they are what one can do about.

    What is no audio comes after what is.
    """
    groups: dict[str, list[FileReport]] = {}
    for file in files:
        groups.setdefault(file.reason, []).append(file)
    return sorted(
        groups.items(), key=lambda group: (len(group[1]) >= SAME_REASON, group[1][0].role == "other")
    )


def find_near_pairs(files: Sequence[FileReport]) -> list[NearPair]:
    """Each pair once, those in different splits first."""
    pairs: dict[frozenset[str], NearPair] = {}
    for file in files:
        for copy in file.near_duplicates:
            pair = NearPair(file.name, copy.name, copy.offset_seconds, copy.agreement, copy.other_split)
            pairs.setdefault(frozenset((file.name, copy.name)), pair)
    return sorted(pairs.values(), key=lambda pair: (not pair.other_split, -pair.agreement))


def group_floors(floors: Iterable[Floor]) -> list[FloorTable]:
    """The floors of each stem as a table."""
    tables: dict[str, FloorTable] = {}
    for floor in floors:
        table = tables.setdefault(floor.stem, FloorTable(floor.stem, {}))
        table.cells[floor.quantization_channels, floor.sample_rate] = floor
    return list(tables.values())


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
    if 99.95 <= percent < 100:
        return ">99.9%"
    return f"{format_number(percent, 1 if 0 < percent < 10 or 99 < percent < 100 else 0)}%"


def _cap(rows: list[list[str]], most: int = MOST_ROWS) -> list[list[str]]:
    """The first of many rows, and how many more there are."""
    if len(rows) <= most:
        return rows
    return [*rows[:most], [f"and {len(rows) - most:,} more, in the JSON", *[""] * (len(rows[0]) - 1)]]


def _usable_table(report: DoctorReport) -> Table:
    splits = find_splits(report)
    rows = [
        [stem, *(format_music(seconds.get(split, 0.0)) for split in splits)]
        for stem, seconds in report.totals.seconds.items()
    ]
    head = ["Stem", *(SPLIT_NAMES.get(split, split) for split in splits)]
    return format_counts(report), head, _cap(rows, MOST_STEMS)


def _find_doubtful(files: Sequence[FileReport]) -> list[FileReport]:
    """Those to look at, the worst first: dropped, in part, then whole ones with a warning."""
    dropped = [file for file in files if file.verdict == "dropped"]
    partial = [file for file in files if file.verdict == "partial"]
    warned = [file for file in files if file.verdict == "kept" and file.warnings]
    partial.sort(key=lambda file: (file.kept_seconds or 0.0) - (file.seconds or 0.0))
    warned.sort(key=lambda file: -(file.clipped_share or 0.0))
    return [*dropped, *partial, *warned]


def _find_clean(files: Sequence[FileReport]) -> list[FileReport]:
    """All others, those that are not trained on last."""
    clean = [file for file in files if file.verdict == "kept" and not file.warnings]
    return sorted(clean, key=lambda file: file.role in BESIDE)


def _verdict_table(report: DoctorReport) -> Table:
    """What becomes of files, and why."""
    doubtful, clean = _find_doubtful(report.files), _find_clean(report.files)
    few = len(report.files) <= FEW_ROWS
    rows = _cap_groups(group_by_reason(file for file in doubtful if file.verdict == "dropped"))
    for verdict in ("partial", "kept"):
        rows += _cap([_verdict_row([file]) for file in doubtful if file.verdict == verdict])
    for alike in [[file] for file in clean] if few else _group_by_use(clean):
        rows.append(_verdict_row(alike))
    return "Files", ["File", "Verdict", "Why"], rows


def _cap_groups(groups: Iterable[tuple[str, list[FileReport]]]) -> list[list[str]]:
    """The rows of dropped files: few of one reason each by itself, many together."""
    together = []
    for _, alike in groups:
        together += [alike] if len(alike) >= SAME_REASON else [[file] for file in alike]
    left = sum(map(len, together[MOST_ROWS:]))
    return [_verdict_row(alike) for alike in together[:MOST_ROWS]] + (
        [[f"and {left:,} more, in the JSON", "dropped", ""]] if left else []
    )


def _group_by_use(files: Iterable[FileReport]) -> list[list[FileReport]]:
    """Files by what they are used as."""
    groups: dict[str, list[FileReport]] = {}
    for file in files:
        groups.setdefault(file.use, []).append(file)
    return list(groups.values())


def _verdict_row(alike: list[FileReport]) -> list[str]:
    """The row of a file, or of several for which the first stands."""
    first, others = alike[0], len(alike) - 1
    name = f"{first.name} and {others:,} more" if others else first.name
    return [name, first.use, "; ".join([first.reason, *first.warnings])]


def _measures_table(report: DoctorReport) -> Table:
    """What was measured of files; of many, of those to look at."""
    title, files = "Measures of files to look at", _find_doubtful(report.files)
    if len(report.files) <= FEW_ROWS:
        title, files = "Measures", [*files, *_find_clean(report.files)]
    head = ["File", "Length", "kHz", "Ch.", "Peak", "LUFS", "Clip", "Silent", "DC"]
    return title, head, _cap([_measures_row(file) for file in files if file.seconds is not None])


def _measures_row(file: FileReport) -> list[str]:
    return [
        file.name,
        format_clock(file.seconds or 0.0),
        UNKNOWN if file.sample_rate is None else f"{file.sample_rate / 1000:g}",
        format_number(file.num_channels),
        format_number(file.peak_db, 1),
        format_number(file.loudness_lufs, 1),
        format_percent(file.clipped_share),
        format_percent(file.silence_share),
        format_number(file.dc_offset, 3, signed=True),
    ]


def _floor_tables(report: DoctorReport) -> list[Table]:
    """The floor of an only stem for all settings; those of several side by side, at the configured rate."""
    floors = group_floors(report.quantization)
    if len(floors) < 2 or (here := floors[0].configured) is None:
        return [floor.table for floor in floors]
    rate, levels = here.sample_rate, floors[0].levels
    rows = [[floor.stem, *(_floor_cell(floor.cells.get((n, rate))) for n in levels)] for floor in floors]
    told = _floor_marks(cell for floor in floors for n in levels if (cell := floor.cells.get((n, rate))))
    title = f"Quantization floor at {format_number(rate)} Hz, dB ({told}; other rates on the page)"
    return [(title, ["Stem", *(f"{format_number(n)} levels" for n in levels)], _cap(rows, MOST_STEMS))]


def _floor_cell(floor: Floor | None) -> str:
    if floor is None:
        return UNKNOWN
    marks = ("*" if floor.configured else "") + (OVER if floor.overshoots else "")
    return format_number(floor.snr_db, 1) + marks


def _floor_marks(cells: Iterable[Floor]) -> str:
    over = f"; {OVER} of peaks clipped at that rate" if any(cell.overshoots for cell in cells) else ""
    return f"* as configured{over}"
