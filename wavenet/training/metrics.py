"""metrics.jsonl, the truth about a training: one line a report, each with its step.

Knows nothing of where else metrics are shown; those are mirrors. The invariant: lines are in order
of step, and after a resume there is no line from beyond the checkpoint.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, Self

from wavenet.files import write_text

Row = Mapping[str, float]

METRICS = "metrics.jsonl"

STEP = "step"
TRAIN_BITS = "train/bits_per_sample"
HELDOUT_BITS = "heldout/bits_per_sample"  # of the same few windows each time: the curve
FINAL_BITS = "final/heldout_bits_per_sample"  # of all held-out samples, once at the end: the result
FREE_BITS = "final/heldout_bits_told_nothing"  # the same of a conditioned network that is told nothing
LEARNING_RATE = "train/learning_rate"
GRADIENT_NORM = "train/gradient_norm"  # before clipping, of the last step
SPEED = "train/scored_samples_per_second"


class Reporter(Protocol):
    """Whoever wants to see metrics while they are made. Must not raise."""

    def begin(self, rows: Sequence[Row]) -> None:
        """Take the lines of earlier sessions, none for a new training; called once, before all else."""

    def report(self, row: Row) -> None:
        """Take one line of metrics; `step` is among its keys."""

    def tell(self, message: str) -> None:
        """Take a remark for people: what happened, what it means, what may be done."""


class MetricsFile:
    """Appends lines to metrics.jsonl."""

    def __init__(self, path: Path, last_step: int) -> None:
        """Lines that are going to be written again are dropped: those from after last_step, the step
        of the checkpoint gone on from, and the final one."""
        rows = [row for row in read_metrics(path) if row[STEP] <= last_step and FINAL_BITS not in row]
        write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
        self.stream = path.open("a", encoding="utf-8")

    def report(self, row: Row) -> None:
        self.stream.write(json.dumps(dict(row)) + "\n")
        self.stream.flush()
        os.fsync(self.stream.fileno())  # a checkpoint never outlives the lines before it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stream.close()


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The lines of metrics.jsonl; none where it is missing, and a torn last line is left out."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


class NoMetrics:
    """What writes nothing: for ranks that do not lead."""

    def report(self, row: Row) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass
