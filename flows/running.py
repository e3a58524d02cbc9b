"""The main flow run from the command line: on the server that the environment names, or on an API of its own.

Knows nothing of what the flow does. The invariant: whoever runs it gets its result or its error, whatever
becomes of Prefect's server meanwhile.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.embedded_api import embedded_api

if TYPE_CHECKING:
    from flows.build_and_train import PipelineResult


def run_build_and_train(**parameters: Any) -> "PipelineResult":
    """Run the flow. Raises what it raises, and EmbeddedApiError."""
    if os.environ.get("PREFECT_API_URL"):
        from flows.build_and_train import build_and_train

        return build_and_train(**parameters)
    with embedded_api(Path(os.environ["PREFECT_HOME"])) as wait:
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
