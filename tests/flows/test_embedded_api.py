"""Prefect's API of one run: it dies with its run and not without it, and tells of runs that were killed."""

import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import psutil
import pytest

from flows.embedded_api import EmbeddedApiError, _held, embedded_api, live_until_the_end

OWNER = """
import sys, time
from pathlib import Path
from flows.embedded_api import embedded_api

with embedded_api(Path(sys.argv[1])) as wait:
    if sys.argv[2] == "ready":
        wait()
    print("begun", flush=True)
    time.sleep(300)
"""


@pytest.fixture(scope="module")
def migrated_home(tmp_path_factory):
    """A database as the first run leaves it."""
    home = tmp_path_factory.mktemp("migrated")
    with embedded_api(home) as wait:
        wait()
    return home


@pytest.fixture
def home(migrated_home, tmp_path):
    return shutil.copytree(migrated_home, tmp_path / "prefect")


def apis():
    """API processes below this one."""
    return [process for process in psutil.Process().children(recursive=True) if is_api(process)]


def is_api(process):
    try:
        return "flows.embedded_api" in process.cmdline()
    except psutil.Error:  # it has just ended
        return False


def is_healthy(url):
    with urllib.request.urlopen(f"{url}/health", timeout=60) as answer:
        return answer.status == 200


@pytest.mark.parametrize("when", ["starting", "ready"])
def test_no_api_outlives_a_killed_run(home, when):
    owner = subprocess.Popen([sys.executable, "-c", OWNER, home, when], stdout=subprocess.PIPE, text=True)
    assert owner.stdout.readline() == "begun\n"
    (api,) = apis()
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    end = time.monotonic() + 20
    while is_api(api) and time.monotonic() < end:
        time.sleep(0.05)
    assert not is_api(api)


def test_an_api_that_is_killed_is_started_again_on_the_same_address(home):
    with embedded_api(home) as wait:
        url = wait()
        (first,) = apis()
        first.kill()
        assert is_healthy(url)  # the call waits for the next one
        (second,) = apis()
        assert second.pid != first.pid
    assert apis() == []


def test_an_api_that_cannot_start_is_an_error_that_names_the_folder_and_the_reason(tmp_path):
    (tmp_path / "prefect.db").write_text("no database")
    told = f"{tmp_path}.*not a database.*move that folder away"
    with pytest.raises(EmbeddedApiError, match=told), embedded_api(tmp_path) as wait:
        wait()
    assert apis() == []


@pytest.fixture
def own_database():
    """As for a person: the server that other tests share has another database in this process's settings."""
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, temporary_settings

    with temporary_settings(restore_defaults={PREFECT_API_DATABASE_CONNECTION_URL}):
        yield


@pytest.mark.usefixtures("own_database")
def test_runs_that_were_killed_are_told_as_crashed_by_the_next_one_unless_another_is_alive(home):
    with embedded_api(home) as wait:
        url = wait()
        left, deployed = begin_flow_run(url), begin_flow_run(url, deployed=True)
        theirs = begin_flow_run(url, name="of another project")
    with run_by_a_worker(home), embedded_api(home) as wait:
        assert state_of(wait(), left).name == "Running"
    with embedded_api(home) as wait:
        url = wait()
        assert {state_of(url, run).name for run in (left, deployed)} == {"Crashed"}
        assert "killed" in state_of(url, left).message
        assert state_of(url, theirs).name == "Running"
        alive = begin_flow_run(url)
        with embedded_api(home) as another:
            assert state_of(another(), alive).name == "Running"


@contextmanager
def run_by_a_worker(home):
    """As a run of a deployment, that uses this home."""
    from prefect.settings import PREFECT_HOME, temporary_settings

    with temporary_settings({PREFECT_HOME: home}):
        live_until_the_end()
    try:
        yield
    finally:
        _held.pop().close()


def begin_flow_run(url, name="build-and-train", deployed=False):
    """A flow run that seems to run."""
    from prefect import flow
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.states import Running

    band = flow(lambda: None, name=name)
    with SyncPrefectClient(url) as client:
        if not deployed:
            return client.create_flow_run(band, state=Running()).id
        deployment = client.create_deployment(client.create_flow(band), name)
        return client.create_flow_run_from_deployment(deployment, state=Running()).id


def state_of(url, run):
    from prefect.client.orchestration import SyncPrefectClient

    with SyncPrefectClient(url) as client:
        return client.read_flow_run(run).state


def test_a_database_whose_making_was_killed_is_made_by_the_next_run(tmp_path):
    """At moments all over its making."""
    for number in range(4):
        with embedded_api(tmp_path):
            time.sleep(1 + number)
            for api in apis():
                api.kill()
    with embedded_api(tmp_path) as wait:
        assert is_healthy(wait())


def test_the_api_is_on_loopback_alone(home):
    with embedded_api(home) as wait:
        wait()
        listening = [at.laddr.ip for api in apis() for at in api.net_connections() if at.status == "LISTEN"]
    assert set(listening) == {"127.0.0.1"}
