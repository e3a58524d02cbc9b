"""What is to be made again though nothing changed: named stems, and task runs that a person set back.

Who opens a task run in Prefect's UI, changes its state (to Failed, say) and retries the flow run, wants that
task again. Knows nothing of what tasks make. The invariant: what is wanted again is made once, however often
a run is killed and started again before it ends. So each wish is an occasion with a name, which is kept in
the workspace until a run has ended, and which the results that were made on it bear.
"""

import sys
import uuid
from collections.abc import Collection
from typing import Any

from prefect import runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import StateType, TaskRun
from prefect.client.schemas.sorting import TaskRunSort
from pydantic import BaseModel, ValidationError

from flows.run_request import Request
from tasks.caching import describe
from tasks.workspace import Workspace
from wavenet.files import digest_json

FOLLOWS = {"train": ("train", "generate"), "generate": ("generate",)}
"""Whose task run is set back, and what is then made again. The mix follows them all."""
MIX = "mix"
BADLY_ENDED = {StateType.FAILED, StateType.CRASHED, StateType.CANCELLED}
WAITING = {StateType.PENDING, StateType.SCHEDULED}


class Again(BaseModel):
    """What a run is to make again. retrain: the stems that were named; occasions: of each task run, by name,
    such as train-drums, that may only reuse what was made on that occasion."""

    retrain: list[str] = []
    occasions: dict[str, str] = {}

    def occasion(self, task: str, stem: str = "") -> str | None:
        """On which occasion a task is to be done; None where any result will do."""
        return self.occasions.get(f"{task}-{stem}" if stem else task)


def open_again(place: Workspace, request: Request, retrain: Collection[str]) -> Again:
    """What this flow run is to make again, or has left to make of what it was to before. Inside a flow."""
    name, set_back = _name_of(request), find_set_back()
    with place.lock("again"):
        left = _read(place, name)
        begun = left.occasions if left.retrain == sorted(retrain) else {}
        wanted = _all_that_follow([f"train-{stem}" for stem in retrain]) - begun.keys()
        wanted |= _all_that_follow(set_back)
        new = dict.fromkeys([*wanted, MIX] if wanted or set_back else [], uuid.uuid4().hex)
        again = Again(retrain=sorted(retrain), occasions={**begun, **new})
        if new:
            place.write(name, again.model_dump())
    if begun:
        print("goes on with what was to be made again; what of it is done is reused", file=sys.stderr)
    return again


def close_again(place: Workspace, request: Request) -> None:
    """A run of that request has ended: who wants something again from now on wants it made."""
    if _read(place, name := _name_of(request)).occasions:
        place.write(name, Again().model_dump())


def _name_of(request: Request) -> str:
    """One file for each input and configuration, however they were asked for."""
    return f"again/{digest_json([request.rooted().input, describe(request.settings())])}.json"


def _read(place: Workspace, name: str) -> Again:
    try:
        return Again.model_validate(place.read(name))
    except (FileNotFoundError, ValueError, ValidationError):
        return Again()


def _all_that_follow(names: Collection[str]) -> set[str]:
    """Task runs, with those that are to be made again after them."""
    parts = [name.partition("-") for name in names]
    return {f"{task}-{stem}" for cause, _, stem in parts for task in FOLLOWS.get(cause, ())}


def find_set_back() -> set[str]:
    """Names of this flow run's task runs, where it is retried, that ended otherwise than `Completed`.

    What seems to be running is left out: it was killed, and what it had finished is reused. So is what seems
    to wait and never began: Prefect hears of states late, or not at all where a process is killed.
    """
    if (runtime.flow_run.run_count or 1) < 2:
        return set()
    mine = FlowRunFilter(id=FlowRunFilterId(any_=[runtime.flow_run.id]))
    with get_client(sync_client=True) as client:
        latest = {run.name: run for run in _all_task_runs(client, mine)}
    return {name for name, run in latest.items() if _is_set_back(run)}


def _is_set_back(run: TaskRun) -> bool:
    return run.state_type in BADLY_ENDED or (run.state_type in WAITING and run.start_time is not None)


def _all_task_runs(client: Any, mine: FlowRunFilter, page: int = 200) -> list[TaskRun]:
    """All of them, the newest last."""
    runs: list[TaskRun] = []
    while True:
        found = client.read_task_runs(
            flow_run_filter=mine, sort=TaskRunSort.EXPECTED_START_TIME_ASC, limit=page, offset=len(runs)
        )
        runs += found
        if len(found) < page:
            return runs
