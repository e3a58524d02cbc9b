"""Work apart: processes for what takes a core or may crash, such as decoding a damaged file.

Knows nothing of what is computed. The invariants: a worker that crashes or hangs costs its own call
and no other, one that is killed costs time, and no worker outlives the process that started it.
"""

import atexit
import ctypes
import functools
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import forkserver
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from wavenet.errors import AudioDecodeError, ConfigError

METHOD = multiprocessing.get_context("forkserver" if sys.platform != "win32" else "spawn")
"""How workers are started."""
PR_SET_PDEATHSIG = 1
LOST = (ProcessExpired, BrokenProcessPool)
"""What a call ends with whose process is gone."""
Result = TypeVar("Result")
_opening, _hiding = threading.Lock(), threading.Lock()
_under_way: set[ProcessFuture] = set()


class WorkerLostError(AudioDecodeError):
    """A process died or did not end. It may have been the machine's fault: the next time all may go well."""


def run_apart(
    function: Callable[..., Result], *args: Any, timeout: float, what: str, workers: int | None = None
) -> Result:
    """Call a module's function in a process of the pool and wait. The arguments are pickled to it.

    If the process dies it is called once more, so it has to bear what an earlier call left of its files.
    timeout: seconds, from when it starts. what: what is being read, for the message. Raises what the
    function raises, WorkerLostError where two processes died or one did not end, and CancelledError where
    `stop_workers` was called meanwhile; ConfigError where this process may have no others.
    """
    _check_may_fork()
    call = functools.partial(_call, function, args, timeout, workers or os.cpu_count() or 1)
    try:
        try:
            return call()
        except LOST:  # killed from outside, maybe, or for want of memory
            return call()
    except TimeoutError as error:
        if error.__cause__ is not None:  # the function's own, its traceback in the worker beside it
            raise
        raise WorkerLostError(
            f"{what}: reading it took longer than {timeout:.0f} s and was given up; copy or export it again"
        ) from None
    except LOST as error:
        status = getattr(error, "exitcode", "unknown")
        raise WorkerLostError(
            f"{what}: the process that read it broke down twice (exit status {status}); copy or export it "
            "again, or give it more memory"
        ) from None


def _call(function: Callable[..., Result], args: tuple, timeout: float, workers: int) -> Result:
    """The result of one call, which `stop_workers` may end meanwhile."""
    with _opening:  # or threads that come at once would each open a pool
        if not _pool(workers).active:  # it gives up when workers die that have nothing to do
            _pool.cache_clear()
        future = _pool(workers).schedule(_run, args=(function, args), timeout=timeout)
    _under_way.add(future)
    try:
        return future.result()
    finally:
        _under_way.discard(future)


def _check_may_fork() -> None:
    """A worker of Dask may have no processes of its own unless it is told that it may."""
    if multiprocessing.current_process().daemon:
        raise ConfigError(
            "this worker may start no processes, in which files are decoded; start workers with "
            "DASK_DISTRIBUTED__WORKER__DAEMON=False in their environment"
        )


def stop_workers() -> None:
    """End what is under way, for somebody who does not want to wait for it: those calls raise."""
    for future in list(_under_way):
        future.cancel()


def _run(function: Callable[..., Result], args: tuple) -> Result:
    """Call a function; an exception that does not survive pickling would take the pool with it."""
    try:
        return function(*args)
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301 (our own bytes)
        except Exception:
            raise RuntimeError(f"{type(error).__name__}: {error}") from None
        raise


@functools.cache
def _pool(workers: int) -> ProcessPool:
    """Processes forked from a small one, so that neither threads nor a big heap are copied."""
    context = WorkerContext()
    if sys.platform != "win32":
        context.set_forkserver_preload(["wavenet.data.tracks"])
    pool = ProcessPool(max_workers=workers, initializer=_begin_worker, context=context)
    atexit.register(_close, pool)
    return pool


class WorkerProcess(METHOD.Process):  # type: ignore[name-defined, misc]
    """A process that does not import what its starter was started by, as others of its kind do.

    That may be Prefect, 2 s and 60 MB a worker, or somebody's script, which would run again.
    """

    @staticmethod
    def _Popen(process: Any) -> Any:  # noqa: N802 (multiprocessing's name)
        with _hidden_main():
            return METHOD.Process._Popen(process)


class WorkerContext(type(METHOD)):  # type: ignore[misc]
    """As METHOD, with those processes."""

    Process = WorkerProcess


@contextmanager
def _hidden_main() -> Iterator[None]:
    """What multiprocessing takes for a main module has neither name nor file meanwhile."""
    with _hiding:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


def _close(pool: ProcessPool) -> None:
    pool.stop()
    pool.join(timeout=5)


def _begin_worker() -> None:
    die_with_parent()
    mute_libraries()


def mute_libraries() -> None:
    """Let only Python write to standard error from here on.

    C decoders print remarks on damaged files there, amid the progress; their errors come back as reasons.
    """
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)


def end_with_starter(how: signal.Signals) -> None:
    """Have the kernel send this process a signal when the one that started it ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, how)


def die_with_parent() -> None:
    """Let the kernel end this process when the one that started it ends (Linux); Ctrl-C is its parent's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_starter(signal.SIGKILL)
    if sys.platform == "linux":
        if _is_orphan():  # killed before the kernel was told: nobody would ever end this one
            os._exit(1)
        _let_go_of_forkserver()


def _is_orphan() -> bool:
    """Whether the process that forked this one is gone: what it was forked from has its command line."""
    try:
        mine = Path("/proc/self/cmdline").read_bytes()
    except OSError:
        return False
    try:
        return Path(f"/proc/{os.getppid()}/cmdline").read_bytes() != mine
    except OSError:
        return True


def _let_go_of_forkserver() -> None:
    """Close this worker's end of the pipe that keeps the process which forks workers, its parent, alive.

    Workers get one so that they may ask for processes too; a busy one would hold all of them up.
    """
    server: Any = forkserver._forkserver  # type: ignore[attr-defined]
    if server._forkserver_alive_fd is not None:
        os.close(server._forkserver_alive_fd)
        server._forkserver_alive_fd = None
