"""What the last run's models make of held-out audio, measured anew; nothing is trained or played."""

from pathlib import Path

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

from flows.band import Evaluation, evaluate_band
from flows.ledger import THREADS
from flows.outliving import is_run_by_worker
from flows.prepare import open_workspace
from flows.printing import print_evaluation
from flows.run_request import last_request


@flow(name="evaluate", task_runner=ThreadPoolTaskRunner(max_workers=THREADS))
def evaluate(
    workspace: str | Path = Path("workspace"),
    input: str | None = None,
    config: list[str] = [],  # noqa: B006
    overrides: list[str] = [],  # noqa: B006
) -> Evaluation:
    """Bits per sample of each stem's model on each split, beside context models. All have to be trained.

    Args:
        workspace: Folder or address (s3://bucket/prefix) of all that is made, as the worker sees it.
        input: Of the last run of build-and-train in this workspace, if not given.
        config: Of the last run of build-and-train in this workspace, if not given.
        overrides: Settings that differ from the last run's, section.key=value.
    """
    asked = last_request(open_workspace(workspace), input, config)
    evaluation = evaluate_band(asked.updated({}, overrides), workspace)
    if is_run_by_worker():
        print_evaluation(evaluation)
    return evaluation
