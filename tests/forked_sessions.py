"""Processes like `python -m wavenet.session`, forked from one that has loaded torch: seconds less for each.

Each has a process id, pipes and signals of its own, and ends when its standard input does; all that differs
from a real one is when torch was imported. For tests of what happens around a training; those of the process
itself, `tests/tasks/test_session.py`, and of the command line start real ones.

`python -m tests.forked_sessions SOCKET` is the process that forks; it runs no thread that a fork would lose.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest

MOST_BYTES = 1 << 18


class ForkedSession:
    """As much of `subprocess.Popen` as `tasks.session` knows."""

    def __init__(self, server: socket.socket, job: str) -> None:
        theirs_in, mine_in = os.pipe()
        mine_out, theirs_out = os.pipe()
        self._status_fd, status = os.pipe()
        request = json.dumps({"job": job, "folder": os.getcwd(), "environment": dict(os.environ)})
        socket.send_fds(server, [request.encode()], [theirs_in, theirs_out, 2, status])
        for end in (theirs_in, theirs_out, status):
            os.close(end)
        self.stdin = os.fdopen(mine_in, "w")
        self.stdout = os.fdopen(mine_out, encoding="utf-8", errors="replace")
        self.returncode: int | None = None
        self.pid = self._read_number()

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._status_fd], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._status_fd], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(["wavenet.session"], timeout or 0.0)
            self.returncode = self._read_number()
            os.close(self._status_fd)
        return self.returncode

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, what: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, what)

    def _read_number(self) -> int:
        return int(os.read(self._status_fd, 8))


@contextmanager
def session_server() -> Iterator[socket.socket | None]:
    """A process to fork sessions from, while the block is entered; None off Linux, where forks may hang."""
    if sys.platform != "linux":
        yield None
        return
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    mine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * MOST_BYTES)
    command = [sys.executable, "-m", "tests.forked_sessions", str(theirs.fileno())]
    root = Path(__file__).parents[1]
    with subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=root, stdin=subprocess.DEVNULL), theirs:
        theirs.close()
        yield mine
        mine.close()  # which ends the server


@contextmanager
def forked_trainings(server: socket.socket | None) -> Iterator[None]:
    """Have `tasks.session` fork its processes, while the block is entered; without a server they are real."""
    with pytest.MonkeyPatch.context() as patch:
        if server is not None:
            patch.setattr("tasks.session.Popen", partial(open_process, server))
        yield


def open_process(server: socket.socket, command: Sequence[str], **options: Any) -> Any:
    """In place of `subprocess.Popen`: a session is forked, whatever else there is to start is started."""
    if list(command[1:3]) == ["-m", "wavenet.session"]:
        return ForkedSession(server, command[3])
    return subprocess.Popen(command, **options)


def serve(requests: socket.socket) -> None:
    """Fork a session for each request, until nobody is left who could ask."""
    load()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for those who ask
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for keepers
    while True:
        request, ends, *_ = socket.recv_fds(requests, MOST_BYTES, 4)
        if not request:
            return
        if os.fork() == 0:
            requests.close()
            keep(json.loads(request), *ends)
        for end in ends:
            os.close(end)


def load() -> None:
    """What a training imports, torch's compiler with the first optimiser."""
    import torch

    import wavenet.session.run  # noqa: F401

    torch.optim.AdamW([torch.zeros(1)])


def keep(request: dict[str, Any], stdin: int, stdout: int, stderr: int, status: int) -> NoReturn:
    """Fork the session itself, and tell its process id and how it ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if (pid := os.fork()) == 0:
        os.close(status)
        for place, end in enumerate((stdin, stdout, stderr)):
            os.dup2(end, place)
            os.close(end)
        run(request)
    for end in (stdin, stdout, stderr):
        os.close(end)
    os.write(status, f"{pid:8}".encode())
    _, ended = os.waitpid(pid, 0)
    os.write(status, f"{os.waitstatus_to_exitcode(ended):8}".encode())
    os._exit(0)


def run(request: dict[str, Any]) -> NoReturn:
    """Be the session."""
    from wavenet.session.__main__ import main

    code = 1
    try:
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        code = main(Path(request["job"]))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
