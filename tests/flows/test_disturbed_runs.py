"""Runs as a person starts them, beside each other or with a server that is lost on the way."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.databases import PREFECT, lend
from tests.flows.test_build_and_train import EVERYTHING
from tests.loopback import wait_for
from tests.prefect_server import PrefectServer

pytestmark = pytest.mark.timeout(900)
SLOW = ["training.steps=200", "training.checkpoint_seconds=0.1"]


def finish(process):
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    return json.loads(out.splitlines()[-1]), err


def test_two_runs_at_once_on_one_workspace_train_each_stem_once_and_both_end_right(
    start_waveband, songs, tiny, tmp_path
):
    """From an empty workspace: they make databases, split songs and train at the same time."""
    arguments = ("run", "--input", songs, "--config", tiny, "--json")
    (one, told), (two, also_told) = map(finish, [start_waveband(tmp_path, *arguments) for _ in range(2)])
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


@pytest.fixture
def server(tmp_path, databases):
    lend(databases, tmp_path / "server", PREFECT)
    server = PrefectServer((tmp_path / "server" / PREFECT).parent, "--no-ui")
    server.start()
    yield server
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
        assert [run["state_name"] for run in server.ask("/flow_runs/filter", {})] == ["Completed"]
    else:
        assert f"the Prefect server at {server.url} was lost on the way" in err
        assert "the run is complete" in err


def test_a_disk_without_room_for_the_databases_is_told_as_that(start_waveband, songs, tiny, tmp_path):
    """Which the servers write, each with an error of its own."""
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", small]).returncode != 0:
        pytest.skip("only root may mount a small disk")
    try:
        place = ("--workspace", small / "workspace")
        process = start_waveband(tmp_path, "run", "--input", songs, "--config", tiny, *place)
        _, err = process.communicate(timeout=600)
    finally:
        subprocess.run(["umount", "--lazy", small], check=True)
        shutil.rmtree(small, ignore_errors=True)
    assert process.returncode == 1
    assert f"waveband: {small}/workspace: the disk is full (0." in err
    assert "Traceback" not in err
