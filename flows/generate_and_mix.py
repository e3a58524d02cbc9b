"""New takes of models that are trained, and their mix; nothing is trained."""

from pathlib import Path

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import NonNegativeInt, PositiveFloat

from flows.band import PipelineResult, run_band
from flows.ledger import THREADS
from flows.parameters import Changes, given
from flows.prepare import open_workspace
from flows.run_request import last_request


@flow(name="generate-and-mix", task_runner=ThreadPoolTaskRunner(max_workers=THREADS))
def generate_and_mix(
    seconds: PositiveFloat | None = None,
    seed: NonNegativeInt | None = None,
    changes: Changes = Changes(),  # noqa: B008  # type: ignore[valid-type]
    overrides: list[str] = [],  # noqa: B006
    workspace: str | Path = Path("workspace"),
    input: str | None = None,
    config: list[str] = [],  # noqa: B006
) -> PipelineResult:
    """Play the models of the last run and mix what they play. It fails where a stem is not trained yet.

    Args:
        seconds: Length of the takes; as in the last run, if not given.
        seed: Of the takes; as in the last run, if not given.
        changes: Settings that differ from the last run's, as of generation and mix.
        overrides: The same as text, section.key=value, over all else.
        workspace: Folder or address (s3://bucket/prefix) of all that is made, as the worker sees it.
        input: Of the last run of build-and-train in this workspace, if not given.
        config: Of the last run of build-and-train in this workspace, if not given.
    """
    asked = last_request(open_workspace(workspace), input, config)
    takes = {key: value for key, value in {"seconds": seconds, "seed": seed}.items() if value is not None}
    plays = [f"generation.{key}={value}" for key, value in takes.items()]
    return run_band(asked.updated(given(changes), [*overrides, *plays]), workspace, may_train=False)
