"""Prefect's API for one run: a process of its own, on SQLite in the workspace, gone with whoever started it.

Knows nothing of flows. Prefect would start such a process itself, but one that outlives a killed run.
The invariants: the process ends when its standard input does, whoever is killed how; the database is migrated
by one at a time; and no flow run of a process that is gone stays Running for longer than until the next run.

`python -m flows.embedded_api SOCKET` is the process; SOCKET is the number of an inherited, bound socket.
"""

import fcntl
import os
import re
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from subprocess import PIPE, Popen, TimeoutExpired
from typing import IO

from wavenet.errors import WavebandError

LOCK, ALIVE = "starting.lock", "alive.lock"
"""In PREFECT_HOME: held while the database is migrated; shared by all that run."""
OURS = ["build-and-train", "prepare", "train-stem", "generate-and-mix", "evaluate"]
"""Flows whose runs are looked after; somebody's database may have runs of others."""
_held: list[IO[str]] = []
SECONDS_TO_START, SECONDS_TO_END = 180.0, 5.0
QUICK_SECONDS, MOST_QUICK_DEATHS = 10.0, 3
"""A process that dies so soon, so many times in a row, would die again."""
SETTINGS = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
"""As Prefect has them for a server of one run."""


class EmbeddedApiError(WavebandError):
    """Prefect's API does not start."""


@contextmanager
def embedded_api(home: Path) -> Iterator[Callable[[], str]]:
    """Start the API on the database in home, PREFECT_HOME. Yields what waits for it and gives its URL.

    So the caller may import Prefect meanwhile. Raises EmbeddedApiError where it does not start.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryFile() as log,
        (home / LOCK).open("w") as lock,
        (home / ALIVE).open("w") as alive,
        _bound_socket() as bound,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        address, keeper = bound.getsockname(), _Keeper(home, bound, log)

        def wait() -> str:
            _wait_until_healthy(keeper, address)
            url = f"http://{address[0]}:{address[1]}/api"
            if _is_in(home):
                _join_the_living(alive, url)
            fcntl.flock(lock, fcntl.LOCK_UN)
            return url

        try:
            yield wait
        finally:
            keeper.end()


def _bound_socket() -> socket.socket:
    """A socket on a free port of loopback: bound here, so nobody takes the port meanwhile."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    return bound


def _without_server() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}


class _Keeper:
    """Keeps a process running: one that is killed is started again on the same socket, where callers wait."""

    def __init__(self, home: Path, bound: socket.socket, log: IO[bytes]) -> None:
        self.home, self.bound, self.log = home, bound, log
        self.ending = threading.Event()
        self.process = self._start()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    @property
    def has_given_up(self) -> bool:
        return not self.thread.is_alive()

    def end(self) -> None:
        """Have the process end, and wait for that."""
        self.ending.set()
        with suppress(TimeoutExpired):
            self.process.terminate()
            self.process.wait(SECONDS_TO_END)
        self.process.kill()
        self.thread.join()

    def _start(self) -> Popen:
        return Popen(  # noqa: S603 (this module)
            [sys.executable, "-m", __name__, str(self.bound.fileno())],
            stdin=PIPE, stdout=self.log, stderr=self.log, pass_fds=[self.bound.fileno()],
            env={**_without_server(), **SETTINGS, "PREFECT_HOME": str(self.home)},
            process_group=0,  # Ctrl-C is for us, who have a last word to tell it
        )  # fmt: skip

    def _watch(self) -> None:
        quick_deaths, started = 0, time.monotonic()
        while self._wait_for_kill():
            quick_deaths = quick_deaths + 1 if time.monotonic() - started < QUICK_SECONDS else 0
            if quick_deaths == MOST_QUICK_DEATHS:
                break
            started, self.process = time.monotonic(), self._start()
        self.bound.close()  # or callers would wait for ever

    def _wait_for_kill(self) -> bool:
        """Until the process ends. Returns whether it was killed, by somebody else."""
        status = self.process.wait()
        self.process.stdin.close()  # type: ignore[union-attr]
        return status < 0 and not self.ending.is_set()


def _wait_until_healthy(keeper: _Keeper, address: tuple[str, int]) -> None:
    end = time.monotonic() + SECONDS_TO_START
    while not _is_healthy(address):
        if keeper.has_given_up or time.monotonic() > end:
            raise EmbeddedApiError(
                f"{keeper.home}: Prefect's API does not start on it ({_reason(keeper.log)}); make room on "
                "the disk, or move that folder away (it holds the history of runs and nothing else), or "
                "set PREFECT_API_URL to a server"
            )
        time.sleep(0.05)


def _is_healthy(address: tuple[str, int]) -> bool:
    connection = HTTPConnection(*address, timeout=5)
    try:
        connection.request("GET", "/api/health")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _reason(log: IO[bytes]) -> str:
    """The last line of a log that names an error, or the last of all."""
    log.seek(0)
    lines = [line for line in log.read().decode(errors="replace").split("\n") if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b", line)]
    return (named or lines or ["it said nothing"])[-1]


def _is_in(home: Path) -> bool:
    """Whether the database is this folder's own, and not one that other machines use too."""
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, PREFECT_HOME, temporary_settings

    with temporary_settings({PREFECT_HOME: home}):
        return str(home) in str(PREFECT_API_DATABASE_CONNECTION_URL.value())


def _join_the_living(alive: IO, url: str) -> None:
    """Be one of those whose flow runs go on. Where there is no other, all that seem to are dead."""
    with suppress(BlockingIOError):
        fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _mark_crashed(url)
    fcntl.flock(alive, fcntl.LOCK_SH)


@contextmanager
def among_the_living(home: Path, url: str) -> Iterator[None]:
    """Be one of those whose flow runs go on, with another server on that database, while the block lasts."""
    with (home / ALIVE).open("w") as alive:
        _join_the_living(alive, url)
        yield


def live_until_the_end() -> None:
    """Have the runs of this process, which a worker started, go on for all who use Prefect's home of it."""
    from prefect.settings import PREFECT_HOME

    with suppress(OSError):
        alive = (PREFECT_HOME.value() / ALIVE).open("w")
        fcntl.flock(alive, fcntl.LOCK_SH)
        _held.append(alive)


def _mark_crashed(url: str) -> None:
    """Tell the database of our flow runs that were killed: nobody else will."""
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.filters import FlowFilter, FlowRunFilter, TaskRunFilter
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    state = Crashed(message="its process was killed; running it again goes on from there")
    unfinished = {"state": {"type": {"any_": [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]}}}
    ours = FlowFilter.model_validate({"name": {"any_": OURS}})
    of_runs, of_parts = FlowRunFilter.model_validate(unfinished), TaskRunFilter.model_validate(unfinished)
    with SyncPrefectClient(url) as client:
        for run in client.read_flow_runs(flow_filter=ours, flow_run_filter=of_runs):
            client.set_flow_run_state(run.id, state, force=True)
        for part in client.read_task_runs(flow_filter=ours, task_run_filter=of_parts):
            client.set_task_run_state(part.id, state, force=True)


def main(number: int) -> None:
    """Serve until told to end, or until standard input ends: then nobody is left to serve."""
    threading.Thread(target=_watch_starter, daemon=True).start()
    import uvicorn

    config = uvicorn.Config(
        "prefect.server.api.server:create_app", factory=True, lifespan="on", log_level="error"
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=number)])


def _watch_starter() -> None:
    while os.read(0, 1 << 16):
        pass
    os._exit(4)


if __name__ == "__main__":
    main(int(sys.argv[1]))
