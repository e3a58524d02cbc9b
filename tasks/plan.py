"""The plan: which stem of which track is used, which parts of it, and on which side of the split.

Reads records and envelopes, writes nothing. The invariant: every stem of every song is in the plan or
set aside with a reason, and what the doctor says is what the shards are made of.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from tasks.ingest import score_record
from tasks.records import ExaminationRecord, ScoreRecord, SongRecord, TrackRecord
from tasks.workspace import Workspace
from wavenet.audio.io import envelope_hop
from wavenet.audio.silence import FLOOR_POWER, MOST_DITHER, find_sounding, silence_share
from wavenet.config import Config, SegmentationConfig
from wavenet.data.scores import read_notes
from wavenet.data.segments import count_segments, keep_segments, kept_regions
from wavenet.data.songs import Scan
from wavenet.data.splits import (
    ALL_SPLITS,
    SPLITS,
    Candidate,
    Split,
    TrackSplit,
    choose_splits,
    split_segments,
)
from wavenet.data.tracks import StemAudio, Track, load_envelope, mixture_note
from wavenet.errors import ScoreError

Verdict = Literal["kept", "partial", "dropped"]
Regions = list[tuple[float, float]]
GAIN_TO_TELL_DB = 12.0
MISS_TO_TELL_DB = 0.1


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


Judged = tuple[IngestedSong, list[StemOutcome]]


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
    judged = _drop_copies(_judge(place, ingested, config, examinations), known)
    usable = [(one, outcomes) for one, outcomes in judged if any(o.verdict != "dropped" for o in outcomes)]
    candidates = {
        one.track.track.track_id: Candidate(
            sorted(o.stem for o in outcomes if o.verdict != "dropped"), one.song.song.split
        )
        for one, outcomes in usable
    }
    splits = choose_splits(candidates, config.segmentation.heldout_share, known)
    gains = {one.track.name: _gain(one.track, config.segmentation, examinations) for one, _ in usable}
    stems: dict[str, list[PlannedTrack]] = {}
    told: list[StemOutcome] = []
    notes = [f"{one.track.name}: {note}" for one, outcomes in judged for note in _song_notes(one, outcomes)]
    for one, outcomes in judged:
        split = splits.get(one.track.track.track_id)
        for outcome in outcomes:
            if outcome.verdict == "dropped" or split is None:
                told.append(outcome)
                continue
            gain = gains[one.track.name].applied
            score = _find_score(one, outcome.stem, config, notes)
            stems.setdefault(outcome.stem, []).append(_planned(one, outcome, split, gain, score, config))
            told.append(outcome.model_copy(update={"split": split.split}))
    given = {one.track.track.track_id for one in ingested if one.song.song.split is not None}
    notes += [*_missing_stems(usable, stems), *_loud_gains(stems, config), *_missed_targets(gains, config)]
    notes += [*_short_pieces(told, config), *_one_sided(stems, told, given, config)]
    remembered = {track: split for track, split in splits.items() if track not in given or split.ends}
    for planned in stems.values():
        planned.sort(key=lambda track: track.record.track.track_id)  # whatever songs are called
    return BandPlan(stems=dict(sorted(stems.items())), outcomes=told, notes=notes, splits=remembered)


def _judge(
    place: Workspace,
    ingested: Sequence[IngestedSong],
    config: Config,
    examinations: Mapping[str, ExaminationRecord],
) -> list[Judged]:
    """What happens to every stem of every song by itself."""
    judged = []
    for one in ingested:
        track = one.track.track
        heard = examinations.get(track.track_id)
        outcomes = [
            StemOutcome(song=one.track.name, stem=stem, verdict="dropped", reason=reason)
            for stem, reason in track.set_aside.items()
        ]
        for stem, audio in track.stems.items():
            floor = heard.examination.floor_power(stem) if heard else FLOOR_POWER
            outcomes.append(_judge_stem(place, one.track, stem, audio, floor, config))
        judged.append((one, outcomes))
    return judged


def _drop_copies(judged: Sequence[Judged], known: Mapping[str, TrackSplit]) -> list[Judged]:
    """Each recording is used once: a whole song, or a stem that is the same in two songs.

    Else a loop that two songs share would be learnt from one and judged on in the other. It stays where an
    earlier run or the data set put it, rather in train; else in the first song.
    """
    first: dict[str, str] = {}
    left: dict[int, list[StemOutcome]] = {}
    for number, (one, outcomes) in sorted(enumerate(judged), key=lambda item: _precedence(item[1][0], known)):
        twins = [_twin_of(outcome, one.track.track, first) for outcome in outcomes]
        left[number] = [_without_copy(outcome, twin) for outcome, twin in zip(outcomes, twins, strict=True)]
    return [(one, left[number]) for number, (one, _) in enumerate(judged)]


def _precedence(one: IngestedSong, known: Mapping[str, TrackSplit]) -> tuple[bool, bool, bool]:
    """Songs whose split is decided come first, for their stems must not change sides; of these train."""
    before, given = known.get(one.track.track.track_id), one.song.song.split
    split = given or (before.split if before else None)
    return before is None, given is None, split != "train"


def _twin_of(outcome: StemOutcome, track: Track, first: dict[str, str]) -> str | None:
    """What is used in place of a stem: a song that is the same in all stems, a song's stem; None for itself.

    first: where each recording is used, by digest; what is new is added.
    """
    if outcome.stem in track.set_aside:
        return None
    song = first.setdefault(track.track_id, outcome.song)
    if song != outcome.song:
        return song
    if outcome.verdict == "dropped":
        return None
    stem = first.setdefault(f"{outcome.stem} {track.stems[outcome.stem].source_digest}", outcome.name)
    return None if stem == outcome.name else stem


def _without_copy(outcome: StemOutcome, twin: str | None) -> StemOutcome:
    if twin is None:
        return outcome
    twice = {"verdict": "dropped", "reason": f"the same audio as {twin}", "duplicate_of": twin, "kept": []}
    return outcome.model_copy(update=twice)


def _judge_stem(
    place: Workspace, record: TrackRecord, stem: str, audio: StemAudio, floor_power: float, config: Config
) -> StemOutcome:
    """Whether a stem is wanted, long enough, loud enough, and which parts of it sound."""
    track = record.track
    seconds = audio.num_samples / track.sample_rate
    sounding = _find_sounding(place.path(record.folder) / audio.envelope_file, track, floor_power, config)
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


def _find_sounding(envelope: Path, track: Track, floor_power: float, config: Config) -> Regions:
    frame_seconds = envelope_hop(track.sample_rate) / track.sample_rate
    return find_sounding(load_envelope(envelope), frame_seconds, config.segmentation.silence, floor_power)


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
        return _why_silent(track.stems[stem], config)
    share, floor = track.energy_shares.get(stem), config.separation.min_energy_share
    if share is not None and share < floor:
        return (
            f"holds {share:.2g} of the track's energy, less than separation.min_energy_share ({floor:g}): "
            "the separator found hardly any of it"
        )
    return None


def _why_silent(audio: StemAudio, config: Config) -> str:
    """Of a file that sounds, why nothing is left of it."""
    loud = [fact for fact in audio.facts if fact.peak > MOST_DITHER]
    downmix, rate = config.ingest.downmix, config.ingest.sample_rate
    if not loud:
        return "silent throughout" + (": nothing above quantization noise" if audio.peak > 0 else "")
    peak = (
        f"silent throughout, though the file peaks at {20 * math.log10(max(f.peak for f in loud)):.1f} dBFS"
    )
    if all(fact.num_channels == 1 for fact in loud):
        return f"{peak}: nothing is left of it at ingest.sample_rate ({rate} Hz); raise it"
    if downmix == "mean":
        return f"{peak}: its channels cancel when averaged; set ingest.downmix=left or ingest.downmix=right"
    return f"{peak}: its {downmix} channel is silent; set ingest.downmix=mean"


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


@dataclass(frozen=True)
class Gain:
    """One gain for all stems of a track, so that each keeps its share of the mix.

    wanted: what would bring the track to its target. applied: that, or as much as leaves the highest peak
    of any stem at segmentation.target_peak_db.
    """

    wanted: float = 1.0
    applied: float = 1.0

    @property
    def missed_db(self) -> float:
        return 20 * math.log10(self.wanted / self.applied)


def _gain(
    record: TrackRecord, config: SegmentationConfig, examinations: Mapping[str, ExaminationRecord]
) -> Gain:
    if config.normalize == "none":
        return Gain()
    heard = examinations[record.track.track_id].examination
    peak, highest = max(stem.peak for stem in record.track.stems.values()), 10 ** (config.target_peak_db / 20)
    if config.normalize == "peak":
        gain = highest / max(heard.sum_peak, peak)
        return Gain(gain, gain)
    if heard.sum_loudness_lufs is None:
        return Gain()
    wanted = 10 ** ((config.target_lufs - heard.sum_loudness_lufs) / 20)
    return Gain(wanted, min(wanted, highest / peak))


def _song_notes(one: IngestedSong, outcomes: Iterable[StemOutcome]) -> Iterator[str]:
    """What is to be told of a song as a whole."""
    track, mixture = one.track.track, one.song.song.mixture
    yield from track.notes
    if mixture is not None and (note := mixture_note(mixture.path.name, one.decoded.track.residual_db)):
        yield note
    alike: dict[str, list[str]] = {}
    for outcome in outcomes:
        if outcome.verdict != "dropped":
            alike.setdefault(track.stems[outcome.stem].source_digest, []).append(outcome.stem)
    for stems in alike.values():
        if len(stems) > 1:
            yield f"{' and '.join(stems)} are the same audio; export the right one again, or drop one"


def _missing_stems(usable: Iterable[Judged], stems: Mapping[str, list[PlannedTrack]]) -> list[str]:
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
        notes.append(
            f"raised by more than {GAIN_TO_TELL_DB:.0f} dB, their noise with them: {_name_some(loud)}"
        )
    return notes


def _missed_targets(gains: Mapping[str, Gain], config: Config) -> list[str]:
    """Tracks that cannot be as loud as the others without clipping."""
    missed = {name: gain.missed_db for name, gain in gains.items() if gain.missed_db > MISS_TO_TELL_DB}
    if not missed:
        return []
    settings, furthest = config.segmentation, max(missed.values())
    return [
        f"quieter than segmentation.target_lufs ({settings.target_lufs:g}) by up to {furthest:.1f} dB, for "
        f"their peaks are kept at segmentation.target_peak_db ({settings.target_peak_db:g}): "
        f"{_name_some(missed)}; lower target_lufs by as much for one loudness"
    ]


def _name_some(names: Iterable[str]) -> str:
    """A few of many names."""
    ordered = sorted(names)
    more = f" and {len(ordered) - 5} more" if len(ordered) > 5 else ""
    return ", ".join(ordered[:5]) + more


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


def _one_sided(
    stems: Mapping[str, list[PlannedTrack]],
    outcomes: Iterable[StemOutcome],
    given: Collection[str],
    config: Config,
) -> list[str]:
    """Stems that no model can be trained of, for want of audio to train on or to hold out."""
    notes = []
    kept = {(one.song, one.stem): one.kept_seconds for one in outcomes}
    for stem, tracks in stems.items():
        parts = [split_seconds(kept[track.record.name, stem], track, config) for track in tracks]
        least = (config.for_stem(stem).model.receptive_field + 1) / config.ingest.sample_rate
        for split, purpose in zip(SPLITS, ("train on", "hold out"), strict=True):
            seconds = sum(part.get(split, 0.0) for part in parts)
            if seconds < least:
                why = _why_one_sided(seconds, least, tracks, given)
                notes.append(f"{stem}: cannot be trained: {seconds:.3g} s to {purpose}: {why}")
                break
    return notes


def split_seconds(kept_seconds: float, track: PlannedTrack, config: Config) -> dict[Split, float]:
    """Seconds of a planned track on each side of the split, of what is kept of it."""
    if not track.end_heldout:
        return {track.split: kept_seconds}
    segment_seconds = config.segment_length / config.ingest.sample_rate
    num_segments = math.ceil(round(kept_seconds / segment_seconds, 6))
    splits = split_segments(num_segments, "train", True, config.segmentation.heldout_share)
    train = min(kept_seconds, splits.count("train") * segment_seconds)
    return {"train": train, "heldout": kept_seconds - train}


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


def _why_one_sided(
    seconds: float, least: float, tracks: Iterable[PlannedTrack], given: Collection[str]
) -> str:
    if seconds > 0:
        return (
            f"a model of it hears {least:.3g} s at once; add audio, or lower model.dilation_cycle or "
            "model.num_cycles"
        )
    if any(track.split == "train" for track in tracks):
        return "two segments are the least; add audio or lower segmentation.segment_seconds"
    sides = " and ".join(sorted({track.split for track in tracks}))
    if all(track.record.track.track_id in given for track in tracks):
        return f"the manifest or data set puts all of it into {sides}; let it say train of some, or nothing"
    return f"earlier runs put all of it into {sides} (splits.json of the workspace); add audio"


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
