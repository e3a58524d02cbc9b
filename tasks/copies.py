"""Each recording used once: of songs and stems that are there twice, one is kept.

Goes by digests of what is heard, reads no audio. The invariant: no recording lies on both sides of the split.
"""

from collections.abc import Mapping, Sequence

from tasks.judging import Judged
from tasks.plan import IngestedSong, StemOutcome
from wavenet.data.splits import (
    TrackSplit,
)
from wavenet.data.tracks import Track


def drop_copies(judged: Sequence[Judged], known: Mapping[str, TrackSplit]) -> list[Judged]:
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
