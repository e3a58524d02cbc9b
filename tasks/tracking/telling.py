"""One entry to one MLflow run: which of MLflow's calls it is.

The invariant: a call that is made twice leaves what it leaves once.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.tracking.entries import (
    Data,
    End,
    Entry,
    Files,
    Metrics,
    Model,
    Params,
    Row,
    Tags,
    Text,
    join_metrics,
)
from tasks.tracking.registry import register_model
from tasks.tracking.words import plain_key
from tasks.workspace import Workspace


def tell(client: Any, workspace: Workspace, run_id: str, entries: Sequence[Entry]) -> None:
    """Tell a run one piece. Raises what MLflow raises."""
    match entries[0]:
        case Metrics():
            tell_metrics(client, run_id, join_metrics(entries))  # type: ignore[arg-type]
        case Params(values=values):
            tell_params(client, run_id, values)
        case Tags(values=values):
            tell_tags(client, run_id, values)
        case Data() as data:
            tell_data(client, run_id, data)
        case Files(path=path, to=to, less=less):
            tell_files(client, run_id, workspace.path(path), to, less)
        case Text(text=text, to=to):
            client.log_text(run_id, text, to)
        case Model() as model:
            with workspace.lock("mlflow-registry"):
                register_model(client, run_id, workspace.path(model.folder), model)
        case End(status=status, when=when):
            client.set_terminated(run_id, status, end_time=when)


def tell_metrics(client: Any, run_id: str, rows: Sequence[Row]) -> None:
    """Rows in one call; MLflow's client makes batches of it."""
    from mlflow.entities import Metric

    values = [
        Metric(plain_key(name), value, when, step) for when, step, row in rows for name, value in row.items()
    ]
    client.log_batch(run_id, metrics=values, synchronous=True)


def tell_params(client: Any, run_id: str, values: dict[str, str]) -> None:
    """Params in one call; MLflow's client makes batches of it."""
    from mlflow.entities import Param

    params = [Param(plain_key(name), value) for name, value in values.items()]
    client.log_batch(run_id, params=params, synchronous=True)


def tell_tags(client: Any, run_id: str, values: dict[str, str]) -> None:
    """Tags, over those of the same names."""
    from mlflow.entities import RunTag

    client.log_batch(run_id, tags=[RunTag(name, value) for name, value in values.items()], synchronous=True)


def tell_data(client: Any, run_id: str, data: Data) -> None:
    """The data set as an input of the run."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(data.name, data.digest, "local", data.source, schema=data.form, profile=data.profile)
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def tell_files(client: Any, run_id: str, path: Path, to: str | None, less: Sequence[str]) -> None:
    """A file, or what a folder holds, as artifacts."""
    if not path.is_dir():
        client.log_artifact(run_id, str(path), to)
        return
    for inside in sorted(path.iterdir()):
        if inside.name not in less:
            client.log_artifact(run_id, str(inside), to)
