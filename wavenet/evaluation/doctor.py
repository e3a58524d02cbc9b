"""What the doctor found: what happens to each file, how much music that leaves, how good it can sound.

Plain data, and its JSON. Knows nothing of how it was found out or how it is shown. The invariant: a report
has one row for every path that was found, whatever became of it.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from wavenet.audio.silence import complement
from wavenet.data.floors import Floor

Verdict = Literal["kept", "partial", "dropped"]


@dataclass(frozen=True)
class NearCopy:
    """A recording that is nearly the same as a file's.

    offset_seconds: where it begins on the file's clock. agreement: share of equal bits of their fingerprints
    where they overlap. other_split: whether it lies in another split, so that what is learned is judged on.
    """

    path: str
    offset_seconds: float
    agreement: float
    other_split: bool = False


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
    """One path that was found. What could not be read of it is None; shares are from 0 to 1.

    reason: in words, for every verdict. stems: each stem that is in it. kept, kept_seconds and
    silence_share are, where it was separated, of the stem of which most is kept.
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


@dataclass(frozen=True)
class Totals:
    """Counts of files, and seconds of usable audio by stem and split."""

    num_files: int
    num_kept: int
    num_partial: int
    num_dropped: int
    seconds: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class DoctorReport:
    """All that the doctor says."""

    title: str
    files: list[FileReport]
    totals: Totals
    quantization: list[Floor]  # clips relative to the report
    warnings: list[str]
    config_yaml: str


def report_json(report: DoctorReport) -> dict[str, Any]:
    """The report as JSON-able values: files, totals, quantization, warnings.

    What is no number (NaN, infinite) is None; bytes of names that are no text are written as escapes.
    """
    return {
        "files": [_to_plain(asdict(file)) for file in report.files],
        "totals": _to_plain({**asdict(report.totals), "seconds": dict(report.totals.seconds)}),
        "quantization": [_to_plain(asdict(floor)) for floor in report.quantization],
        "warnings": _to_plain(report.warnings),
    }


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
