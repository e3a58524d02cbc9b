"""All processes of a run: found by a mark in their environment, whoever started them, and told apart.

Knows nothing of what they do. Linux: it reads /proc.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tests.prefect_server import clean_environment
from tests.prefect_site import Site

MARK = "WAVEBAND_CHAOS_RUN"
FLOW, TRAINING, WORKER, FORKSERVER, API = "flow", "training", "pool worker", "forkserver", "api"
SERVER, PREFECT_WORKER = "server", "prefect worker"
OF_A_COMMAND = (FLOW, TRAINING, WORKER, FORKSERVER, API)
OF_A_SITE = (FLOW, TRAINING, WORKER, FORKSERVER, SERVER, PREFECT_WORKER)
KINDS = (*OF_A_COMMAND, SERVER, PREFECT_WORKER)
SECONDS_TO_START = 60.0


class Family:
    """Processes with a mark. A site's server and worker outlive the runs, and are none of a run's members."""

    def __init__(self, mark: str) -> None:
        """mark: of all its processes, no other's."""
        self.mark = mark

    def marked(self) -> list[psutil.Process]:
        """Those that are alive."""
        return [process for process in psutil.process_iter() if self._is_marked(process)]

    def members(self) -> list[psutil.Process]:
        """Those that should be gone once the run is."""
        return [process for process in self.marked() if kind_of(process) not in {SERVER, PREFECT_WORKER}]

    def of_kind(self, kind: str) -> list[psutil.Process]:
        """Those of a kind that are alive."""
        return [process for process in self.marked() if kind_of(process) == kind]

    def is_gone(self, seconds: float) -> bool:
        """Whether nobody is left after so long at most."""
        return wait_until(lambda: not self.members(), seconds)

    def has_ended(self) -> bool:
        """Whether the run has."""
        raise NotImplementedError

    def complaints(self) -> str:
        """What it told a person of."""
        return ""

    def revive(self) -> None:
        """Start again what an operator would."""

    def end(self) -> None:
        """Kill whoever is left."""
        for process in self.members():
            process.kill()

    def _is_marked(self, process: psutil.Process) -> bool:
        try:
            return is_alive(process) and process.environ().get(MARK) == self.mark
        except psutil.Error:
            return False


class Command(Family):
    """A command started as a person would, and everything that came of it."""

    def __init__(self, mark: str, folder: Path, *arguments: object) -> None:
        """folder: where it runs, and where its output is."""
        super().__init__(mark)
        self.out, self.err = folder / f"{mark}.out", folder / f"{mark}.err"
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.command = subprocess.Popen(
                [sys.executable, "-m", "flows.cli", *map(str, arguments)],
                cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True,
                env={**clean_environment(), MARK: mark, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip

    def has_ended(self) -> bool:
        return self.command.poll() is not None

    def complaints(self) -> str:
        return self.err.read_text(errors="replace")

    def end(self) -> None:
        super().end()
        self.command.wait()


class Deployed(Family):
    """A run of a deployment, by a site's worker."""

    def __init__(self, site: Site, **parameters: Any) -> None:
        super().__init__(site.server.environment[MARK])
        self.site = site
        done, self.flow_run = site.run("build-and-train", **parameters)
        if not wait_until(lambda: self.of_kind(FLOW), SECONDS_TO_START):
            raise AssertionError(f"no run began: {done.stdout}{done.stderr}")
        self.flow = self.of_kind(FLOW)[0]

    def has_ended(self) -> bool:
        return not is_alive(self.flow)

    def revive(self) -> None:
        if not self.of_kind(SERVER):
            self.site.server.start()
        if not self.of_kind(PREFECT_WORKER):
            self.site.start_worker()


def kind_of(process: psutil.Process) -> str | None:
    """What a process is, by its command line; None for helpers that hold nothing."""
    try:
        line = " ".join(process.cmdline())
        if "multiprocessing.forkserver" in line:
            parent = process.parent()
            forked = parent is not None and "multiprocessing.forkserver" in " ".join(parent.cmdline())
            return WORKER if forked else FORKSERVER
    except psutil.Error:
        return None
    signs = {
        "flows.cli": FLOW, "prefect.engine": FLOW, "wavenet.session": TRAINING, "flows.embedded_api": API,
        "prefect server start": SERVER, "prefect worker start": PREFECT_WORKER,
    }  # fmt: skip
    return next((kind for sign, kind in signs.items() if sign in line), None)


def is_alive(process: psutil.Process) -> bool:
    """Whether it still does something."""
    try:
        return process.status() not in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
    except psutil.NoSuchProcess:
        return False


def wait_until(true: Callable[[], object], seconds: float) -> bool:
    """Whether something comes true in time."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
