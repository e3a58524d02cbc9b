"""The plan: which stem of which track is used, which parts of it, and on which side of the split.

Reads records and envelopes, writes nothing. The invariant: every stem of every song is in the plan or
set aside with a reason, and what the doctor says is what the shards are made of.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from tasks.ingest import score_record
from tasks.records import ExaminationRecord, ScoreRecord, SongRecord, TrackRecord
from tasks.workspace import Workspace
from wavenet.audio.io import envelope_hop
from wavenet.audio.silence import find_sounding, silence_share
from wavenet.config import Config, SegmentationConfig
from wavenet.data.scores import read_notes
from wavenet.data.segments import count_segments, keep_segments, kept_regions
from wavenet.data.songs import Scan
from wavenet.data.splits import Candidate, Split, TrackSplit, choose_splits
from wavenet.data.tracks import StemAudio, Track, load_envelope
from wavenet.errors import ScoreError

Verdict = Literal["kept", "partial", "dropped"]
Regions = list[tuple[float, float]]
GAIN_TO_TELL_DB = 12.0


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


def plan_band(
    place: Workspace,
    ingested: Sequence[IngestedSong],
    config: Config,
    known: Mapping[str, TrackSplit],
    examinations: Mapping[str, ExaminationRecord] = {},
) -> BandPlan:
    """Decide what is used, and the split. known: splits decided before. examinations: of each track id."""
    judged = _judge(place, ingested, config)
    usable = [(one, outcomes) for one, outcomes in judged if any(o.verdict != "dropped" for o in outcomes)]
    candidates = {
        one.track.track.track_id: Candidate(
            sorted(o.stem for o in outcomes if o.verdict != "dropped"), one.song.song.split
        )
        for one, outcomes in usable
    }
    splits = choose_splits(candidates, config.segmentation.heldout_share, known)
    stems: dict[str, list[PlannedTrack]] = {}
    told: list[StemOutcome] = []
    notes = [f"{one.track.name}: {note}" for one in ingested for note in one.track.track.notes]
    for one, outcomes in judged:
        split = splits.get(one.track.track.track_id)
        for outcome in outcomes:
            if outcome.verdict == "dropped" or split is None:
                told.append(outcome)
                continue
            gain = _gain(one.track, config.segmentation, examinations)
            score = _find_score(one, outcome.stem, config, notes)
            stems.setdefault(outcome.stem, []).append(_planned(one, outcome, split, gain, score, config))
            told.append(outcome.model_copy(update={"split": split.split}))
    notes += [*_missing_stems(usable, stems), *_loud_gains(stems, config), *_short_pieces(told, config)]
    given = {one.track.track.track_id for one in ingested if one.song.song.split is not None}
    remembered = {track: split for track, split in splits.items() if track not in given or split.ends}
    for planned in stems.values():
        planned.sort(key=lambda track: track.record.track.track_id)  # whatever songs are called
    return BandPlan(stems=dict(sorted(stems.items())), outcomes=told, notes=notes, splits=remembered)


def _judge(
    place: Workspace, ingested: Sequence[IngestedSong], config: Config
) -> list[tuple[IngestedSong, list[StemOutcome]]]:
    """What happens to every stem of every song, but for the split."""
    first: dict[str, str] = {}
    judged = []
    for one in ingested:
        track = one.track.track
        outcomes = [
            StemOutcome(song=one.track.name, stem=stem, verdict="dropped", reason=reason)
            for stem, reason in track.set_aside.items()
        ]
        twin = first.get(track.track_id) if track.stems else None
        for stem, audio in track.stems.items():
            outcome = _judge_stem(place, one.track, stem, audio, config)
            if twin is not None:
                twice = {"verdict": "dropped", "reason": f"the same audio as {twin}", "duplicate_of": twin}
                outcome = outcome.model_copy(update={**twice, "kept": []})
            outcomes.append(outcome)
        if track.stems:
            first.setdefault(track.track_id, one.track.name)
        judged.append((one, outcomes))
    return judged


def _judge_stem(
    place: Workspace, record: TrackRecord, stem: str, audio: StemAudio, config: Config
) -> StemOutcome:
    """Whether a stem is wanted, long enough, loud enough, and which parts of it sound."""
    track = record.track
    seconds = audio.num_samples / track.sample_rate
    sounding = _find_sounding(place.path(record.folder) / audio.envelope_file, track, config)
    outcome = StemOutcome(
        song=record.name,
        stem=stem,
        verdict="dropped",
        reason="",
        seconds=seconds,
        silence_share=silence_share(sounding, seconds),
    )
    if reason := _why_not(stem, seconds, sounding, track, config):
        return outcome.model_copy(update={"reason": reason})
    num_samples = round(seconds * config.ingest.sample_rate)
    kept = [(0.0, seconds)]
    if config.segmentation.silence.cut:
        length, rate = config.segment_length, config.ingest.sample_rate
        keep = keep_segments(sounding, count_segments(num_samples, length), length, rate)
        kept = kept_regions(keep, num_samples, length, rate)
    cut = seconds - sum(end - start for start, end in kept)
    if cut * config.ingest.sample_rate < 1:
        return outcome.model_copy(update={"verdict": "kept", "reason": "whole", "kept": [(0.0, seconds)]})
    reason = f"{cut:.1f} s of silence cut"
    return outcome.model_copy(update={"verdict": "partial", "reason": reason, "kept": kept})


def _find_sounding(envelope: Path, track: Track, config: Config) -> Regions:
    frame_seconds = envelope_hop(track.sample_rate) / track.sample_rate
    return find_sounding(load_envelope(envelope), frame_seconds, config.segmentation.silence)


def _why_not(stem: str, seconds: float, sounding: Regions, track: Track, config: Config) -> str | None:
    wanted = config.ingest.stems
    if wanted is not None and stem not in wanted:
        return f"not among ingest.stems ({', '.join(wanted)})"
    field = config.for_stem(stem).model.receptive_field
    least = (field + 1) / config.ingest.sample_rate
    if seconds < least:
        return (
            f"{seconds:.3g} s is shorter than what a model of it hears at once ({least:.3g} s); "
            "lower model.dilation_cycle or model.num_cycles, or drop the file"
        )
    if not sounding:
        return "silent throughout"
    share, floor = track.energy_shares.get(stem), config.separation.min_energy_share
    if share is not None and share < floor:
        return (
            f"holds {share:.2g} of the track's energy, less than separation.min_energy_share ({floor:g}): "
            "the separator found hardly any of it"
        )
    return None


def _planned(
    one: IngestedSong,
    outcome: StemOutcome,
    split: TrackSplit,
    gain: float,
    score: ScoreRecord | None,
    config: Config,
) -> PlannedTrack:
    song = one.song.song
    return PlannedTrack(
        record=one.track,
        split=split.split,
        end_heldout=outcome.stem in split.ends,
        kept=outcome.kept if outcome.verdict == "partial" else None,
        gain=gain,
        labels=song.labels,
        licence=song.licence or config.ingest.licence,
        score=score,
    )


def _find_score(one: IngestedSong, stem: str, config: Config, notes: list[str]) -> ScoreRecord | None:
    """The .mid of a stem where notes are wanted; one that cannot be read is told and left out."""
    if "notes" not in config.features.names:
        return None
    try:
        score = score_record(one.song.song, stem)
        if score is None:
            notes.append(f"{one.track.name}: no score for {stem}; its notes are empty")
        else:
            read_notes(score.path)
        return score
    except (OSError, ScoreError) as error:
        notes.append(f"{one.track.name}: {error}; the notes of {stem} are empty")
        return None


def _gain(
    record: TrackRecord, config: SegmentationConfig, examinations: Mapping[str, ExaminationRecord]
) -> float:
    """One gain for all stems of a track, so that each keeps its share of the mix."""
    if config.normalize == "none":
        return 1.0
    heard = examinations[record.track.track_id].examination
    if config.normalize == "peak":
        target = 10 ** (config.target_peak_db / 20)
        return target / heard.sum_peak if heard.sum_peak > 0 else 1.0
    loudness = heard.sum_loudness_lufs
    return 1.0 if loudness is None else 10 ** ((config.target_lufs - loudness) / 20)


def _missing_stems(
    usable: Iterable[tuple[IngestedSong, list[StemOutcome]]], stems: Mapping[str, list[PlannedTrack]]
) -> list[str]:
    notes = []
    for one, outcomes in usable:
        there = {outcome.stem for outcome in outcomes if outcome.verdict != "dropped"}
        missing = [stem for stem in sorted(stems) if stem not in there]
        if missing:
            notes.append(f"{one.track.name}: has no usable {', '.join(missing)}; its other stems are used")
    return notes


def _loud_gains(stems: Mapping[str, list[PlannedTrack]], config: Config) -> list[str]:
    """What normalization does to quiet music, told before a model learns it."""
    if config.segmentation.normalize == "none":
        return []
    gains = {track.record.name: track.gain for planned in stems.values() for track in planned}
    loud = {name: gain for name, gain in gains.items() if gain > 10 ** (GAIN_TO_TELL_DB / 20)}
    notes = [
        f"segmentation.normalize={config.segmentation.normalize}: every track is brought to one level, and "
        "what was quiet on the record is not quiet any more"
    ]
    if loud:
        named = ", ".join(sorted(loud)[:5])
        notes.append(
            f"raised by more than {GAIN_TO_TELL_DB:.0f} dB, their noise with them: {named}"
            f"{f' and {len(loud) - 5} more' if len(loud) > 5 else ''}"
        )
    return notes


def _short_pieces(outcomes: Iterable[StemOutcome], config: Config) -> list[str]:
    """How much audio lies in pieces shorter than a training window and so is never drawn."""
    pieces: dict[str, list[float]] = {}
    for outcome in outcomes:
        if outcome.split == "train":
            pieces.setdefault(outcome.stem, []).extend(end - start for start, end in outcome.kept)
    notes = []
    for stem, lengths in sorted(pieces.items()):
        mine = config.for_stem(stem)
        window = (mine.model.receptive_field + mine.training.scored_length) / config.ingest.sample_rate
        short = [length for length in lengths if length < window]
        if short and max(lengths) >= window:  # if all are short, windows shrink to the longest
            notes.append(
                f"{stem}: {sum(short):.1f} s of {sum(lengths):.1f} s lie in pieces shorter than a training "
                f"window ({window:.2f} s) and are not trained on; lower training.scored_length"
            )
    return notes


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
