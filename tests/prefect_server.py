"""A real Prefect server on loopback, as `prefect server start` starts it."""

import json
import os
import sys
import urllib.request

from tests.loopback import Server, free_port

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


class PrefectServer(Server):
    """A server with a port and a folder of its own."""

    def __init__(self, folder, *options, environment=None):
        """options: of `prefect server start`. environment: of its processes, beside the usual.

        `clients` is the environment of who speaks to it.
        """
        self.folder, port = folder, free_port()
        self.ui = f"http://127.0.0.1:{port}"
        self.url = f"{self.ui}/api"
        shared = {
            **clean_environment(),
            "PREFECT_HOME": str(folder),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            **(environment or {}),
        }
        self.clients = {**shared, "PREFECT_API_URL": self.url}
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", *options]
        own = {**shared, "PREFECT_SERVER_API_PORT": str(port)}  # the UI asks there
        super().__init__(command, f"{self.url}/health", folder / "server.log", own)

    def start(self):
        self.folder.mkdir(exist_ok=True)
        super().start()

    def ask(self, path, body=None):
        """As the function of that name."""
        return ask(self.url, path, body)
