"""Runs as a person starts them, beside each other or with a server that is lost on the way."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.flows.test_build_and_train import EVERYTHING

pytestmark = pytest.mark.timeout(900)
SLOW = ["training.steps=200", "training.checkpoint_seconds=0.1"]


def finish(process):
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    return json.loads(out.splitlines()[-1]), err


def wait_for(what, seconds=300.0):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)
    return found


def test_two_runs_at_once_on_one_workspace_train_each_stem_once_and_both_end_right(
    waveband, songs, tiny, tmp_path
):
    """From an empty workspace: they make databases, split songs and train at the same time."""
    arguments = ("run", "--input", songs, "--config", tiny, "--json")
    (one, told), (two, also_told) = map(finish, [waveband(*arguments), waveband(*arguments)])
    assert set(one["ran"]).isdisjoint(two["ran"])
    assert {*one["ran"], *two["ran"]} == EVERYTHING
    assert "waiting for another run that makes" in told + also_told
    for what in ("bits_per_sample", "badness", "mix", "stems"):
        assert one[what] == two[what]
    assert flow_runs(tmp_path / "workspace") == ["Completed", "Completed"]


def flow_runs(workspace):
    """States of all flow runs, as the next embedded API tells them."""
    from prefect.client.orchestration import SyncPrefectClient

    from flows.embedded_api import embedded_api

    with embedded_api(workspace / "prefect") as wait, SyncPrefectClient(wait()) as client:
        return [run.state_name for run in client.read_flow_runs()]


class Server:
    """`prefect server start`, on a port and a folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.start()

    def start(self):
        hidden = ("PREFECT_", "MLFLOW_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--no-ui", "--port", str(self.port)],
            env={**kept, "PREFECT_HOME": str(self.folder), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        wait_for(self.answers)

    def answers(self):
        try:
            return urllib.request.urlopen(f"{self.url}/health", timeout=5).status == 200
        except OSError:
            return False

    def kill(self):
        os.killpg(self.process.pid, 9)
        self.process.wait()

    def states(self):
        request = urllib.request.Request(
            f"{self.url}/flow_runs/filter", data=b"{}", headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return [run["state_name"] for run in json.load(answer)]


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path / "server")
    yield server
    if server.process.poll() is None:
        server.kill()


@pytest.mark.parametrize("comes_back", [False, True], ids=["for good", "for a while"])
def test_a_server_that_is_lost_in_mid_training_costs_nothing(
    waveband, songs, tiny, tmp_path, server, comes_back
):
    """For good: the run ends without it and says so. For a while: the server has the end of it, too."""
    few = {} if comes_back else {"PREFECT_CLIENT_MAX_RETRIES": "1"}  # in the place of a minute's patience
    process = waveband(
        "run", "--input", songs, "--config", tiny, "--json", *SLOW,
        environment={"PREFECT_API_URL": server.url, "PREFECT_HOME": str(tmp_path / "client"), **few},
    )  # fmt: skip
    wait_for(lambda: list((tmp_path / "workspace" / "work").glob("train-*/checkpoints/step-*")))
    server.kill()
    if comes_back:
        server.start()
    told, err = finish(process)
    assert set(told["ran"]) == EVERYTHING
    assert Path(told["mix"]).is_file()
    if comes_back:
        assert server.states() == ["Completed"]
    else:
        assert f"the Prefect server at {server.url} was lost on the way" in err
        assert "the run is complete" in err


def test_a_disk_without_room_for_the_databases_is_told_as_that(waveband, songs, tiny, tmp_path):
    """Which the servers write, each with an error of its own."""
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", small]).returncode != 0:
        pytest.skip("only root may mount a small disk")
    try:
        process = waveband("run", "--input", songs, "--config", tiny, "--workspace", small / "workspace")
        _, err = process.communicate(timeout=600)
    finally:
        subprocess.run(["umount", "--lazy", small], check=True)
        shutil.rmtree(small, ignore_errors=True)
    assert process.returncode == 1
    assert f"waveband: {small}/workspace: the disk is full (0." in err
    assert "Traceback" not in err
