"""All processes of a run: found by a mark in their environment, whoever started them, and told apart.

Knows nothing of what they do. Linux: it reads /proc.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

MARK = "WAVEBAND_CHAOS_RUN"
FLOW, TRAINING, WORKER, FORKSERVER, API = "flow", "training", "pool worker", "forkserver", "api"
KINDS = (FLOW, TRAINING, WORKER, FORKSERVER, API)
HIDDEN = ("PREFECT_", "MLFLOW_", "DO_NOT_TRACK")


class Family:
    """A command started as a person would, and everything that came of it."""

    def __init__(self, mark: str, folder: Path, *arguments: object) -> None:
        """mark: of all its processes, no other's. folder: where it runs, and where its output is."""
        self.mark, self.out, self.err = mark, folder / f"{mark}.out", folder / f"{mark}.err"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(HIDDEN)}
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.command = subprocess.Popen(
                [sys.executable, "-m", "flows.cli", *map(str, arguments)],
                cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True,
                env={**kept, MARK: mark, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip

    def members(self) -> list[psutil.Process]:
        """Those that are alive."""
        return [process for process in psutil.process_iter() if self._is_member(process)]

    def of_kind(self, kind: str) -> list[psutil.Process]:
        """Those of a kind that are alive."""
        return [process for process in self.members() if kind_of(process) == kind]

    def is_gone(self, seconds: float) -> bool:
        """Whether nobody is left after so long at most."""
        return wait_until(lambda: not self.members(), seconds)

    def end(self) -> None:
        """Kill whoever is left."""
        for process in self.members():
            process.kill()
        self.command.wait()

    def _is_member(self, process: psutil.Process) -> bool:
        try:
            is_alive = process.status() not in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
            return is_alive and process.environ().get(MARK) == self.mark
        except psutil.Error:
            return False


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
    signs = {"flows.cli": FLOW, "wavenet.session": TRAINING, "flows.embedded_api": API}
    return next((kind for sign, kind in signs.items() if sign in line), None)


def wait_until(true: Callable[[], object], seconds: float) -> bool:
    """Whether something comes true in time."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
