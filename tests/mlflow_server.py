"""A real MLflow server on loopback, which can be killed and started again on the same store."""

import os
import signal
import subprocess
import sys

from tests.loopback import answers, free_port, wait_for


class MlflowServer:
    """`mlflow server` on a port and a folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        options = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        store = ["--backend-store-uri", f"sqlite:///{self.folder}/server.db"]
        files = ["--artifacts-destination", str(self.folder / "files")]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *options, *store, *files],
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # of judges of language models
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(lambda: answers(f"{self.url}/health"))

    def kill(self):
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(20)
            self.process = None
