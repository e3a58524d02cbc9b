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
    if try_to_hold(stream.fileno()):
        return stream
    stream.close()
    return None


def try_to_hold(handle: int) -> bool:
    """Hold the lock of an open file for as long as it is open. Returns whether nobody else does."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_for_lock(path: Path, wait: Callable[[], None]) -> IO[bytes]:
    """As `try_lock`; `wait` is called at each look at which somebody else holds it, and may raise."""
    while (stream := try_lock(path)) is None:
        wait()
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return stream


@contextmanager
def locked(path: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Hold a file's lock while the block is entered; waits for it as `wait_for_lock`."""
    with wait_for_lock(path, wait):
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
