"""Several stems at once: each stem's work in order, so many stems at a time.

Knows nothing of the work. The invariants: with one line the work is done here and now, so that who cancels it
need not wait; what fails ends the others, whatever they are at or wait for, and is raised; they lose nothing.
"""

import contextvars
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from tasks.pool import stop_workers
from tasks.session import stop_sessions
from tasks.stopping import stoppable

Made = TypeVar("Made")


def work_in_lines(work: Callable[[str], Made], stems: Iterable[str], num_lines: int) -> dict[str, Made]:
    """What the work makes of each stem, in their order. Prefect's contexts go along into threads."""
    stems = list(stems)
    if num_lines == 1:
        return {stem: work(stem) for stem in stems}
    threads = ThreadPoolExecutor(num_lines, thread_name_prefix="stem")
    with stoppable() as stop:
        try:
            futures = {stem: threads.submit(contextvars.copy_context().run, work, stem) for stem in stems}
            for future in as_completed(futures.values()):
                future.result()
            return {stem: future.result() for stem, future in futures.items()}
        except BaseException:  # Ctrl-C and cancellation too
            stop()
            threads.shutdown(wait=False, cancel_futures=True)
            stop_workers()
            stop_sessions()
            raise
        finally:
            threads.shutdown()
