"""The main flow: from a folder of records to a mix."""

from pathlib import Path

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

from flows.band import PipelineResult, run_band
from flows.ledger import THREADS
from flows.parameters import Changes, given
from flows.run_request import DEMO, Request, usual_config


@flow(name="build-and-train", task_runner=ThreadPoolTaskRunner(max_workers=THREADS), flow_run_name="{input}")
def build_and_train(
    input: str = DEMO,
    config: list[str] = [],  # noqa: B006  (Prefect shows a list's default in its form)
    changes: Changes = Changes(),  # noqa: B008  # type: ignore[valid-type]
    overrides: list[str] = [],  # noqa: B006
    workspace: str | Path = Path("workspace"),
    retrain: list[str] = [],  # noqa: B006
) -> PipelineResult:
    """From a folder of music to a mix: one WaveNet a stem, everything that is not done yet.

    Args:
        input: Folder, glob, manifest (CSV, JSONL) or URL of tracks, or of songs as folders of stems; `demo`
            is an album that Waveband synthesizes itself.
        config: Names of configs or paths of YAML files, each over the one before. If there is none, `album`;
            for the demo album, `demo`.
        changes: Settings that differ from the configs'; what is left out stays as it is there.
        overrides: The same as text, section.key=value, over all else.
        workspace: Folder or address (s3://bucket/prefix) of all that is made, as the worker sees it.
        retrain: Stems to train and generate again though nothing changed.
    """
    configs = config or usual_config(input)
    request = Request(input=input, config=configs, changes=given(changes), overrides=overrides)
    return run_band(request, workspace, retrain=retrain)
