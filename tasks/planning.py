"""The plan made: what is used of a band's songs, and what a person is to be told of it.

Reads records and envelopes, writes nothing. The invariant: every stem of every song has one outcome, and
what the doctor says is what the shards are made of.
"""

from collections.abc import Mapping, Sequence

from tasks.copies import drop_copies
from tasks.gains import find_gain, loud_gains, missed_targets
from tasks.ingest import score_record
from tasks.judging import judge_songs
from tasks.plan import BandPlan, IngestedSong, PlannedTrack, StemOutcome
from tasks.plan_notes import missing_stems, one_sided, short_pieces, song_notes
from tasks.records import ExaminationRecord, ScoreRecord
from tasks.workspace import Workspace
from wavenet.config import Config
from wavenet.data.scores import read_notes
from wavenet.data.splits import Candidate, TrackSplit, choose_splits
from wavenet.errors import ScoreError


def plan_band(
    place: Workspace,
    ingested: Sequence[IngestedSong],
    config: Config,
    known: Mapping[str, TrackSplit],
    examinations: Mapping[str, ExaminationRecord] = {},
) -> BandPlan:
    """Decide what is used, and the split. known: splits decided before. examinations: of each track id."""
    judged = drop_copies(judge_songs(place, ingested, config, examinations), known)
    usable = [(one, outcomes) for one, outcomes in judged if any(o.verdict != "dropped" for o in outcomes)]
    candidates = {
        one.track.track.track_id: Candidate(
            sorted(o.stem for o in outcomes if o.verdict != "dropped"), one.song.song.split
        )
        for one, outcomes in usable
    }
    splits = choose_splits(candidates, config.segmentation.heldout_share, known)
    gains = {one.track.name: find_gain(one.track, config.segmentation, examinations) for one, _ in usable}
    stems: dict[str, list[PlannedTrack]] = {}
    told: list[StemOutcome] = []
    notes = [f"{one.track.name}: {note}" for one, outcomes in judged for note in song_notes(one, outcomes)]
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
    notes += [*missing_stems(usable, stems), *loud_gains(stems, config), *missed_targets(gains, config)]
    notes += [*short_pieces(told, config), *one_sided(stems, told, given, config)]
    remembered = {track: split for track, split in splits.items() if track not in given or split.ends}
    for planned in stems.values():
        planned.sort(key=lambda track: track.record.track.track_id)  # whatever songs are called
    return BandPlan(stems=dict(sorted(stems.items())), outcomes=told, notes=notes, splits=remembered)


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
