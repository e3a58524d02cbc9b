"""Weights by the names that MLflow has for them: models:/NAME/VERSION, models:/NAME@ALIAS, runs:/RUN_ID/PATH.

The invariant: what is named is copied whole or an error says which MLflow was asked, and what for.
"""

import os
import re
from pathlib import Path
from typing import Any

from tasks.tracking.store import is_there, open_client, tracking_uri
from tasks.workspace import Workspace
from wavenet.data.stores import public_text
from wavenet.errors import ConfigError

INIT_FROM = "training.init_from"
RUN_URI = re.compile(r"runs:/(?P<run>\w+)/(?P<path>.+)")
VERSION_URI = re.compile(r"models:/(?P<name>[^/@]+)(/(?P<version>\d+)|@(?P<alias>.+))")
NOT_THERE = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND"}
"""MLflow's codes of what it knows nothing of."""
MODEL = "model"
"""The path in a run that stands for its model."""


def is_mlflow_uri(text: str) -> bool:
    """Whether a place is one in MLflow."""
    return text.startswith(("models:", "runs:"))


def download_weights(workspace: Workspace, uri: str, folder: Path, option: str = INIT_FROM) -> Path:
    """Copy what models:/NAME/VERSION, models:/NAME@ALIAS or runs:/RUN_ID/PATH names into a folder.

    option: what a person asked with. Returns where it lies there. Raises ConfigError where the URI is none of
    these, or MLflow knows nothing of it or cannot be reached.
    """
    if not (RUN_URI.fullmatch(uri) or VERSION_URI.fullmatch(uri)):
        raise ConfigError(
            f"{option}={uri}: expected models:/NAME/VERSION, models:/NAME@ALIAS or runs:/RUN_ID/model"
        )
    store = tracking_uri(workspace)
    if not is_there(store):
        raise _not_there(f"{option}={uri}", store, "there are no runs yet")
    try:
        return _download(store, uri, folder)
    except Exception as error:  # each store of artifacts has its own kinds
        if getattr(error, "error_code", None) in NOT_THERE or isinstance(error, FileNotFoundError):
            raise _not_there(f"{option}={uri}", store, str(error)) from None
        told = public_text(f"MLflow at {store} cannot be reached ({error})")
        raise ConfigError(f"{option}={uri}: {told}; check MLFLOW_TRACKING_URI, or name a folder") from error


def _download(store: str, uri: str, folder: Path) -> Path:
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow.artifacts import download_artifacts

    client = open_client(store)
    if named := VERSION_URI.fullmatch(uri):
        uri = _source_of_version(client, **named.groupdict())
    elif (named := RUN_URI.fullmatch(uri)) and named["path"].strip("/") == MODEL:
        uri = _model_of_run(client, named["run"]) or uri
    return Path(download_artifacts(artifact_uri=uri, dst_path=str(folder), tracking_uri=store))


def _source_of_version(client: Any, name: str, version: str | None, alias: str | None) -> str:
    """Where a registered version's files lie. Asked of a client: MLflow's own way for models:/ takes another
    registry than that of the store."""
    number = version or client.get_model_version_by_alias(name, alias).version
    return client.get_model_version_download_uri(name, str(number))


def _model_of_run(client: Any, run_id: str) -> str | None:
    """The model that a run has made or reused; None where it only has files."""
    outputs = client.get_run(run_id).outputs
    models = outputs.model_outputs if outputs else []
    return client.get_logged_model(models[-1].model_id).artifact_location if models else None


def _not_there(asked: str, store: str, reason: str) -> ConfigError:
    told = public_text(f"not found in MLflow at {store} ({reason})")
    return ConfigError(
        f"{asked}: {told}; `waveband runs` shows what there is, MLFLOW_TRACKING_URI says where"
    )
