"""A flow run from the command line: on the server that the environment names, or on an API of its own.

Knows nothing of what the flow does. The invariant: whoever runs it gets its result or its own error, whatever
becomes of Prefect's server meanwhile: the server is told of the work, and does not decide of it.
"""

import functools
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.embedded_api import embedded_api
from tasks.artifacts import close_what_is_left
from tasks.remote import workspace_at
from wavenet.disk import full_disk_told

if TYPE_CHECKING:
    from prefect import Flow


def run_flow(entrypoint: str, workspace: str | Path, **parameters: Any) -> Any:
    """The result of a flow. entrypoint: MODULE:NAME, which is imported while the API starts.

    workspace: a folder, or an address, of which a folder here is the cache.

    Raises what it raises; DiskFullError; EmbeddedApiError; RuntimeError where a server never answered.
    """
    root, parameters = workspace_at(workspace).root, {"workspace": workspace, **parameters}
    with full_disk_told(root):
        if url := os.environ.get("PREFECT_API_URL"):
            return _run_on_server(url, root / "prefect", entrypoint, parameters)
        return _run_embedded(Path(os.environ["PREFECT_HOME"]), entrypoint, parameters)


def _load(entrypoint: str) -> "Flow[..., Any]":
    module, _, name = entrypoint.partition(":")
    return getattr(import_module(module), name)


def _run_on_server(url: str, home: Path, entrypoint: str, parameters: Mapping[str, Any]) -> Any:
    """Run a flow on a server; if it is lost on the way, end the run without it. home: as `_run_embedded`."""
    import httpx
    from prefect.exceptions import ObjectNotFound

    flow, results = _keeping_results(_load(entrypoint))
    try:
        with _quick_flows():
            return flow(**parameters)
    except (httpx.HTTPError, ObjectNotFound) as error:  # a server may come back with another database
        _forget_what_it_was_to_hear()
        lost = f"waveband: the Prefect server at {url} was lost on the way ({error})"
        if results:
            print(f"{lost}; the run is complete, and is not shown as such there", file=sys.stderr)
            return results[0]
        print(f"{lost}; the run goes on without it, from what is done", file=sys.stderr)
        return _run_embedded(home, entrypoint, parameters)


def _forget_what_it_was_to_hear() -> None:
    """Drop events and log lines that wait for a lost server: at its end a process would try each for 11 s."""
    from prefect._internal.concurrency.services import QueueService

    for service in list(QueueService._instances.values()):
        with service._queue.mutex:
            service._queue.queue.clear()


def _keeping_results(flow: "Flow[..., Any]") -> tuple["Flow[..., Any]", list[Any]]:
    """The flow, and a list that will hold what it returns: Prefect gives that only once it has told its
    server."""
    kept: list[Any] = []

    @functools.wraps(flow.fn)
    def keep(**parameters: Any) -> Any:
        kept.append(flow.fn(**parameters))
        return kept[0]

    keeping = flow.with_options()
    keeping.fn = keep
    return keeping, kept


def _run_embedded(home: Path, entrypoint: str, parameters: Mapping[str, Any]) -> Any:
    """Run a flow on an API of its own. home: the folder of its database."""
    with embedded_api(home) as wait:
        flow = _load(entrypoint)  # takes as long as the API does to start
        with _api_at(wait()), _quick_flows():
            return flow(**parameters)


@contextmanager
def _quick_flows() -> Iterator[None]:
    """Flows without the thread that tells Prefect they are alive: it takes a second to end."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


@contextmanager
def _api_at(url: str) -> Iterator[None]:
    """Have Prefect use an API of this run's own; all it is told has arrived when the block is left."""
    from prefect.events.worker import EventsWorker
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: url}):
        try:
            yield
        finally:
            close_what_is_left()
            EventsWorker.drain_all(timeout=10)
