"""Which MLflow: a server that the environment names, or SQLite in the workspace; and the experiment there.

Knows nothing of what runs hold. The invariant: a store in the workspace appears whole or not at all, and
none is made by who only wants to read.
"""

import os
import shlex
import sys
from pathlib import Path
from typing import Any

from tasks.workspace import Workspace
from wavenet.data.stores import public_address, public_text
from wavenet.errors import ConfigError
from wavenet.files import digest_json

EXPERIMENT = "waveband"
SQLITE = "sqlite:///"
NO_TELEMETRY = "MLFLOW_DISABLE_TELEMETRY=true"
"""Before a command: MLflow reports its use otherwise."""


def named_uri() -> str | None:
    """MLFLOW_TRACKING_URI, where it is set."""
    return os.environ.get("MLFLOW_TRACKING_URI") or None


def uri_of(workspace: Workspace, named: str | None) -> str:
    """The store that is named, or SQLite in the workspace."""
    return named or f"{SQLITE}{workspace.root}/mlflow.db"


def tracking_uri(workspace: Workspace) -> str:
    """MLFLOW_TRACKING_URI, or SQLite in the workspace."""
    return uri_of(workspace, named_uri())


def ui_command(workspace: Workspace) -> str:
    """What to type to look at the runs; of a server its address. Without a password, if there is one."""
    uri = public_address(tracking_uri(workspace))
    return uri if is_server(uri) else f"{NO_TELEMETRY} mlflow ui --backend-store-uri {shlex.quote(uri)}"


def is_server(uri: str) -> bool:
    """Whether an MLflow is asked over HTTP."""
    return uri.startswith(("http:", "https:"))


def open_client(uri: str) -> Any:
    """An MlflowClient; its registry is MLFLOW_REGISTRY_URI, or that of the same store."""
    from mlflow import MlflowClient  # a second to import

    return MlflowClient(tracking_uri=uri, registry_uri=os.environ.get("MLFLOW_REGISTRY_URI") or uri)


def is_there(uri: str) -> bool:
    """Whether anything was ever kept there; of a server that is for it to say."""
    return not uri.startswith(SQLITE) or Path(uri.removeprefix(SQLITE)).exists()


def make_database(uri: str) -> None:
    """Make MLflow's SQLite database, whole or not at all: killed amid its migrations it stays broken."""
    path = Path(uri.removeprefix(SQLITE))
    if path.exists():
        return
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    for suffix in ("", "-wal", "-shm", "-journal"):  # of a process of that number that was killed
        Path(f"{temporary}{suffix}").unlink(missing_ok=True)
    open_client(f"{SQLITE}{temporary}").search_experiments()
    temporary.replace(path)


def find_or_make_experiment(workspace: Workspace, uri: str, client: Any) -> str:
    """The experiment's id. In a workspace that was moved it is a new one: MLflow keeps an experiment's
    artifacts under the absolute path it was made with. So it is where somebody has deleted it."""
    if not uri.startswith(SQLITE):
        return _find_or_create(client, EXPERIMENT, None)
    place = (workspace.root / "mlflow-artifacts").as_uri()
    with workspace.lock("mlflow"):
        make_database(uri)
        found = client.get_experiment_by_name(EXPERIMENT)
        moved = found is not None and found.artifact_location != place
        name = f"{EXPERIMENT} {digest_json(place)[:6]}" if moved else EXPERIMENT
        return _find_or_create(client, name, place)


def find_experiments(client: Any) -> list[str]:
    """Ids of all experiments of Waveband, also those of where the workspace was before."""
    found = client.search_experiments(filter_string=f"name LIKE '{EXPERIMENT}%'")
    return [one.experiment_id for one in found if f"{one.name} ".startswith(f"{EXPERIMENT} ")]


def unreachable(asked: str, uri: str, error: Exception) -> ConfigError:
    """That what was asked for needs an MLflow which does not answer."""
    told = public_text(f"MLflow at {uri} cannot be reached ({error})")
    return ConfigError(f"{asked}: {told}; check MLFLOW_TRACKING_URI")


def _find_or_create(client: Any, name: str, artifact_location: str | None) -> str:
    found = client.get_experiment_by_name(name)
    if found and found.lifecycle_stage == "deleted":  # whose name MLflow gives to no other
        return _find_or_create_beside(client, name, artifact_location)
    if found:
        return found.experiment_id
    tags = {"mlflow.experimentKind": "custom_model_development"}  # the UI's view for training runs
    try:
        return client.create_experiment(name, artifact_location=artifact_location, tags=tags)
    except Exception as error:
        if getattr(error, "error_code", None) != "RESOURCE_ALREADY_EXISTS":
            raise
        return client.get_experiment_by_name(name).experiment_id  # another machine was faster


def _find_or_create_beside(client: Any, deleted: str, artifact_location: str | None) -> str:
    """What takes the place of a deleted experiment: restoring it would bring back the runs that somebody
    wanted to be rid of. Says so when it is made."""
    name = f"{EXPERIMENT} {digest_json(deleted)[:6]}"
    if client.get_experiment_by_name(name) is None:
        print(
            f"MLflow: the experiment {deleted} was deleted there; runs are now in {name}, and in {deleted} "
            "again once that is restored",
            file=sys.stderr,
            flush=True,
        )
    return _find_or_create(client, name, artifact_location)
