"""Scores of takes: each figure against the range of the training data, and how bad that makes a take.

Knows ranges and figures; nothing of networks, shards, how takes are ranked, or files but the JSON that it
writes. The invariants: a take's badness is the sum of the distances that stand beside it, so that anyone can
add them up again; and nothing is better for being copied: how close a take is to the training data is told,
not part of its badness.

    badness = the sum over all figures of `outside` + `likelihood.distance`

Both are measured window by window, so that a take that dies after half of its time is half as bad as one that
never plays, whatever its means are.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

from wavenet.evaluation.memorization import Memory
from wavenet.evaluation.ranges import Ranges, Spread
from wavenet.evaluation.sound import Sound, list_windows, measure_sound
from wavenet.files import read_json, write_json

SCORES = "scores.json"
AS_HELDOUT = "as held-out audio"
LN2 = float(np.log(2))


class Score(BaseModel):
    """Base of what is said of a take."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FigureScore(Score):
    """A figure of a take: the mean over its windows, and where they lie against the training data's.

    value: None where no window has it (no flatness where nothing sounds). low, high: the range, the 1st and
    the 99th percentile of training windows. outside: how far windows lie outside it, in widths of it, on the
    average of all windows. verdict: "inside", "below" or "above": to which side that is.
    """

    value: float | None
    low: float
    high: float
    outside: float
    verdict: str


class LikelihoodScore(Score):
    """How likely the network finds what it played, beside held-out audio.

    heldout_nats: the median second of held-out audio; low, high: its 1st and 99th percentile. distance: how
    far the take's seconds are from that median, in widths of that range, either way: what is far likelier is
    dull or stuck, what is far less likely is noise. verdict: "as held-out audio", "likelier" or "less
    likely": where the take as a whole lies against that range.
    """

    nats_per_sample: float
    bits_per_sample: float
    log_likelihood_per_second: float  # nats, below 0
    heldout_nats: float
    low: float
    high: float
    distance: float
    verdict: str

    @property
    def outside(self) -> bool:
        """Whether the take as a whole lies outside the range."""
        return self.verdict != AS_HELDOUT


class TakeScore(Score):
    """All that is known of a take. figures: by name, see `sound.Sound`. Lower badness is better.

    seconds: its length; seconds_scored: how much of it was looked at.
    """

    badness: float
    seconds: float
    seconds_scored: float
    figures: dict[str, FigureScore]
    likelihood: LikelihoodScore | None
    memory: Memory | None


class RankedTake(TakeScore):
    """A take's score and its place among all that were played.

    take: its number, from 1; rank: from 1. file: its name; None where it was not kept. restarts: how often
    guards had it begin again; let_go_seconds: second of the take from which on it went on in trouble; None
    for one that never did.
    """

    take: int
    rank: int
    file: str | None
    restarts: int
    let_go_seconds: float | None


class Scores(Score):
    """What `scores.json` holds: the takes, the best first, and what they were held against."""

    version: Literal[1] = 1
    takes: list[RankedTake]
    ranges: Ranges


def score_take(
    pieces: Sequence[NDArray[np.float32]],
    ranges: Ranges,
    likelihood: LikelihoodScore | None = None,
    memory: Memory | None = None,
    num_samples: int | None = None,
) -> TakeScore:
    """The score of a take. pieces: (time,) float32 each, at the ranges' sample rate; one sample or more.

    likelihood, memory: as `score_likelihood` and `find_memory` give them; what is None is not held against
    it. num_samples: of the take, where the pieces are not all of it.
    """
    num_scored = sum(map(len, pieces))
    if not num_scored:
        raise ValueError("a take of no samples has no score; generate some")
    rate = ranges.sample_rate
    windows = [piece[w.start : w.stop] for piece in pieces for w in list_windows(len(piece), rate)]
    sounds = [measure_sound(w, rate, ranges.silent_db, ranges.full_scale) for w in windows]
    figures = {name: _score_figure(sounds, name, ranges.figures[name]) for name in ranges.figures}
    outside = [figure.outside for figure in figures.values()]
    distance = likelihood.distance if likelihood else 0.0
    return TakeScore(
        badness=math.fsum([*outside, distance]),  # exact: the order of figures is nobody's business
        seconds=(num_samples or num_scored) / rate,
        seconds_scored=num_scored / rate,
        figures=figures,
        likelihood=likelihood,
        memory=memory,
    )


def score_likelihood(nats: ArrayLike, num_samples: int, sample_rate: int, heldout: Spread) -> LikelihoodScore:
    """From a take's nats a sample in each of its seconds, one stream of `measure_nats`, to what they say.

    num_samples: of the take; its last second may be shorter, and weighs less.
    """
    each = np.asarray(nats, np.float64)
    weights = np.full(len(each), sample_rate, np.float64)
    weights[-1] = num_samples - sample_rate * (len(each) - 1)
    mean = float(np.average(each, weights=weights))
    side = heldout.outside(mean)
    return LikelihoodScore(
        nats_per_sample=mean,
        bits_per_sample=mean / LN2,
        log_likelihood_per_second=-mean * sample_rate,
        heldout_nats=heldout.p50,
        low=heldout.p1,
        high=heldout.p99,
        distance=float(np.average(np.abs(each - heldout.p50), weights=weights)) / heldout.width,
        verdict=AS_HELDOUT if side == 0 else "likelier" if side < 0 else "less likely",
    )


def flat_metrics(score: TakeScore) -> dict[str, float]:
    """The figures of a take by name, as MLflow takes them; what is not known is not there."""
    values: dict[str, float | None] = {f"take/{name}": f.value for name, f in score.figures.items()}
    values |= {f"take/{name}_outside": f.outside for name, f in score.figures.items()}
    values["take/badness"] = score.badness
    if score.likelihood:
        values["take/bits_per_sample"] = score.likelihood.bits_per_sample
        values["take/log_likelihood_per_second"] = score.likelihood.log_likelihood_per_second
        values["take/likelihood_distance"] = score.likelihood.distance
    if score.memory and score.memory.closest:
        values["take/closest_agreement"] = score.memory.closest.agreement
    return {name: value for name, value in values.items() if value is not None}


def scores_of(sound: Path) -> Path:
    """Where the scores of takes lie, the best of which is in this file: beside it."""
    return sound.with_name(f"{sound.name}.{SCORES}")


def write_scores(path: Path, scores: Scores) -> None:
    """Write `scores.json`, whole or not at all; its fields are told in docs/scores.md."""
    write_json(path, scores.model_dump())


def read_scores(path: Path) -> Scores | None:
    """Scores as they were written; None where there are none."""
    return Scores.model_validate(read_json(path)) if path.is_file() else None


def _score_figure(sounds: Sequence[Sound], name: str, known: Spread) -> FigureScore:
    values = [value for sound in sounds if (value := getattr(sound, name)) is not None]
    sides = [known.outside(value) for value in values]
    side = sum(sides)
    return FigureScore(
        value=float(np.mean(values)) if values else None,
        low=known.p1,
        high=known.p99,
        outside=float(np.mean(np.abs(sides))) if sides else 0.0,
        verdict="inside" if not any(sides) else "below" if side < 0 else "above",
    )
