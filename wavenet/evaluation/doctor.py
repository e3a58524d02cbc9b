"""What the doctor found: what happens to each file, how much music that leaves, how good it can sound.

Plain data, and its JSON. Knows nothing of how it was found out or how it is shown. The invariant: every path
that was found has a row, whatever became of it; a file has several where it holds several stems or excerpts.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from wavenet.audio.silence import complement
from wavenet.data.floors import Floor

Verdict = Literal["kept", "partial", "dropped"]
Role = Literal["audio", "mixture", "score", "metadata", "other"]
"""What a file is there for; `other` for what is none of these, such as a cover or a folder."""
BESIDE = ("mixture", "score", "metadata")
"""Roles of files that are used, and are not what is trained on."""


@dataclass(frozen=True)
class NearCopy:
    """A recording that is nearly the same as a file's.

    offset_seconds: where it begins on the file's clock. agreement: share of equal bits of their fingerprints
    where they overlap. other_split: whether it lies in another split, so that what is learned is judged on.
    part: as in FileReport.
    """

    path: str
    offset_seconds: float
    agreement: float
    other_split: bool = False
    part: str = ""

    @property
    def name(self) -> str:
        return _name(self.path, self.part)


@dataclass(frozen=True)
class StemReport:
    """What happens to one stem of a file: to all of it, or to one that was separated from it.

    reason: in words, for every verdict. seconds: its length, None where it could not be read. kept:
    (start, end) seconds of what is used. cut_clip: audio of what is left out, relative to the report.
    """

    stem: str
    verdict: Verdict
    reason: str
    seconds: float | None = None
    kept_seconds: float = 0.0
    silence_share: float | None = None
    kept: list[tuple[float, float]] = field(default_factory=list)
    cut_clip: str | None = None

    @property
    def cut(self) -> list[tuple[float, float]]:
        """(start, end) seconds of what is left out."""
        return complement(self.kept, self.seconds or 0.0)

    @property
    def cut_seconds(self) -> float:
        return sum(end - start for start, end in self.cut)


@dataclass(frozen=True)
class FileReport:
    """One path that was found, or a part of it. What could not be read of it is None; shares are from 0 to 1.

    reason: in words, for every verdict. part: what tells the row from others of its path, see `tell_apart`.
    stream: which of a container's. start, end: seconds of an excerpt in its file, which is file_seconds
    long; None where the row is of all of it. seconds and all other places are on the excerpt's own clock.
    stems: each stem that is in it. kept, kept_seconds and silence_share are, where it was separated, of the
    stem of which most is kept. duplicate_of: the path of the file with the same audio that is used. idle:
    nothing is asked of it as configured.
    """

    path: str
    verdict: Verdict
    reason: str
    track: str | None = None
    stem: str | None = None
    split: str | None = None
    seconds: float | None = None
    kept_seconds: float | None = None
    sample_rate: int | None = None
    num_channels: int | None = None
    codec: str | None = None
    peak_db: float | None = None
    loudness_lufs: float | None = None
    clipped_share: float | None = None
    silence_share: float | None = None
    dc_offset: float | None = None
    duplicate_of: str | None = None
    near_duplicates: list[NearCopy] = field(default_factory=list)
    kept: list[tuple[float, float]] = field(default_factory=list)
    stems: list[StemReport] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    role: Role = "audio"
    part: str = ""
    stream: int | None = None
    start: float | None = None
    end: float | None = None
    file_seconds: float | None = None
    idle: bool = False

    @property
    def name(self) -> str:
        """The path, and which part of it: no two rows have the same."""
        return _name(self.path, self.part)

    @property
    def use(self) -> str:
        """The verdict in words, such as: in part, used as mixture."""
        if self.idle:
            return f"unused {self.role}"
        if self.verdict == "kept" and self.role in BESIDE:
            return f"used as {self.role}"
        return "in part" if self.verdict == "partial" else self.verdict


@dataclass(frozen=True)
class Totals:
    """Counts, and seconds of usable audio by stem and split.

    num_kept, num_partial, num_dropped: of files; partial is also one of which some stems are dropped.
    num_beside: files that are there for something else than audio to train on, by role. num_stems: of the
    stems of all songs, by verdict.
    """

    num_files: int
    num_kept: int
    num_partial: int
    num_dropped: int
    seconds: Mapping[str, Mapping[str, float]]
    num_beside: Mapping[str, int] = field(default_factory=dict)
    num_stems: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class DoctorReport:
    """All that the doctor says.

    warnings: what a person should know, short. notes: all that was noted of single songs, in full. layout:
    how the input was read; layout_guessed: whether nobody said so. page: the HTML, relative to the JSON where
    that lies beside it.
    """

    title: str
    files: list[FileReport]
    totals: Totals
    quantization: list[Floor]  # clips relative to the report
    warnings: list[str]
    config_yaml: str
    notes: list[str] = field(default_factory=list)
    layout: str = "album"
    layout_guessed: bool = True
    page: str = "doctor.html"


def count_files(files: Iterable[FileReport], seconds: Mapping[str, Mapping[str, float]]) -> Totals:
    """The totals of a report's rows. seconds: of usable audio, by stem and split."""
    files = list(files)
    beside = {file.path: file.role for file in files if file.role in BESIDE and file.verdict != "dropped"}
    verdicts: dict[str, set[Verdict]] = {}
    for file in files:
        if file.role not in BESIDE or file.verdict == "dropped":
            verdicts.setdefault(file.path, set()).add(file.verdict)
    counts = Counter(one.pop() if len(one) == 1 else "partial" for one in verdicts.values())
    stems = {(file.track, stem.stem): stem.verdict for file in files for stem in file.stems}
    return Totals(
        num_files=len({file.path for file in files}),
        num_kept=counts["kept"],
        num_partial=counts["partial"],
        num_dropped=counts["dropped"],
        seconds=seconds,
        num_beside=Counter(role for path, role in beside.items() if path not in verdicts),
        num_stems=Counter(stems.values()),
    )


def report_json(report: DoctorReport) -> dict[str, Any]:
    """The report as JSON-able values: layout, page, files, totals, quantization, warnings, notes.

    What is no number (NaN, infinite) is None; bytes of names that are no text are written as escapes.
    """
    return {
        "layout": report.layout,
        "layout_guessed": report.layout_guessed,
        "page": _to_plain(report.page),
        "files": [_to_plain(asdict(file)) for file in report.files],
        "totals": _to_plain(vars(report.totals)),
        "quantization": [_to_plain(asdict(floor)) for floor in report.quantization],
        "warnings": _to_plain(report.warnings),
        "notes": _to_plain(report.notes),
    }


def _name(path: str, part: str) -> str:
    return f"{path} [{part}]" if part else path


def _to_plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_to_plain(key): _to_plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain(part) for part in value]
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
