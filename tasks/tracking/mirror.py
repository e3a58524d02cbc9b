"""A training's metrics, and the machine's meanwhile, on their way to MLflow while it goes on.

Knows nothing of how they are sent. The invariants: a report costs a line on disk and never waits for MLflow;
what was reported is in the outbox before it is sent; the thread that sends ends with the training.
"""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from tasks.tracking.delivery import Delivery
from tasks.tracking.entries import Entry, Metrics, metrics_of, now, values_of
from tasks.tracking.outbox import OUTBOX, Outbox
from tasks.tracking.system import SystemSampler
from tasks.workspace import Workspace
from wavenet.training.metrics import STEP

SECONDS_A_BATCH = 2.0


class TrackedStem(BaseModel):
    """Where a training tells its metrics. system_seconds: between looks at the machine; None: no looks."""

    model_config = ConfigDict(frozen=True)

    run: str
    label: str
    system_seconds: float | None

    def folder(self, workspace: Workspace) -> Path:
        """Of its outbox; it is not there where the training is on a machine that sees another folder."""
        return workspace.root / OUTBOX / self.run


class MetricsMirror:
    """A Reporter that keeps metrics for an MLflow run. Without an outbox it does nothing."""

    def __init__(self, outbox: Outbox | None) -> None:
        self.outbox = outbox

    def begin(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Tell a new run what earlier sessions of its training reported."""
        self._add(*metrics_of(rows, STEP))

    def report(self, row: Mapping[str, float]) -> None:
        self._add(Metrics(rows=[(now(), int(row[STEP]), values_of(row, STEP))]))

    def tell(self, message: str) -> None:
        """Remarks are for the terminal."""

    def _add(self, *entries: Entry) -> None:
        if self.outbox is not None:
            add_quietly(self.outbox, *entries)


def add_quietly(outbox: Outbox, *entries: Entry) -> None:
    """Keep entries for later; a full disk, or a run that was ended by another, must not end a training."""
    try:
        outbox.add(*entries)
    except OSError:
        return


class Courier(threading.Thread):
    """Sends what waits, every other second, and looks at the machine now and then, until told to stop."""

    def __init__(self, delivery: Delivery, outbox: Outbox, system_seconds: float | None) -> None:
        super().__init__(name="mlflow-courier", daemon=True)
        self.delivery, self.outbox = delivery, outbox
        self.system_seconds, self.num_looks = system_seconds, 0
        self._stop_asked = threading.Event()

    def run(self) -> None:
        sampler = SystemSampler() if self.system_seconds else None
        next_look = time.monotonic() + min(SECONDS_A_BATCH, self.system_seconds or 0)
        stopped = False
        while not stopped:
            stopped = self._stop_asked.wait(SECONDS_A_BATCH)
            if sampler and (stopped or time.monotonic() >= next_look):
                self._look(sampler)
                next_look = time.monotonic() + (self.system_seconds or 0)
            self.delivery.deliver(force=stopped)

    def stop(self) -> None:
        """Look and send a last time, and end."""
        self._stop_asked.set()
        self.join()

    def _look(self, sampler: SystemSampler) -> None:
        """The step is the number of the look, as MLflow counts."""
        add_quietly(self.outbox, Metrics(rows=[(now(), self.num_looks, sampler.sample())]))
        self.num_looks += 1


@contextmanager
def metrics_mirror(workspace: Workspace, tracked: TrackedStem | None) -> Iterator[MetricsMirror]:
    """A mirror whose metrics are sent while the block is entered, and at its end, whatever that is."""
    if tracked is None or not tracked.folder(workspace).exists():
        yield MetricsMirror(None)
        return
    outbox = Outbox(tracked.folder(workspace), tracked.label)
    courier = Courier(Delivery(workspace, outbox.folder), outbox, tracked.system_seconds)
    courier.start()
    try:
        yield MetricsMirror(outbox)
    finally:
        courier.stop()
