"""What is to be made again though nothing changed: named stems, and task runs that a person set back.

Who opens a task run in Prefect's UI, changes its state (to Failed, say) and retries the flow run, wants that
task again. Knows nothing of what tasks make. The invariant: what is wanted again is made once, however often
a run is killed and begun again before it ends. So each wish is an occasion with a name, and a result bears
the one that it was made on: of a task run that was set back the state it was set to, which Prefect keeps; of
a named stem one that is kept in the workspace, with the runs that were given it and whether they have ended.
"""

import sys
import uuid
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any

from prefect import runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State, TaskRun
from prefect.client.schemas.sorting import TaskRunSort
from pydantic import BaseModel, ValidationError

from tasks.workspace import Workspace, safe_name
from wavenet.errors import ConfigError
from wavenet.files import digest_json

FOLLOWS = {"train": ("train", "generate"), "generate": ("generate",)}
"""Whose task run is set back, and what is then made again. The mix follows them all."""
MIX = "mix"


class Wish(BaseModel):
    """That a stem be made again. occasions: by task; runs: that were given it, and how often each had been
    completed by then; ended: those of them that came to their end."""

    occasions: dict[str, str] = {}
    runs: dict[str, int] = {}
    ended: list[str] = []


class Again:
    """What a flow run is to make again."""

    def __init__(
        self, place: Workspace, retrain: Collection[str] = (), set_back: Mapping[str, str] | None = None
    ) -> None:
        """retrain: stems. set_back: as `find_set_back`. Inside a flow run, where it has any of them."""
        self.place, self.retrain, self.set_back = place, frozenset(retrain), set_back or {}
        self.run = str(runtime.flow_run.id)
        self.wishes: list[str] = []
        self.occasions: dict[str, str] = {}

    @cached_property
    def _ends(self) -> int:
        return _count_ends(self.run)

    def of_stem(self, stem: str, content: Any) -> dict[str, str]:
        """On which occasion a stem's `train` and `generate` are to be done, where any result will not do.

        content: what it is trained on and how, as JSON: a wish is for that, whatever run it is given to.
        """
        wanted = {
            task: self.set_back[f"{cause}-{stem}"]
            for cause, following in FOLLOWS.items()
            if f"{cause}-{stem}" in self.set_back
            for task in following
        }
        if stem in self.retrain:
            wanted = self._take_wish(stem, f"{safe_name(stem)}-{digest_json([stem, content])[:16]}", wanted)
        self.occasions |= {f"{task}-{stem}": occasion for task, occasion in wanted.items()}
        return wanted

    def of_mix(self) -> str | None:
        """The same of the mix, once all stems were asked for: it follows them."""
        causes = [*self.occasions.values(), *filter(None, [self.set_back.get(MIX)])]
        return digest_json(sorted(causes)) if causes else None

    def _take_wish(self, stem: str, name: str, set_back: Mapping[str, str]) -> dict[str, str]:
        """The occasions of a stem that is to be made again; those of the run before if that did not end."""
        with self.place.lock(f"again-{name}"):
            wish = _read(self.place, name)
            if self._goes_on(wish):
                print(f"{stem} was to be made again before; what of it is done is reused", file=sys.stderr)
            else:
                wish = Wish(occasions=dict.fromkeys(FOLLOWS, uuid.uuid4().hex))
            wish.occasions |= set_back
            wish.runs[self.run] = self._ends
            self.place.write(_file(name), wish.model_dump())
        self.wishes.append(name)
        return wish.occasions

    def _goes_on(self, wish: Wish) -> bool:
        """Whether a wish is this run's still: that of a retry, unless it was completed since, for who retries
        that wants all of it again; or that of another run, killed or still at it. Where something is set
        back, that alone is to be made again, and not what was made on any wish before."""
        if self.set_back:
            return bool(wish.runs)
        if self.run in wish.runs:
            return self._ends <= wish.runs[self.run]
        return bool(wish.runs) and not wish.ended

    def close(self) -> None:
        """This run has ended, but for telling so: who wishes the same from now on wants it made once more."""
        for name in self.wishes:
            try:
                with self.place.lock(f"again-{name}"):
                    wish = _read(self.place, name)
                    if self.run in wish.runs:
                        wish.ended.append(self.run)
                        self.place.write(_file(name), wish.model_dump())
            except (OSError, ConfigError) as error:  # nothing that a run should fail for at its end
                print(f"{name}: that it was made again cannot be kept ({error})", file=sys.stderr)


def _file(name: str) -> str:
    return f"again/{name}.json"


def _read(place: Workspace, name: str) -> Wish:
    try:
        return Wish.model_validate(place.read(_file(name)))
    except (FileNotFoundError, ValueError, ValidationError):
        return Wish()


def _count_ends(flow_run: str) -> int:
    """How often a flow run was completed: more than once, where a person has retried it since."""
    if (runtime.flow_run.run_count or 1) < 2:
        return 0
    with get_client(sync_client=True) as client:
        return sum(state.is_completed() for state in client.read_flow_run_states(uuid.UUID(flow_run)))


def find_set_back() -> dict[str, str]:
    """This flow run's task runs, where it is retried, that were completed and are not so any more: by name,
    with the id of the state that somebody gave them.

    Of each name the newest that was ever completed counts. What failed or was killed is no wish: what it had
    finished is reused, and what it had not is made anyway.
    """
    if (runtime.flow_run.run_count or 1) < 2:
        return {}
    mine, given = FlowRunFilter(id=FlowRunFilterId(any_=[runtime.flow_run.id])), dict[str, list[State]]()
    with get_client(sync_client=True) as client:
        for run in reversed(_all_task_runs(client, mine)):
            if run.name not in given and run.name.partition("-")[0] in {*FOLLOWS, MIX}:
                states = _states_since_its_end(client, run)
                given |= {run.name: states} if states is not None else {}
    return {name: str(states[0].id) for name, states in given.items() if states}


def _states_since_its_end(client: Any, run: TaskRun) -> list[State] | None:
    """Those that a task run was given since it was completed last, but for Crashed, which it may be called
    with its process; None where it never was completed."""
    if run.state is not None and run.state.is_completed():
        return []
    states = sorted(client.read_task_run_states(run.id), key=lambda state: state.timestamp)
    ends = [number for number, state in enumerate(states) if state.is_completed()]
    return [state for state in states[ends[-1] + 1 :] if not state.is_crashed()] if ends else None


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
