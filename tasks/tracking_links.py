"""Links between what Prefect and what MLflow know of one thing: each run names the other.

The invariant: where one of them cannot be reached, the other goes on without the link.
"""

import sys
from dataclasses import dataclass
from functools import partial
from typing import Any

from tasks.artifact_board import Content
from tasks.artifact_words import code, escape, link
from tasks.artifacts import artifact_key, run_artifact, run_ids
from tasks.tracking import tracking_uri, ui_command
from tasks.workspace import Workspace
from wavenet.data.stores import public_address

LOCAL_UI = "http://127.0.0.1:5000"
"""Where MLflow's UI is, once it was started by hand."""


@dataclass(frozen=True)
class RunAddress:
    """Where a run is seen in MLflow's UI. command: what starts the UI, where no server is up."""

    url: str
    command: str | None

    def markdown(self, text: str, below: str = "") -> str:
        """A link to it, or to a page below it."""
        return link(text, self.url + below)

    @property
    def remark(self) -> str:
        """What has to be done first, as markdown; nothing with a server."""
        return f"once MLflow's UI is up:\n\n{code(self.command)}" if self.command else ""


def address_run(workspace: Workspace, run_id: str | None) -> RunAddress | None:
    """Where a run is seen. None without a run, and where MLflow cannot be asked."""
    if run_id is None:
        return None
    try:
        experiment = _client(workspace).get_run(run_id).info.experiment_id
    except Exception as error:
        print(f"MLflow cannot be asked for run {run_id} ({error}); the run goes on", file=sys.stderr)
        return None
    uri = tracking_uri(workspace)
    server = public_address(uri).rstrip("/") if uri.startswith("http") else None
    url = f"{server or LOCAL_UI}/#/experiments/{experiment}/runs/{run_id}"
    command = ui_command(workspace).replace(uri, public_address(uri))  # nobody's password
    return RunAddress(url, None if server else command)


def link_runs(workspace: Workspace, stem: str, run_id: str | None) -> None:
    """Show a stem's MLflow run in the Prefect run that this is called in, and name that one there.

    Both are done by the thread that shows things: nobody waits for MLflow.
    """
    if run_id is not None:
        shown = run_artifact("markdown", artifact_key("mlflow", stem))
        shown.show(partial(_link, workspace, stem, run_id, prefect_tags()), soon=True)


def _link(workspace: Workspace, stem: str, run_id: str, tags: dict[str, str]) -> Content | None:
    for name, value in tags.items():
        _client(workspace).set_tag(run_id, name, value)
    address = address_run(workspace, run_id)
    if address is None:
        return None
    told = f"The MLflow run of {escape(stem)} {address.remark}"
    return Content(address.markdown(f"{stem} in MLflow"), told)


def prefect_tags() -> dict[str, str]:
    """What an MLflow run is tagged with to lead back: ids, and addresses where there is a server."""
    from prefect.utilities.urls import url_for

    task_run_id, flow_run_id = run_ids()
    tags = {}
    for kind, run_id in (("flow", flow_run_id), ("task", task_run_id)):
        if run_id is not None:
            url = url_for(f"{kind}-run", obj_id=run_id)
            tags |= {f"prefect.{kind}_run_id": run_id, **({f"prefect.{kind}_run_url": url} if url else {})}
    return tags


def _client(workspace: Workspace) -> Any:
    from mlflow import MlflowClient  # a second to import

    return MlflowClient(tracking_uri=tracking_uri(workspace))
