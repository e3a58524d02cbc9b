"""What a plan is made of: which stem of which track is used, which parts of it, on which side of the split.

Decides nothing; `tasks.planning` does. The invariant: every stem of every song is in the plan or set aside
with a reason.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from tasks.records import ExaminationRecord, ScoreRecord, SongRecord, TrackRecord
from wavenet.config import Config
from wavenet.data.songs import Scan
from wavenet.data.splits import ALL_SPLITS, Split, TrackSplit, split_segments

Verdict = Literal["kept", "partial", "dropped"]
Regions = list[tuple[float, float]]


class PlanPart(BaseModel):
    """Base of what a plan is made of."""

    model_config = ConfigDict(frozen=True)


class IngestedSong(PlanPart):
    """A song and what became of it. decoded: the track before it was separated, else the same."""

    song: SongRecord
    decoded: TrackRecord
    track: TrackRecord


class PlannedTrack(PlanPart):
    """One track's share in a stem, as shards are made of it. kept: seconds, on the grid; None keeps all."""

    record: TrackRecord
    split: Split
    end_heldout: bool
    kept: Regions | None
    gain: float
    labels: dict[str, str]
    licence: str
    score: ScoreRecord | None


class StemOutcome(PlanPart):
    """What happens to one stem of one song. kept: (start, end) seconds of what is trained on."""

    song: str
    stem: str
    verdict: Verdict
    reason: str
    seconds: float | None = None
    silence_share: float | None = None
    kept: Regions = []
    split: Split | None = None
    duplicate_of: str | None = None

    @property
    def name(self) -> str:
        return f"{self.song}/{self.stem}"

    @property
    def kept_seconds(self) -> float:
        return sum(end - start for start, end in self.kept)


class BandPlan(BaseModel):
    """The stems that there is audio for, and what was left out on the way."""

    stems: dict[str, list[PlannedTrack]]
    outcomes: list[StemOutcome]
    set_aside: list[tuple[str, str]] = []  # files that are part of no song
    notes: list[str] = []
    splits: dict[str, TrackSplit] = {}

    @property
    def dropped(self) -> list[tuple[str, str]]:
        """All that is not used, and why."""
        return [*self.set_aside, *_name_dropped(self.outcomes)]


@dataclass(frozen=True)
class Prepared:
    """An input, up to what is going to be trained on. names: of each file in the input, by path."""

    scan: Scan
    names: dict[Path, str]
    ingested: list[IngestedSong]
    examinations: dict[str, ExaminationRecord]  # by track id
    plan: BandPlan

    def name_of(self, path: Path) -> str:
        return self.names.get(path, str(path))


def _name_dropped(outcomes: list[StemOutcome]) -> list[tuple[str, str]]:
    """Dropped stems by name, and why; a song that is there twice under its own."""
    by_song: dict[str, set[str]] = {}
    for one in outcomes:
        by_song.setdefault(one.song, set()).add(one.reason if one.verdict == "dropped" else "")
    told: dict[str, str] = {}
    for one in outcomes:
        if one.verdict == "dropped":
            whole = by_song[one.song] == {one.reason} and one.duplicate_of is not None
            told[one.song if whole else one.name] = one.reason
    return list(told.items())


def usable_seconds(plan: BandPlan, config: Config) -> dict[str, dict[str, float]]:
    """Seconds of audio that is used, by stem and split."""
    kept = {(outcome.song, outcome.stem): outcome.kept_seconds for outcome in plan.outcomes}
    seconds = {stem: {str(split): 0.0 for split in ALL_SPLITS} for stem in plan.stems}
    for stem, tracks in plan.stems.items():
        for track in tracks:
            parts = split_seconds(kept[track.record.name, stem], track, config)
            for split, length in parts.items():
                seconds[stem][split] += length
    return seconds


def split_seconds(kept_seconds: float, track: PlannedTrack, config: Config) -> dict[Split, float]:
    """Seconds of a planned track on each side of the split, of what is kept of it."""
    if not track.end_heldout:
        return {track.split: kept_seconds}
    segment_seconds = config.segment_length / config.ingest.sample_rate
    num_segments = math.ceil(round(kept_seconds / segment_seconds, 6))
    splits = split_segments(num_segments, "train", True, config.segmentation.heldout_share)
    train = min(kept_seconds, splits.count("train") * segment_seconds)
    return {"train": train, "heldout": kept_seconds - train}
