"""Claims on a file, which one process has at a time and the system frees when it dies: flock."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import IO

SECONDS_BETWEEN_LOOKS = 0.1
_lent: ContextVar[tuple[int, ...]] = ContextVar("lent", default=())


def try_lock(path: Path) -> IO[bytes] | None:
    """Hold a file's lock for as long as what is returned is open; None where somebody else holds it.

    The file is made if it is not there, never changed, and no link is followed: its folder may be anybody's.
    """
    stream = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "rb+")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return stream
    except BlockingIOError:
        stream.close()
        return None


@contextmanager
def locked(path: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Hold a file's lock; `wait` is called at each look at which somebody else does, and may raise."""
    while (stream := try_lock(path)) is None:
        wait()
        time.sleep(SECONDS_BETWEEN_LOOKS)
    with stream:
        yield


@contextmanager
def lent(stream: IO[bytes]) -> Iterator[None]:
    """Have a lock be held by processes, too, that are started meanwhile with `pass_fds=lent_locks()`."""
    token = _lent.set((*_lent.get(), stream.fileno()))
    try:
        yield
    finally:
        _lent.reset(token)


def lent_locks() -> tuple[int, ...]:
    """Descriptors of the locks that are lent here."""
    return _lent.get()
