"""The doctor's report, with a pipeline run or with a run that a person has opened."""

import os
import warnings
from collections.abc import Iterator

from tasks.doctor import DoctorOutput
from tasks.tracking.entries import Entry, Files, figures
from tasks.tracking.store import open_client, tracking_uri
from tasks.tracking.telling import tell
from tasks.workspace import Workspace
from wavenet.data.stores import public_text


def doctor_entries(output: DoctorOutput) -> Iterator[Entry]:
    """The doctor's page and its rows, and what there is to train on as figures."""
    yield Files(path=str(output.page), to="doctor")
    yield Files(path=str(output.json_file), to="doctor")
    yield figures(
        {
            f"data/{stem.replace('/', '_')}/{split}_minutes": seconds / 60
            for stem, splits in output.report.totals.seconds.items()
            for split, seconds in splits.items()
        }
    )


def log_to_run_under_way(workspace: Workspace, output: DoctorOutput) -> str | None:
    """Log to the run that MLFLOW_RUN_ID names, if it names one. Returns its id where MLflow took it."""
    run_id = os.environ.get("MLFLOW_RUN_ID")
    try:
        if run_id:
            client = open_client(tracking_uri(workspace))
            for entry in doctor_entries(output):
                tell(client, workspace, run_id, [entry])
        return run_id
    except Exception as error:
        told = public_text(str(error))
        warnings.warn(f"MLflow: the report was not logged ({told}); it is in the workspace", stacklevel=2)
        return None
