"""A real MLflow server on loopback, which can be killed and started again on the same store."""

import os
import shlex
import signal
import sys
from contextlib import contextmanager

from tests.loopback import Server, free_port

QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # of judges of language models


class MlflowServer(Server):
    """`mlflow server` on a port and a folder of its own."""

    def __init__(self, folder, *options, environment=None):
        """options: of `mlflow`, instead of a server on that folder. environment: beside the tests'."""
        self.folder, port = folder, free_port()
        self.url = f"http://127.0.0.1:{port}"
        store = ["--backend-store-uri", f"sqlite:///{folder}/server.db"]
        files = ["--artifacts-destination", str(folder / "files")]
        options = options or ["server", "--host", "127.0.0.1", *store, *files]
        command = [sys.executable, "-m", "mlflow", *options, "--port", str(port), "--workers", "1"]
        told = {**os.environ, **QUIET, **(environment or {})}
        super().__init__(command, f"{self.url}/health", folder / "server.log", told)


@contextmanager
def served(printed, folder):
    """The address of what a printed command serves, which begins with its environment.

    folder: where it may write what it says.
    """
    assignment, program, *options = shlex.split(printed)
    assert program == "mlflow"
    name, _, value = assignment.partition("=")
    server = MlflowServer(folder, *options, environment={name: value})
    server.start()
    try:
        yield server.url
    finally:
        server.kill(signal.SIGTERM)
