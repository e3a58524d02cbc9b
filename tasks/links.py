"""Links between what Prefect and what MLflow know of one thing: each run names the other.

The invariant: where one of them cannot be reached, the other goes on without the link.
"""

from functools import partial

from tasks.artifact_board import Content, NotYetError
from tasks.artifact_words import code, escape, link
from tasks.artifacts import artifact_key, run_artifact, run_ids
from tasks.tracking import RunPage, TrackedStem, find_page, prefect_tags, run_of, tag_run
from tasks.workspace import Workspace


def link_runs(workspace: Workspace, stem: str, tracked: TrackedStem | None) -> None:
    """Show a stem's MLflow run in the Prefect run that this is called in, and name that one there.

    The page is looked for by the thread that shows things: nobody waits for MLflow. Nothing is linked where
    the training sees no outbox, which would never know the run; the flow links it then.
    """
    if tracked is not None and tracked.folder(workspace).exists() and (tags := own_tags()):
        tag_run(workspace, tracked, tags)
        shown = run_artifact("markdown", artifact_key("mlflow", stem))
        shown.show(partial(_link, workspace, stem, tracked), soon=True)


def _link(workspace: Workspace, stem: str, tracked: TrackedStem) -> Content | None:
    run_id = run_of(workspace, tracked)
    if run_id is None:
        raise NotYetError
    page = find_page(workspace, run_id)
    if page is None:
        return None
    told = f"{escape(stem)} in MLflow{describe_start(page)}"
    return Content(link(f"{stem} in MLflow", page.url), told)


def describe_start(page: RunPage) -> str:
    """What has to be done before a page is seen, as markdown; nothing with a server."""
    return f", once its UI is up:\n\n{code(page.command)}" if page.command else ""


def own_tags() -> dict[str, str]:
    """What an MLflow run is tagged with to lead back here: ids, and addresses where there is a server."""
    from prefect.utilities.urls import url_for

    task_run_id, flow_run_id = run_ids()
    tags: dict[str, str] = {}
    for kind, run_id in (("flow", flow_run_id), ("task", task_run_id)):
        if run_id is not None:
            tags |= prefect_tags(f"{kind}_run", run_id, url_for(f"{kind}-run", obj_id=run_id))
    return tags
