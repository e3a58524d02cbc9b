"""That a band stops: told once, and heard by each stem wherever it is, at its next step or while it waits.

Knows nothing of the work. Carried in the context, so that threads which were started with it hear it too;
elsewhere, nothing ever stops.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from wavenet.errors import TrainingStoppedError

_stopped: ContextVar[threading.Event | None] = ContextVar("stopped", default=None)


@contextmanager
def stoppable() -> Iterator[Callable[[], None]]:
    """Yields what tells all that is begun within to stop."""
    stopped = threading.Event()
    token = _stopped.set(stopped)
    try:
        yield stopped.set
    finally:
        _stopped.reset(token)


def check_stop() -> None:
    """Raises TrainingStoppedError once the band was told to stop: before something is begun, and amid it."""
    stopped = _stopped.get()
    if stopped is not None and stopped.is_set():
        raise TrainingStoppedError("stopped with the rest of the band; run again to go on from there")


class Waiting:
    """Says once what is waited for, and hears at each look whether to stop."""

    def __init__(self, what: str) -> None:
        self.what, self.told = what, False

    def look(self) -> None:
        """Raises as `check_stop`."""
        if not self.told:
            self.told = True
            print(f"waiting for {self.what}", file=sys.stderr, flush=True)
        check_stop()
