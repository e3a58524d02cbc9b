"""Runs that are killed at random moments and begun again, until they end; and what must hold then.

The invariants that are looked at: no process outlives a killed flow, no lock stays held, what was finished is
not made again, no error is a traceback, and the end is that of a run that nothing befell.
"""

import itertools
import json
import random
import signal
import time
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.chaos.family import (
    API,
    FLOW,
    FORKSERVER,
    PREFECT_WORKER,
    SERVER,
    TRAINING,
    WORKER,
    Command,
    Deployed,
    Family,
    is_alive,
    kind_of,
    wait_until,
)
from tests.chaos.songs import Asked
from tests.chaos.traces import STARTING, differences, held_locks, outcome, results, stage_now
from tests.databases import MLFLOW, PREFECT, lend
from tests.prefect_site import Site

APART = {"ingest", "examine", "floors", "shards", "baselines", "ranges", "prints"}
"""Stages that work in the pool's processes."""
ENDING, NOBODY = "ending", "nobody"
GRACE_SECONDS = 30.0
LONGEST_RUN = 900.0


@dataclass(frozen=True)
class Span:
    """When a task's result was computed in a run, in seconds since it began."""

    key: str
    begin: float
    seconds: float

    @property
    def stage(self) -> str:
        return self.key.split("-")[0]


@dataclass(frozen=True)
class Kill:
    """Whom to kill, so many seconds after what sign."""

    kind: str
    span: Span
    delay: float


@dataclass(frozen=True)
class Blow:
    """A kill that was done, and what was wrong after it."""

    kind: str
    stage: str
    problems: list[str]


class Campaign:
    """Kills in workspaces of their own; one run that nothing befalls comes first."""

    def __init__(self, folder: Path, asked: Asked, rng: random.Random, site: Site | None = None) -> None:
        """site: whose deployment is run, instead of the command."""
        self.folder, self.asked, self.rng, self.site = folder, asked, rng, site
        self.number = 0
        started = time.time()
        self.undisturbed, self.seconds = self.finish("undisturbed")
        self.spans = find_spans(folder / "undisturbed", started, started + self.seconds)

    def start(self, workspace: str) -> Family:
        """A run as it is disturbed."""
        if self.site:
            return Deployed(self.site, workspace=str(self.folder / workspace), **self.asked.parameters())
        return self.command(workspace)

    def command(self, workspace: str) -> Command:
        self.number += 1
        return Command(
            f"{workspace}-{self.number}", self.folder, *self.asked.command(), "--workspace", workspace
        )

    def finish(self, workspace: str) -> tuple[dict[str, Any], float]:
        """Run to the end by the command. Returns its outcome and the seconds it took."""
        begun = time.monotonic()
        family = self.command(workspace)
        try:
            status = family.command.wait(LONGEST_RUN)
        finally:
            family.end()
        if status != 0:
            raise AssertionError(f"{family.mark} ended with {status}: {family.complaints()[-2000:]}")
        told = json.loads(family.out.read_text().splitlines()[-1])
        return outcome(self.folder / workspace, told), time.monotonic() - begun

    def deploy_to_the_end(self, workspace: str) -> list[str]:
        """Run the deployment once more, undisturbed. Returns what is wrong with how it ended."""
        if not self.site:
            return []
        family = self.start(workspace)
        wait_until(family.has_ended, LONGEST_RUN)
        state = self.site.flow_run(family.flow_run)["state_name"]
        return [] if state == "Completed" else [f"the last run of the deployment ended as {state}"]

    def choose(self, kinds: Sequence[str], count: int, within: Sequence[str] = ()) -> list[Kill]:
        """So many kills, as many of each kind, each kind's spread over the stages where there are any.

        within: these stages alone.
        """
        by_kind = {kind: self._shuffled(kind, within) for kind in kinds}
        stages = {kind: itertools.cycle(found) for kind, found in by_kind.items() if found}
        turns = itertools.islice(itertools.cycle(stages), count)
        kills = [self._choose(kind, next(stages[kind])) for kind in turns]
        self.rng.shuffle(kills)
        return kills

    def _shuffled(self, kind: str, within: Sequence[str]) -> list[str]:
        stages = [stage for stage in within or self.spans if kind in kinds_of(stage) and stage in self.spans]
        self.rng.shuffle(stages)
        return stages

    def _choose(self, kind: str, stage: str) -> Kill:
        span = self.rng.choice(self.spans[stage])
        return Kill(kind, span, self.rng.uniform(0, span.seconds))

    def strike(self, workspace: str, kills: Sequence[Kill]) -> Iterator[Blow]:
        """Kill in one workspace, one after another; a run that ends of it is begun again. Then compare."""
        self._lend_databases(workspace)
        left = sorted(kills, key=lambda kill: kill.span.begin)
        while left:
            yield from self._strike_run(workspace, left)
        problems = self.deploy_to_the_end(workspace)
        ended, _ = self.finish(workspace)
        yield Blow("", "the end", problems + differences(self.undisturbed, ended))

    def _strike_run(self, workspace: str, left: list[Kill]) -> Iterator[Blow]:
        """Kill in one run until it ends of it, or nobody is left to be killed: then it may go on."""
        place, begun = self.folder / workspace, time.time()
        before, kind = results(place), ""
        family = self.start(workspace)
        try:
            while left and kind not in {FLOW, TRAINING, NOBODY}:
                blow = self._strike(family, place, left.pop(0), begun)
                kind = blow.kind
                yield blow
            if problems := self._look(family, place, before, kind):
                yield Blow("", "afterwards", problems)
        finally:
            family.end()

    def _strike(self, family: Family, place: Path, kill: Kill, begun: float) -> Blow:
        kill = self._unfinished(kill, results(place))
        await_moment(family, place, kill, begun)
        wait_until(lambda: family.of_kind(kill.kind) or is_over(family, place, kill.span.key), LONGEST_RUN)
        stage = ENDING if kill.span.stage == ENDING else stage_now(place, begun)
        if not (victims := family.of_kind(kill.kind) or family.of_kind(FLOW)):
            return Blow(NOBODY, stage, [])
        victim = self.rng.choice(victims)
        kind = kind_of(victim) or NOBODY
        end(victim)
        family.revive()
        return Blow(kind, stage, [])

    def _unfinished(self, kill: Kill, done: Container[str]) -> Kill:
        """The same, or where that task is done already the next one, later."""
        if kill.span.key not in done:
            return kill
        left = [span for spans in self.spans.values() for span in spans if span.key not in done]
        span = min((span for span in left if span.begin >= kill.span.begin), key=lambda span: span.begin)
        return Kill(kill.kind, span, self.rng.uniform(0, span.seconds))

    def _lend_databases(self, workspace: str) -> None:
        """Empty ones take seconds to make: half of the workspaces begin with the undisturbed run's."""
        if self.rng.random() < 0.5:
            lend(self.folder / "undisturbed", self.folder / workspace, PREFECT, MLFLOW)

    def _look(self, family: Family, place: Path, before: dict, kind: str) -> list[str]:
        """What is wrong once a killed flow's helpers should be gone, or the flow has dealt with the loss."""
        problems = []
        if kind != FLOW and not wait_until(family.has_ended, LONGEST_RUN):
            problems.append("it neither went on nor ended")
        if not family.is_gone(GRACE_SECONDS):
            problems.append(f"left alive: {[' '.join(one.cmdline())[:120] for one in family.members()]}")
        if not wait_until(lambda: not held_locks(place), GRACE_SECONDS):
            problems.append(f"held: {held_locks(place)}")
        after = results(place)
        problems += [f"made again: {key}" for key in before if before[key] != after.get(key)]
        if "Traceback" in (err := family.complaints()) and kind != FLOW:
            problems.append(f"a traceback: {err[-1500:]}")
        return problems


def kinds_of(stage: str) -> list[str]:
    """Who is at work in a stage."""
    apart = [WORKER, FORKSERVER] if stage in APART else []
    return [FLOW, API, SERVER, PREFECT_WORKER, *apart, *([TRAINING] if stage == "train" else [])]


def find_spans(workspace: Path, begun: float, ended: float) -> dict[str, list[Span]]:
    """Spans of each stage, in the order they were come to; before the first and after the last, too."""
    stages: dict[str, list[Span]] = {}
    locks = {path.name: path.stat().st_mtime for path in (workspace / "locks").iterdir()}
    done = {key: when / 1e9 for key, (when, _) in results(workspace).items()}
    for key in sorted(done, key=locks.__getitem__):
        span = Span(key, locks[key] - begun, done[key] - locks[key])
        stages.setdefault(span.stage, []).append(span)
    first, last = min(locks.values()) - begun, max(done.values()) - begun
    ending = Span(ENDING, last, ended - begun - last)
    return {STARTING: [Span(STARTING, 0.0, first)], **stages, ENDING: [ending]}


def await_moment(family: Family, workspace: Path, kill: Kill, begun: float) -> None:
    """Wait until a run is amid what it is to be killed in; no longer than that, and than the run lasts."""
    key = kill.span.key

    def has_come() -> bool:
        if key == ENDING:
            return all_mixed(workspace, begun)
        return key == STARTING or fresh(workspace, key, begun)

    wait_until(lambda: has_come() or family.has_ended(), LONGEST_RUN)
    wait_until(lambda: is_over(family, workspace, key), kill.delay)


def is_over(family: Family, workspace: Path, key: str) -> bool:
    """Whether a task is done, or the run is."""
    return family.has_ended() or (workspace / "results" / f"{key}.json").exists()


def all_mixed(workspace: Path, begun: float) -> bool:
    """Whether the last task is done."""
    return fresh(workspace, "mix-*", begun) and any(workspace.glob("results/mix-*.json"))


def fresh(workspace: Path, pattern: str, begun: float) -> bool:
    """Whether a lock of that name was taken since."""
    return any(path.stat().st_mtime >= begun for path in (workspace / "locks").glob(pattern))


def end(process: psutil.Process) -> None:
    """kill -9."""
    with suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGKILL)
    wait_until(lambda: not is_alive(process), GRACE_SECONDS)
