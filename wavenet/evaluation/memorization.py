"""Whether a take is a passage of the training data: the closest one, by fingerprint, and how close.

Knows shards, waveforms and fingerprints; nothing of models. The invariants: every frame of every training
track is looked at, so that the closest passage is found however far it is; and what is too short or too quiet
to judge is said to be so, never to be new.

The same recording is what `fingerprint` takes for one, 65% of equal bits, over four seconds of prints. What
is shorter reaches that by chance, or by one note of one sampled instrument, and must reach more:
`SURE_DEVIATIONS` standard deviations of what unrelated prints agree by. Between the two it is too short to
tell.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from wavenet.audio.fingerprint import (
    FRAMES_PER_SECOND,
    MAX_ERROR_RATE,
    NO_PRINT,
    Prints,
    find_closest,
    fingerprint_blocks,
)
from wavenet.audio.quantization import Quantizer
from wavenet.data.choosing import choose_evenly
from wavenet.data.dataset import CodeRun, load_runs
from wavenet.data.shards.format import read_manifest
from wavenet.errors import ShardFormatError
from wavenet.evaluation.sound import list_windows
from wavenet.files import read_json, write_json

BLOCK = 1 << 18
LEAST_PRINTS = 16
"""A second of sound has 18."""
INDEPENDENT_BITS = 12.5
"""Of a print's 32, since neighbouring frames overlap: 400 a second, as `fingerprint` has measured."""
SURE_DEVIATIONS = 12.0
"""Pieces that share nothing but their sampled instruments came to 11.6, where a passage is short."""
SHIFTS = 4
"""A clip is begun so many parts of a frame later, too: between two frames it would be less alike."""
CANDIDATES = 3
"""Stretches that are most alike as the clip comes; the other shifts are held against these alone."""
MOST_PASSAGES = 64
"""Of a take, spread evenly: two minutes of it without a gap."""
WHOLE_SECONDS = 30.0
"""Longer takes are judged by their passages alone: a copy of so much has copied passages."""

SAME_FROM = 1 - MAX_ERROR_RATE
SAME, TOO_SHORT, OTHER, NOTHING = (
    "the same recording", "alike, too short to tell", "other music", "nothing to judge",
)  # fmt: skip
"""Verdicts."""
PRINTS, INDEX = "prints.npy", "index.json"


@dataclass(frozen=True)
class TrainingPrints:
    """The fingerprint of an unbroken stretch of a training track that begins at start_seconds of it."""

    track_id: str
    track: str
    start_seconds: float
    prints: Prints


class Closest(BaseModel):
    """The passage of the training data that is most like one of a take.

    offset_seconds: where it begins in its track. agreement: share of equal bits; about 0.5 to 0.6 for other
    music. needed: what it must reach to be the same recording. same: whether it does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    track_id: str
    track: str
    offset_seconds: float
    agreement: float
    needed: float
    same: bool


class Passage(BaseModel):
    """A part of a take and what it is closest to; None where too little of it sounds or changes to judge."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    start_seconds: float
    seconds: float
    closest: Closest | None


class Memory(BaseModel):
    """What a take owes to single passages of the training data.

    passages: of 4 s every 2 s, or those of a long take that were looked at; whole: the take in one, None
    where it is longer than 30 s. closest: the one of all of these that stands out most. verdict: of it: "the
    same recording"; "alike, too short to tell"; "other music"; "nothing to judge" where there is none.
    seconds_covered: of the take that lie in passages that could be judged.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    verdict: str
    closest: Closest | None
    seconds_covered: float
    whole: Passage | None
    passages: list[Passage]


def fingerprint_training(shards: Path) -> list[TrainingPrints]:
    """The fingerprints of a shard set's training audio, one a run, as its codes sound."""
    manifest = read_manifest(shards)
    quantizer = Quantizer(manifest.law, manifest.quantization_channels)
    return [
        TrainingPrints(
            run.track_id,
            run.track,
            run.start_sample / manifest.sample_rate,
            fingerprint_blocks(_decode_blocks(run, quantizer), manifest.sample_rate),
        )
        for run in load_runs(shards, "train")
    ]


def save_prints(stretches: Sequence[TrainingPrints], folder: Path) -> None:
    """Write fingerprints into an existing folder: one array, and a JSON that says what each part of it is."""
    joined = np.concatenate([np.zeros(0, np.uint32), *(stretch.prints for stretch in stretches)])
    np.save(folder / PRINTS, joined, allow_pickle=False)
    index = [
        {
            "track_id": one.track_id,
            "track": one.track,
            "start_seconds": one.start_seconds,
            "num_prints": len(one.prints),
        }
        for one in stretches
    ]
    write_json(folder / INDEX, index)


def load_prints(folder: Path) -> list[TrainingPrints]:
    """Fingerprints as `save_prints` wrote them. Raises ShardFormatError where they are damaged."""
    try:
        joined = np.load(folder / PRINTS, allow_pickle=False)
        index = read_json(folder / INDEX)
        ends = np.cumsum([int(one["num_prints"]) for one in index], dtype=np.int64)
        if joined.dtype != np.uint32 or joined.shape != (int(ends[-1]) if len(ends) else 0,):
            raise ValueError(f"found prints of shape {joined.shape}, the index has {ends[-1:]}")
        parts = np.split(joined, ends[:-1])
        return [
            TrainingPrints(one["track_id"], one["track"], one["start_seconds"], part)
            for one, part in zip(index, parts, strict=bool(index))
        ]
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise ShardFormatError(
            f"{folder}: fingerprints that cannot be read ({error}); delete the folder and run again"
        ) from None


def find_memory(
    waveform: NDArray[np.float32], sample_rate: int, training: Sequence[TrainingPrints]
) -> Memory:
    """Hold a take, (time,) float32, against training audio of the same sample rate."""
    seconds = len(waveform) / sample_rate
    known = [one for one in training if _count_told(one.prints) >= LEAST_PRINTS]
    windows = _choose_windows(len(waveform), sample_rate)
    passages = [_judge(waveform, window, sample_rate, known) for window in windows]
    whole = None
    if 0 < seconds <= WHOLE_SECONDS:
        everything = range(len(waveform))
        whole = passages[0] if windows == [everything] else _judge(waveform, everything, sample_rate, known)
    return _remember(passages, whole)


def join_memories(starts: Sequence[float], found: Sequence[Memory]) -> Memory:
    """What a take owes whose pieces were judged by themselves.

    starts: second of the take of each, ascending.
    """
    passages = [
        one.model_copy(update={"start_seconds": start + one.start_seconds})
        for start, memory in zip(starts, found, strict=True)
        for one in memory.passages
    ]
    return _remember(passages, None)


def needed_agreement(num_prints: int) -> float:
    """The share of equal bits from which on so many prints are surely of one recording."""
    sure = 0.5 + SURE_DEVIATIONS * 0.5 / (INDEPENDENT_BITS * num_prints) ** 0.5
    return min(1.0, max(SAME_FROM, sure))


def _decode_blocks(run: CodeRun, quantizer: Quantizer) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(run.codes), BLOCK):
        yield quantizer.decode(run.codes[start : start + BLOCK])


def _choose_windows(num_samples: int, sample_rate: int) -> list[range]:
    return choose_evenly(list(list_windows(num_samples, sample_rate)), MOST_PASSAGES)


def _judge(
    waveform: NDArray[np.float32], window: range, sample_rate: int, known: Sequence[TrainingPrints]
) -> Passage:
    part = waveform[window.start : window.stop]
    return Passage(
        start_seconds=window.start / sample_rate,
        seconds=len(window) / sample_rate,
        closest=_find_closest(part, sample_rate, known),
    )


def _remember(passages: list[Passage], whole: Passage | None) -> Memory:
    judged = [one for one in passages if one.closest is not None]
    found = [one.closest for one in [*judged, whole] if one is not None and one.closest is not None]
    closest = max(found, key=_margin, default=None)
    return Memory(
        verdict=_verdict(closest), closest=closest, whole=whole, passages=passages,
        seconds_covered=_seconds_covered(judged),
    )  # fmt: skip


def _find_closest(
    part: NDArray[np.float32], sample_rate: int, known: Sequence[TrainingPrints]
) -> Closest | None:
    """The stretch that stands out most; None where there is too little to judge on either side."""
    found = _compare(part, sample_rate, known)
    nearest = sorted(found, key=lambda pair: _margin(pair[1]), reverse=True)[:CANDIDATES]
    stretches = [known[number] for number, _ in nearest]
    for shift in range(1, SHIFTS):
        late = round(shift * sample_rate / (SHIFTS * FRAMES_PER_SECOND))
        nearest += _compare(part[late:], sample_rate, stretches, late / sample_rate)
    return max((closest for _, closest in nearest), key=_margin, default=None)


def _compare(
    part: NDArray[np.float32], sample_rate: int, known: Sequence[TrainingPrints], late: float = 0.0
) -> list[tuple[int, Closest]]:
    """The closest passage of each stretch, by its number. late: seconds cut off the clip's start."""
    clip = fingerprint_blocks([part], sample_rate)
    num_clip = _count_told(clip)
    if num_clip < LEAST_PRINTS:
        return []
    return [
        (number, closest)
        for number, one in enumerate(known)
        if (closest := _compare_stretch(clip, num_clip, one, late)) is not None
    ]


def _compare_stretch(clip: Prints, num_clip: int, one: TrainingPrints, late: float) -> Closest | None:
    found = find_closest(clip, {one.track_id: one.prints})
    if found is None:
        return None
    shorter = num_clip if len(clip) <= len(one.prints) else _count_told(one.prints)
    needed = needed_agreement(shorter)
    return Closest(
        track_id=one.track_id,
        track=one.track,
        offset_seconds=one.start_seconds + found.offset_seconds - late,
        agreement=found.agreement,
        needed=needed,
        same=found.agreement >= needed,
    )


def _margin(closest: Closest) -> float:
    """How far above what it needs: of stretches shorter than the clip more is needed."""
    return closest.agreement - closest.needed


def _count_told(prints: Prints) -> int:
    return int((prints != NO_PRINT).sum())


def _verdict(closest: Closest | None) -> str:
    if closest is None:
        return NOTHING
    if closest.same:
        return SAME
    return TOO_SHORT if closest.agreement >= SAME_FROM else OTHER


def _seconds_covered(passages: Sequence[Passage]) -> float:
    """Seconds that lie in one passage at least. Passages: in the order of time."""
    covered = end = 0.0
    for one in passages:
        stop = one.start_seconds + one.seconds
        covered += max(0.0, stop - max(end, one.start_seconds))
        end = max(end, stop)
    return covered
