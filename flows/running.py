"""The main flow run from the command line: on the server that the environment names, or on an API of its own.

Knows nothing of what the flow does. The invariant: whoever runs it gets its result or its own error, whatever
becomes of Prefect's server meanwhile: the server is told of the work, and does not decide of it.
"""

import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.embedded_api import embedded_api

if TYPE_CHECKING:
    from flows.build_and_train import PipelineResult


def run_build_and_train(workspace: Path, **parameters: Any) -> "PipelineResult":
    """Run the flow. Raises what it raises; EmbeddedApiError; RuntimeError where a server never answered."""
    parameters = {"workspace": workspace, **parameters}
    if url := os.environ.get("PREFECT_API_URL"):
        return run_on_server(url, workspace, parameters)
    return run_embedded(Path(os.environ["PREFECT_HOME"]), parameters)


def run_on_server(url: str, workspace: Path, parameters: dict[str, Any]) -> "PipelineResult":
    """Run the flow on a server; if it is lost on the way, end the run without it."""
    import httpx
    from prefect.exceptions import ObjectNotFound

    from flows.build_and_train import build_and_train

    results: list[PipelineResult] = []
    flow = build_and_train.with_options()
    flow.fn = functools.wraps(flow.fn)(lambda **given: results.append(build_and_train.fn(**given)) or results[0])
    try:
        return flow(**parameters)
    except (httpx.HTTPError, ObjectNotFound) as error:  # a server may come back with another database
        lost = f"waveband: the Prefect server at {url} was lost on the way ({error})"
        if results:
            print(f"{lost}; the run is complete, and is not shown as such there", file=sys.stderr)
            return results[0]
        print(f"{lost}; the run goes on without it, from what is done", file=sys.stderr)
        return run_embedded(workspace.resolve() / "prefect", parameters)


def run_embedded(home: Path, parameters: dict[str, Any]) -> "PipelineResult":
    """Run the flow on an API of its own. home: the folder of its database."""
    with embedded_api(home) as wait:
        from flows.build_and_train import build_and_train  # takes as long as the API does to start

        with api_settings(wait()):
            return build_and_train(**parameters)


@contextmanager
def api_settings(url: str) -> Iterator[None]:
    """Have Prefect use an API of this run's own; all it is told has arrived when the block is left."""
    from prefect.events.worker import EventsWorker
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    # no heartbeats: nobody is there to miss them, and they cost a second at the end
    with temporary_settings({PREFECT_API_URL: url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        try:
            yield
        finally:
            EventsWorker.drain_all(timeout=10)
