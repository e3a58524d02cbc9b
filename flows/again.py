"""What is to be made again though nothing changed: named stems, and task runs that a person set back.

Who opens a task run in Prefect's UI, changes its state (to Failed, say) and retries the flow run, wants that
task again. Knows nothing of what tasks make.
"""

from collections.abc import Collection
from typing import Any, NamedTuple

from prefect import runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import TaskRunSort

FOLLOWS = {"train": ("train", "generate"), "generate": ("generate",)}
"""Whose task run is set back, and what is then made again. The mix follows them all."""
SET_BACK = {StateType.FAILED, StateType.CRASHED, StateType.CANCELLED, StateType.PENDING, StateType.SCHEDULED}


class Again:
    """Names of task runs, such as train-drums, that are to compute and not to reuse."""

    def __init__(
        self, retrain: Collection[str], set_back: Collection[str] = (), done: Collection[str] = ()
    ) -> None:
        """retrain: stems. set_back, done: names of task runs, as `Earlier`."""
        self.retrain, self.set_back, self.done = map(frozenset, (retrain, set_back, done))

    def __bool__(self) -> bool:
        return bool(self.retrain or self.set_back)

    def wants(self, task: str, stem: str) -> bool:
        """Whether a stem's `train` or `generate` is to be done again."""
        causes = [cause for cause, following in FOLLOWS.items() if task in following]
        if any(f"{cause}-{stem}" in self.set_back for cause in causes):
            return True
        return stem in self.retrain and f"{task}-{stem}" not in self.done


class Earlier(NamedTuple):
    """Names of task runs of earlier attempts. set_back: that ended otherwise than `Completed`; what seems to
    be running is left out, as it was killed, and what it had finished is reused. done: completed since the
    run itself last was: who retries one that was completed wants all of it again."""

    set_back: frozenset[str] = frozenset()
    done: frozenset[str] = frozenset()


def find_earlier() -> Earlier:
    """What became of this flow run's task runs, where it is retried."""
    if (runtime.flow_run.run_count or 1) < 2:
        return Earlier()
    latest: dict[str, Any] = {}
    mine = FlowRunFilter(id=FlowRunFilterId(any_=[runtime.flow_run.id]))
    with get_client(sync_client=True) as client:
        for run in _all_task_runs(client, mine):
            latest[run.name] = run
        states = client.read_flow_run_states(runtime.flow_run.id)
    ends = [state.timestamp for state in states if state.is_completed()]
    set_back = frozenset(name for name, run in latest.items() if run.state_type in SET_BACK)
    completed = [run for run in latest.values() if run.state_type == StateType.COMPLETED]
    return Earlier(
        set_back, frozenset(run.name for run in completed if all(run.end_time > end for end in ends))
    )


def _all_task_runs(client: Any, mine: FlowRunFilter, page: int = 200) -> list[Any]:
    """All of them, the newest last."""
    runs: list[Any] = []
    while True:
        found = client.read_task_runs(
            flow_run_filter=mine, sort=TaskRunSort.EXPECTED_START_TIME_ASC, limit=page, offset=len(runs)
        )
        runs += found
        if len(found) < page:
            return runs
