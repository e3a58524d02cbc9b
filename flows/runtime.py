"""The embedded services: what has to be set before Prefect and MLflow are imported.

Everything is a default: what the environment says already stays.
"""

import os
from pathlib import Path

QUIET_MLFLOW = {
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # else a lost MLflow holds up each call for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # which is for results
}
NO_ANALYTICS = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
QUIET_PREFECT = {
    **NO_ANALYTICS,
    "PREFECT_LOGGING_LEVEL": "CRITICAL",  # errors are told once, in words, by the command line
    "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",  # a lost server is told of by a line for each event
}


def quiet_mlflow() -> None:
    """Telemetry off, and no long waits for a lost MLflow: for flows, which a worker may have started."""
    for name, value in QUIET_MLFLOW.items():
        os.environ.setdefault(name, value)


def prepare_environment(workspace: Path, embedded: bool = True) -> None:
    """Point Prefect's embedded API into the workspace, unless a server is named, and telemetry off.

    embedded: if not, for what tells its own tale: Prefect's log is left on, and there is no embedded API.
    """
    quiet_mlflow()
    for name, value in (QUIET_PREFECT if embedded else NO_ANALYTICS).items():
        os.environ.setdefault(name, value)
    if embedded and "PREFECT_API_URL" not in os.environ:
        os.environ.setdefault("PREFECT_HOME", str(workspace.resolve() / "prefect"))
        Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)  # SQLite will not
        os.environ.setdefault("PREFECT_SERVER_ALLOW_EPHEMERAL_MODE", "true")
        os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "60")
