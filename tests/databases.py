"""Prefect's and MLflow's databases of a workspace: making empty ones takes seconds, copying them does not."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from filelock import FileLock

PREFECT, MLFLOW = Path("prefect", "prefect.db"), Path("mlflow.db")


def make_prefect_database(workspace):
    from flows.embedded_api import embedded_api

    with embedded_api((workspace / PREFECT).parent) as wait:
        wait()


def make_mlflow_database(workspace):
    from mlflow import MlflowClient

    MlflowClient(tracking_uri=f"sqlite:///{workspace / MLFLOW}").search_experiments()


def make_once(factory, name, make):
    """A folder that `make` has filled, once for all processes that tests run in side by side."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with FileLock(f"{folder}.lock"):
        if not (folder / "made").exists():
            folder.mkdir(exist_ok=True)
            make(folder)
            (folder / "made").touch()
    return folder


def lend(lender, workspace, *databases):
    """Copy databases of one workspace into another."""
    for database in databases:
        copy_database(lender / database, workspace / database)


def copy_database(source, copy):
    """With what is not yet in its file."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(source)) as opened, closing(sqlite3.connect(copy)) as target:
        opened.backup(target)
