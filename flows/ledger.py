"""What ran and what was reused, as the states of task runs tell."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture

from flows.runners import Cluster, open_cluster
from tasks.caching import CACHED
from tasks.pool import stop_workers
from tasks.progress import Progress
from tasks.stopping import check_stop
from wavenet.config import Config

THREADS = 2 * (os.cpu_count() or 1)
"""Tasks at once: they mostly wait for the pool's processes, one a core."""


class Ledger:
    """Calls tasks and keeps account of them, by task run name. cluster: where they run, if not here."""

    def __init__(self, cluster: Cluster | None = None) -> None:
        self.cluster = cluster
        self.ran: list[str] = []
        self.cached: list[str] = []

    def call(self, task: Task, **inputs: Any) -> Any:
        """Run a task now, and wait for it. Returns its record. Raises as `check_stop`."""
        check_stop()
        if self.cluster:
            (record,) = self.call_all("", task, [inputs])
            return record
        state = task(**inputs, return_state=True)
        record = state.result()
        self._note(task, inputs, state.name)
        return record

    def call_all(self, label: str, task: Task, calls: Sequence[dict[str, Any]]) -> list[Any]:
        """Run a task for each of several inputs, side by side. Returns records in that order."""
        progress = Progress(label, len(calls)) if label else None
        futures = [self._submit(task, inputs) for inputs in calls]
        records = []
        try:
            for inputs, future in zip(calls, futures, strict=True):
                records.append(future.result())
                self._note(task, inputs, future.state.name)
                if progress:
                    progress.advance()
        except BaseException:  # Ctrl-C too: nobody waits for what is still being worked on
            stop_workers()
            raise
        return records

    def _submit(self, task: Task, inputs: dict[str, Any]) -> PrefectFuture:
        return self.cluster.submit(task, inputs) if self.cluster else task.submit(**inputs)

    def _note(self, task: Task, inputs: dict[str, Any], state_name: str | None) -> None:
        names = self.cached if state_name == CACHED else self.ran
        names.append(str(task.task_run_name).format(**inputs))


@contextmanager
def open_ledger(settings: Config) -> Iterator[Ledger]:
    """Calls tasks where the configuration says that they run. In a running flow.

    Raises ConfigError as `open_cluster` does.
    """
    with open_cluster(settings.orchestration) as cluster:
        yield Ledger(cluster)


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
        threads = ThreadPoolExecutor(max_workers=THREADS)
        try:
            futures = [threads.submit(self.call, task, **inputs) for inputs in calls]
            for future in as_completed(futures):
                future.result()
                progress.advance()
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            stop_workers()
            raise
        finally:
            threads.shutdown()
        return [future.result() for future in futures]
