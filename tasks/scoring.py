"""From finished takes in files to scores and ranks: what the pipeline and `waveband generate` share.

Knows nothing of Prefect, nor of where training data and what was measured of it lie. The invariants: there is
one way to rank takes; what is read of a file is bounded, however long it is; and no take is lost because it
could not be scored.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tasks.playing import Performance
from tasks.progress import Progress
from wavenet.audio.growing import read_samples
from wavenet.evaluation.take_judge import Piece, TakeJudge, spread_pieces
from wavenet.evaluation.take_scores import RankedTake, Scores, TakeScore

if TYPE_CHECKING:
    from wavenet.generation.guarded import Take
    from wavenet.generation.recording import Recording


@dataclass(frozen=True)
class Ranking:
    """All takes, the best first. scores: of all of them; None where there are none, and unscored says why."""

    takes: "list[Take]"
    scores: Scores | None
    unscored: str | None = None


def rank_takes(
    stem: str,
    takes: "Sequence[Take]",
    performance: Performance,
    recording: "Recording",
    names: Sequence[str],
    make_judge: Callable[[], TakeJudge],
) -> Ranking:
    """Score finished takes and rank them; by what the guards say alone where they cannot be scored.

    names: of the files of those that are to be kept.
    """
    try:
        judge = make_judge()
        progress, scores = Progress(f"score {stem}", len(takes)), {}
        for take in takes:
            scores[take.number] = score_take(take, performance, recording, judge)
            progress.advance()
    except Exception as error:  # whatever it is, what was played for hours is not lost for it
        return Ranking(order_takes(takes), None, f"{type(error).__name__}: {error}")
    ranked = order_takes(takes, scores)
    files = [*names, *[None] * (len(takes) - len(names))]
    described = [
        describe_rank(take, scores[take.number], rank, file)
        for rank, (take, file) in enumerate(zip(ranked, files, strict=True), start=1)
    ]
    return Ranking(ranked, Scores(takes=described, ranges=judge.ranges))


def rank_again(takes: "Sequence[Take]", scores: Scores) -> Ranking:
    """Takes in the ranks that their scores give them."""
    ranks = {one.take: one.rank for one in scores.takes}
    return Ranking(sorted(takes, key=lambda take: ranks[take.number + 1]), scores)


def order_takes(takes: "Sequence[Take]", scores: Mapping[int, TakeScore] | None = None) -> "list[Take]":
    """The best first: those never let go on in trouble, or late; then the least bad, where scores are known,
    by number; then those that were seldom begun again; of equals the one with the lower number."""

    def place(take: "Take") -> tuple[float, float, int, int]:
        let_go = let_go_seconds(take)
        badness = scores[take.number].badness if scores else 0.0
        return -(math.inf if let_go is None else let_go), badness, len(take.incidents), take.number

    return sorted(takes, key=place)


def let_go_seconds(take: "Take") -> float | None:
    """From which second on a take went on in trouble; None for one that never did."""
    return next((one.second for one in take.incidents if not one.restarted), None)


def describe_rank(take: "Take", score: TakeScore, rank: int, file: str | None) -> RankedTake:
    """A take's score among those of the others."""
    return RankedTake(
        **dict(score),
        take=take.number + 1,
        rank=rank,
        file=file,
        restarts=sum(one.restarted for one in take.incidents),
        let_go_seconds=let_go_seconds(take),
    )


def score_take(take: "Take", performance: Performance, recording: "Recording", judge: TakeJudge) -> TakeScore:
    """The score of a finished take, from its file."""
    spans = spread_pieces(performance.num_samples, recording.sample_rate)
    pieces = [read_piece(take, span, performance, recording) for span in spans]
    return judge.score(pieces, performance.num_samples, performance.network)


def read_piece(take: "Take", span: range, performance: Performance, recording: "Recording") -> Piece:
    """Samples of a take, after all that the network heard before them and told what it was told."""
    field = performance.network.receptive_field
    first = max(0, span.start - field)
    leading = recording.num_leading
    waveform = read_samples(recording.paths[take.number], leading + first, leading + span.stop)
    heard, codes = np.split(recording.quantizer.encode(waveform), [span.start - first])
    return Piece(
        start=span.start,
        codes=codes,
        context=np.concatenate([performance.context, heard])[-field:],
        condition=performance.tell(span.start - field, field + len(span) - 1),
    )
