"""Prefect's and MLflow's databases of a workspace: making empty ones takes seconds, copying them does not."""

import sqlite3
from contextlib import closing
from pathlib import Path

PREFECT, MLFLOW = Path("prefect", "prefect.db"), Path("mlflow.db")


def make_prefect_database(workspace):
    from flows.embedded_api import embedded_api

    with embedded_api((workspace / PREFECT).parent) as wait:
        wait()


def lend(lender, workspace, *databases):
    """Copy databases of one workspace into another, with what is not yet in their files."""
    for database in databases:
        (workspace / database).parent.mkdir(parents=True, exist_ok=True)
        with (
            closing(sqlite3.connect(lender / database)) as source,
            closing(sqlite3.connect(workspace / database)) as copy,
        ):
            source.backup(copy)
