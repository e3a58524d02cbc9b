"""Runs of the flow in this process, against a real Prefect server and a real MLflow store."""

import shutil

import pytest


@pytest.fixture
def workspace(tmp_path, mlflow_database):
    """A new workspace."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    shutil.copy(mlflow_database, folder / "mlflow.db")
    return folder


@pytest.fixture
def run(prefect_server, workspace, tiny):
    """Run build-and-train with the tiny configuration; what differs is given by name."""
    from flows.build_and_train import build_and_train

    def run(input, *overrides, **options):
        settings = {"config": [str(tiny)], "workspace": workspace, "overrides": list(overrides)}
        return build_and_train(input=str(input), **{**settings, **options})

    return run
