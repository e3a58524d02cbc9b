"""One stem trained again; its take and the mix follow, all else is reused."""

from pathlib import Path

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

from flows.band import PipelineResult, run_band
from flows.ledger import THREADS
from flows.parameters import Changes, given
from flows.prepare import open_workspace
from flows.run_request import last_request


@flow(name="train-stem", task_runner=ThreadPoolTaskRunner(max_workers=THREADS), flow_run_name="{stem}")
def train_stem(
    stem: str,
    changes: Changes = Changes(),  # noqa: B008  # type: ignore[valid-type]
    overrides: list[str] = [],  # noqa: B006
    workspace: str | Path = Path("workspace"),
    input: str | None = None,
    config: list[str] = [],  # noqa: B006
) -> PipelineResult:
    """Train one stem again, play it, and mix; everything else is reused.

    Args:
        stem: Name of the stem, such as drums.
        changes: Settings that differ from the last run's; for this stem alone, give them under stems.
        overrides: The same as text, such as stems.drums.training.steps=8000, over all else.
        workspace: Folder or address (s3://bucket/prefix) of all that is made, as the worker sees it.
        input: Of the last run of build-and-train in this workspace, if not given.
        config: Of the last run of build-and-train in this workspace, if not given.
    """
    asked = last_request(open_workspace(workspace), input, config)
    return run_band(asked.updated(given(changes), overrides), workspace, retrain=[stem])
