"""Two trainings beside each other: the one that began with other weights, and the one from scratch.

Knows lines of metrics and nothing else. The invariant: what is compared was measured on the same held-out
windows, which both trainings look at.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from wavenet.training.metrics import FINAL_BITS, HELDOUT_BITS, STEP, Row


@dataclass(frozen=True)
class Look:
    """Bits per sample of both at one step; None of a training that had ended before or did not look then."""

    step: int
    transfer: float | None
    scratch: float | None
    difference: float | None  # below zero: transfer is better


@dataclass(frozen=True)
class Comparison:
    """Both curves. reached_at: first step at which transfer was as good as scratch in the end."""

    looks: list[Look]
    reached_at: int | None
    transfer_ended: float
    scratch_ended: float
    transfer_steps: int
    scratch_steps: int
    transfer_final: float
    scratch_final: float

    def sentence(self) -> str:
        """What came of it, for people."""
        goal = f"what scratch ended with after {self.scratch_steps} ({self.scratch_ended:.3f} bits)"
        came = f"it ended with {self.transfer_ended:.3f}."
        if self.reached_at is None:
            return f"In {self.transfer_steps} steps transfer did not reach {goal}; {came}"
        return f"After {self.reached_at} steps transfer reached {goal}; {came}"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "sentence": self.sentence()}


def compare_trainings(transfer: Sequence[Row], scratch: Sequence[Row], best_kept: bool) -> Comparison:
    """Two trainings by their lines of metrics, both of which are done.

    best_kept: they end with the weights of their best look, as where `stop_after` is set, else of the last.
    """
    curves = [_looks_of(rows) for rows in (transfer, scratch)]
    ended = [min(curve.values()) if best_kept else curve[max(curve)] for curve in curves]
    steps = sorted({step for curve in curves for step in curve})
    reached = [step for step, bits in curves[0].items() if bits <= ended[1]]
    finals = [
        next(row[FINAL_BITS] for row in reversed(rows) if FINAL_BITS in row) for rows in (transfer, scratch)
    ]
    return Comparison(
        looks=[_look(step, curves[0].get(step), curves[1].get(step)) for step in steps],
        reached_at=min(reached, default=None),
        transfer_ended=ended[0],
        scratch_ended=ended[1],
        transfer_steps=max(curves[0]),
        scratch_steps=max(curves[1]),
        transfer_final=finals[0],
        scratch_final=finals[1],
    )


def _looks_of(rows: Sequence[Row]) -> dict[int, float]:
    return {int(row[STEP]): row[HELDOUT_BITS] for row in rows if HELDOUT_BITS in row}


def _look(step: int, transfer: float | None, scratch: float | None) -> Look:
    difference = None if transfer is None or scratch is None else transfer - scratch
    return Look(step, transfer, scratch, difference)
