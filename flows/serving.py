"""`waveband deploy`: a Prefect server on this machine, if none is named, and the deployments served.

The invariant: the server listens on loopback alone, and ends with whoever started it, however that ends.
"""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from flows.embedded_api import among_the_living
from tasks.pool import end_with_starter
from wavenet.errors import ConfigError

HOST = "127.0.0.1"
SECONDS_TO_START = 60.0


@contextmanager
def prefect_server(workspace: Path, port: int) -> Iterator[str]:
    """The address of the API that PREFECT_API_URL names, or of a server that is started and ended here.

    Its database lies in the workspace. Raises ConfigError where it does not begin to answer.
    """
    if named := os.environ.get("PREFECT_API_URL"):
        yield named
        return
    home = Path(os.environ.setdefault("PREFECT_HOME", str(workspace / "prefect")))
    home.mkdir(parents=True, exist_ok=True)
    url = f"http://{HOST}:{port}/api"
    if _answers(url):
        raise ConfigError(
            f"--port {port}: a server answers there already; set PREFECT_API_URL={url} to use it"
        )
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)]
    environment = {
        **os.environ,
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_API_PORT": str(port),  # or its UI would ask port 4200
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    }
    server = subprocess.Popen(  # noqa: S603 (Prefect's own)
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        preexec_fn=partial(end_with_starter, signal.SIGTERM), start_new_session=True,
    )  # fmt: skip
    try:
        _wait_for(server, url)
        with among_the_living(home, url):
            os.environ["PREFECT_API_URL"] = url
            yield url
    finally:
        server.terminate()
        server.wait()


def serve_workspace(workspace: str, url: str) -> None:
    """Serve all deployments for a workspace until Ctrl-C, and say how to use them."""
    from flows.deployments import FLOWS, serve_deployments

    names = ", ".join(flow.name for flow in FLOWS)
    print(f"Prefect at {url.removesuffix('/api')}, deployments {names}; in another shell:", file=sys.stderr)
    print(f"  export PREFECT_API_URL={url}", file=sys.stderr)
    print("  prefect deployment run build-and-train/build-and-train", file=sys.stderr, flush=True)
    serve_deployments({"workspace": workspace})


def _wait_for(server: subprocess.Popen, url: str) -> None:
    end = time.monotonic() + SECONDS_TO_START
    while not _answers(url):
        if server.poll() is not None or time.monotonic() > end:
            raise ConfigError(f"{url}: the Prefect server did not start; try another --port")
        time.sleep(0.2)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:  # noqa: S310 (loopback)
            return answer.status == 200
    except OSError:
        return False
