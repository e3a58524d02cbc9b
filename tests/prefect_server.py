"""A real Prefect server on loopback, with its UI, as `prefect server start` starts it."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request


class PrefectServer:
    """`prefect server start` on a port and a folder of its own, which can be killed and started again."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.ui = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.ui}/api"
        self.process = None

    def start(self, seconds=120):
        hidden = ("PREFECT_API_URL", "PREFECT_UI_API_URL")
        kept = {name: value for name, value in os.environ.items() if name not in hidden}
        own = {
            "PREFECT_HOME": str(self.folder),
            "PREFECT_SERVER_API_PORT": str(self.port),
        }  # the UI asks there
        self.process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1"],
            env={**kept, **own},
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + seconds
        while not self.answers():
            assert time.monotonic() < end, "no answer"
            time.sleep(0.3)

    def answers(self):
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=10) as answer:
                return answer.status == 200
        except OSError:
            return False

    def kill(self):
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(20)
            self.process = None
