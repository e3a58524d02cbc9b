"""What ran and what was reused, as the states of task runs tell."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture

from tasks.caching import CACHED
from tasks.progress import Progress

THREADS = 2 * (os.cpu_count() or 1)
"""Tasks at once: they mostly wait for the pool's processes, one a core."""


class Ledger:
    """Calls tasks and keeps account of them, by task run name."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.cached: list[str] = []

    def call(self, task: Task, **inputs: Any) -> Any:
        """Run a task here and now. Returns its record."""
        state = task(**inputs, return_state=True)
        record = state.result()
        self._note(task, inputs, state.name)
        return record

    def call_all(self, label: str, task: Task, calls: Sequence[dict[str, Any]]) -> list[Any]:
        """Run a task for each of several inputs, side by side. Returns records in that order."""
        progress = Progress(label, len(calls))
        futures: list[PrefectFuture] = [task.submit(**inputs) for inputs in calls]
        records = []
        for inputs, future in zip(calls, futures, strict=True):
            records.append(future.result())
            self._note(task, inputs, future.state.name)
            progress.advance()
        return records

    def _note(self, task: Task, inputs: dict[str, Any], state_name: str | None) -> None:
        names = self.cached if state_name == CACHED else self.ran
        names.append(str(task.task_run_name).format(**inputs))


class DirectLedger(Ledger):
    """Calls tasks without Prefect, in threads: for commands that should answer at once."""

    def call(self, task: Task, **inputs: Any) -> Any:
        """Run a task's function here and now. Returns its record."""
        outcome = task.fn(**inputs)
        reused = isinstance(outcome, State)
        self._note(task, inputs, outcome.name if reused else None)
        return outcome.data if reused else outcome

    def call_all(self, label: str, task: Task, calls: Sequence[dict[str, Any]]) -> list[Any]:
        """Run a task for each of several inputs, side by side. Returns records in that order."""
        progress = Progress(label, len(calls))
        with ThreadPoolExecutor(max_workers=THREADS) as threads:
            futures = [threads.submit(self.call, task, **inputs) for inputs in calls]
            for _ in as_completed(futures):
                progress.advance()
        return [future.result() for future in futures]
