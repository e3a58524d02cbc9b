"""Where a run is seen in MLflow's UI; and the run of a training, which knows no more than its outbox.

The invariant: where MLflow cannot be asked there is no page, and nothing else is missing.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from tasks.tracking.entries import Tags
from tasks.tracking.mirror import TrackedStem, add_quietly
from tasks.tracking.outbox import Outbox
from tasks.tracking.store import is_server, open_client, tracking_uri, ui_command
from tasks.workspace import Workspace
from wavenet.data.stores import public_address, public_text

LOCAL_UI = "http://127.0.0.1:5000"
"""Where MLflow's UI is, once it was started by hand."""


@dataclass(frozen=True)
class RunPage:
    """Where a run is seen. command: what starts the UI, where no server is up."""

    url: str
    command: str | None


def find_page(workspace: Workspace, run_id: str | None) -> RunPage | None:
    """Where a run is seen. None without a run, and where MLflow cannot be asked."""
    if run_id is None:
        return None
    uri = tracking_uri(workspace)
    try:
        experiment = open_client(uri).get_run(run_id).info.experiment_id
    except Exception as error:
        told = public_text(str(error))
        warnings.warn(f"MLflow cannot be asked for run {run_id} ({told}); the run goes on", stacklevel=2)
        return None
    server = public_address(uri).rstrip("/") if is_server(uri) else None
    url = f"{server or LOCAL_UI}/#/experiments/{experiment}/runs/{run_id}"
    return RunPage(url, None if server else ui_command(workspace))


def run_of(workspace: Workspace, tracked: TrackedStem | None) -> str | None:
    """The id of a stem's run; None until MLflow has answered."""
    return _outbox(workspace, tracked).sent.run_id if tracked else None


def tag_run(workspace: Workspace, tracked: TrackedStem, tags: Mapping[str, str]) -> None:
    """Tell more of a stem's run."""
    add_quietly(_outbox(workspace, tracked), Tags(values=dict(tags)))


def _outbox(workspace: Workspace, tracked: TrackedStem) -> Outbox:
    return Outbox(tracked.folder(workspace), tracked.label)
