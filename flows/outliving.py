"""A run that a worker started outlives it: what it prints goes nowhere once the worker is gone.

Else the next line it prints ends it: a worker reads its runs' output, and writing to a pipe that nobody reads
is an error, which some libraries end the process by. So here everybody writes to a pipe that this process
reads itself, and passes on for as long as there is somebody to pass it on to. Knows nothing of Prefect but
how a worker names a run.
"""

import atexit
import contextlib
import os
import threading

STARTED_BY_A_WORKER = "PREFECT__FLOW_RUN_ID"
END = b"\0"
"""No text has it; and a byte of that value before the end is passed on as any."""
SECONDS_TO_DRAIN = 5.0
_relayed: set[int] = set()


def is_run_by_worker() -> bool:
    """Whether a worker started this process, and its terminal shows what is printed here."""
    return STARTED_BY_A_WORKER in os.environ


def outlive_worker() -> None:
    """Relay standard output and error of a process that a worker started; once."""
    for descriptor in {1, 2} - _relayed:
        _relayed.add(descriptor)
        atexit.register(Relay(descriptor).end)


class Relay:
    """A pipe in the place of a descriptor, and a thread that passes on what is written to it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor, self.reader = descriptor, os.dup(descriptor)
        self.is_over = False
        self.pipe, written = os.pipe()
        os.dup2(written, descriptor)
        os.close(written)
        self.thread = threading.Thread(target=self._pass_on, daemon=True)
        self.thread.start()

    def end(self) -> None:
        """Put the descriptor back once all is passed on. Children may still write to the pipe, so that it has
        no end: a mark is waited for."""
        self.is_over = True
        os.write(self.descriptor, END)
        self.thread.join(SECONDS_TO_DRAIN)
        os.dup2(self.reader, self.descriptor)

    def _pass_on(self) -> None:
        told = b""
        while not (self.is_over and END in told):
            told = os.read(self.pipe, 1 << 16)
            with contextlib.suppress(BrokenPipeError):
                _write_all(self.reader, told.replace(END, b"") if self.is_over else told)


def _write_all(descriptor: int, told: bytes) -> None:
    while told:
        told = told[os.write(descriptor, told) :]
