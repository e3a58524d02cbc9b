"""A real Prefect server on loopback, as `prefect server start` starts it."""

import json
import os
import signal
import subprocess
import sys
import urllib.request

from tests.loopback import answers, free_port, wait_for

HIDDEN = ("PREFECT_", "MLFLOW_", "DO_NOT_TRACK")


def clean_environment():
    """This process's, without what the tests say of the services."""
    return {name: value for name, value in os.environ.items() if not name.startswith(HIDDEN)}


def ask(url, path, body=None):
    """What an API answers: to GET, or to POST where there is a body."""
    request = urllib.request.Request(
        url + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


class PrefectServer:
    """A server with a port and a folder of its own, which can be killed and started again."""

    def __init__(self, folder, *options, environment=None):
        """options: of `prefect server start`. environment: of its processes, beside the usual."""
        self.folder, self.options = folder, options
        self.port = free_port()
        self.ui = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.ui}/api"
        self.environment = {
            **clean_environment(),
            "PREFECT_HOME": str(folder),
            "PREFECT_API_URL": self.url,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            **(environment or {}),
        }
        self.process = None

    def start(self):
        self.folder.mkdir(exist_ok=True)
        own = {"PREFECT_SERVER_API_PORT": str(self.port)}  # the UI asks there
        environment = {name: value for name, value in self.environment.items() if name != "PREFECT_API_URL"}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", *self.options],
                env={**environment, **own},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        wait_for(lambda: answers(f"{self.url}/health"))

    def kill(self):
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(20)
            self.process = None

    def ask(self, path, body=None):
        """As the function of that name."""
        return ask(self.url, path, body)
