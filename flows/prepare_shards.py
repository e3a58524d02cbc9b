"""From an input to shards and no further, as a flow: what `waveband prepare` does without Prefect."""

from pathlib import Path

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

from flows.ledger import THREADS, open_ledger
from flows.outliving import is_run_by_worker
from flows.parameters import Changes, given
from flows.prepare import PreparedShards, prepare_request
from flows.printing import print_prepared
from flows.run_request import DEMO, Request, usual_config


@flow(name="prepare", task_runner=ThreadPoolTaskRunner(max_workers=THREADS), flow_run_name="{input}")
def prepare(
    input: str = DEMO,
    config: list[str] = [],  # noqa: B006
    changes: Changes = Changes(),  # noqa: B008  # type: ignore[valid-type]
    overrides: list[str] = [],  # noqa: B006
    workspace: str | Path = Path("workspace"),
) -> PreparedShards:
    """From a folder of music to Parquet shards, one set a stem, and no further.

    Args:
        input: Folder, glob, manifest (CSV, JSONL) or URL of tracks, or of songs as folders of stems; `demo`
            is an album that Waveband synthesizes itself.
        config: Names of configs or paths of YAML files, each over the one before. If there is none, `album`;
            for the demo album, `demo`.
        changes: Settings that differ from the configs'; what is left out stays as it is there.
        overrides: The same as text, section.key=value, over all else.
        workspace: Folder or address (s3://bucket/prefix) of all that is made, as the worker sees it.
    """
    configs = config or usual_config(input)
    request = Request(input=input, config=configs, changes=given(changes), overrides=overrides)
    made = prepare_request(request, workspace, open_ledger)
    if is_run_by_worker():
        print_prepared(made)
    return made
