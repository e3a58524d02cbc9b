"""The runs as MLflow has them, newest first: parents with their stems, and what compares them.

Only reads. The invariant: what is not known of a run is None, and a run that lacks something is shown, too.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from tasks.tracking.registry import champion_digests
from tasks.tracking.store import find_experiments, is_there, open_client, tracking_uri, unreachable
from tasks.tracking.words import MODEL_TAG, REUSED_TAG, STEM_TAG, VERSION_TAG
from tasks.workspace import Workspace

PAGE = 1000
PARENT_TAG = "mlflow.parentRunId"


class StemRun(BaseModel):
    """One stem of a run. version: its model in the registry, as NAME/NUMBER. best_simple: bits of the best
    simple model. params: all of its settings."""

    run_id: str
    name: str
    stem: str
    status: str
    reused: bool
    champion: bool
    version: str | None
    heldout_bits: float | None
    best_simple: float | None
    steps: int | None
    sample_rate: int | None
    levels: int | None
    badness: float | None
    params: dict[str, str]


class PipelineRun(BaseModel):
    """One run. began: milliseconds, as MLflow counts."""

    run_id: str
    name: str
    status: str
    began: int
    stems: list[StemRun]


def read_runs(workspace: Workspace, stem: str | None = None, most: int | None = None) -> list[PipelineRun]:
    """The newest runs, no more than `most`; with `stem`, those that have it, and it alone.

    Raises ConfigError where MLflow cannot be reached.
    """
    uri = tracking_uri(workspace)
    if not is_there(uri):
        return []
    try:
        client = open_client(uri)
        runs = _all_runs(client, find_experiments(client))
        champions = champion_digests(client)
    except Exception as error:
        raise unreachable("runs", uri, error) from error
    made = [_pipeline_run(run, _children(runs, run, champions, stem)) for run in runs if _is_parent(run)]
    return [run for run in made if run.stems or stem is None][:most]


def differing_params(runs: Sequence[StemRun]) -> dict[str, list[str]]:
    """Values of those params that are not the same in all runs, by name; empty where a run has none."""
    names = sorted({name for run in runs for name in run.params})
    values = {name: [run.params.get(name, "") for run in runs] for name in names}
    return {name: told for name, told in values.items() if len(set(told)) > 1}


def _all_runs(client: Any, experiments: list[str]) -> list[Any]:
    runs: list[Any] = []
    token = None
    while experiments:
        page = client.search_runs(
            experiments, order_by=["attributes.start_time DESC"], max_results=PAGE, page_token=token
        )
        runs += page
        token = page.token
        if not token:
            break
    return runs


def _is_parent(run: Any) -> bool:
    return PARENT_TAG not in run.data.tags


def _pipeline_run(run: Any, stems: list[StemRun]) -> PipelineRun:
    info = run.info
    return PipelineRun(
        run_id=info.run_id, name=info.run_name, status=info.status, began=info.start_time, stems=stems
    )


def _children(
    runs: Sequence[Any], parent: Any, champions: Mapping[str, str], stem: str | None
) -> list[StemRun]:
    mine = [run for run in runs if run.data.tags.get(PARENT_TAG) == parent.info.run_id]
    told = [_stem_run(run, champions) for run in mine if stem in (None, run.data.tags.get(STEM_TAG))]
    return sorted(told, key=lambda one: one.stem)


def _stem_run(run: Any, champions: Mapping[str, str]) -> StemRun:
    tags, metrics, params = run.data.tags, run.data.metrics, run.data.params
    stem, digest = tags.get(STEM_TAG, run.info.run_name), tags.get(MODEL_TAG)
    return StemRun(
        run_id=run.info.run_id,
        name=run.info.run_name,
        stem=stem,
        status=run.info.status,
        reused=tags.get(REUSED_TAG) == "true",
        champion=digest is not None and champions.get(stem) == digest,
        version=tags.get(VERSION_TAG),
        heldout_bits=metrics.get("final/heldout_bits_per_sample"),
        best_simple=metrics.get("final/best_simple_bits"),
        steps=_number(params.get("training.steps")),
        sample_rate=_number(params.get("data.sample_rate")),
        levels=_number(params.get("data.quantization_channels")),
        badness=metrics.get("take/badness"),
        params=params,
    )


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None
