"""The deployments as people use them: a real server, worker and command line, each a process, on loopback."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from flows.deployments import FLOWS
from tests.conftest import TINY, write_songs

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
pytestmark = pytest.mark.timeout(600)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def running(environment, *command, log):
    """A process of its own for as long as the block lasts."""
    with log.open("w") as stream:
        process = subprocess.Popen(
            [str(BIN / command[0]), *command[1:]],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def wait_for(what, seconds=120.0):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.3)
    return found


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


class Site:
    """A server with a pool and a worker, spoken to by Prefect's own command line."""

    def __init__(self, environment, folder):
        self.environment, self.folder = environment, folder
        self.workspace = folder / "workspace"

    def prefect(self, *arguments):
        return subprocess.run(
            [str(BIN / "prefect"), "--no-prompt", *arguments],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=500,
        )

    def start(self, name, **parameters):
        """Run a deployment and wait; what the command said, and the flow run."""
        told = [
            f"{key}={value if isinstance(value, str) else json.dumps(value)}"
            for key, value in parameters.items()
        ]
        options = [part for one in told for part in ("-p", one)]
        done = self.prefect("deployment", "run", name, *options, "--watch")
        found = re.search(r"UUID: ([0-9a-f-]{36})", done.stdout)
        return done, found and found[1]

    def post(self, path, body):
        request = urllib.request.Request(
            self.environment["PREFECT_API_URL"] + path,
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    def task_runs(self, flow_run, attempt=1):
        """The newest state of each task run of an attempt, by name."""
        body = {"flow_runs": {"id": {"any_": [flow_run]}}, "limit": 200}
        runs = [run for run in self.post("/task_runs/filter", body) if run["flow_run_run_count"] == attempt]
        return {run["name"]: run["state_name"] for run in runs}

    def flow_run(self, identity):
        url = f"{self.environment['PREFECT_API_URL']}/flow_runs/{identity}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.loads(answer.read())


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    hidden = ("PREFECT_", "MLFLOW_", "DO_NOT_TRACK")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    environment = {
        **kept, "PREFECT_HOME": str(folder / "prefect"), "PREFECT_API_URL": url,
        "PREFECT_WORKER_QUERY_SECONDS": "1", "COLUMNS": "200",
    }  # fmt: skip
    (folder / "prefect").mkdir()
    write_songs(folder / "songs")
    (folder / "tiny.yaml").write_text(TINY)
    site = Site(environment, folder)
    with running(environment, "prefect", "server", "start", "--port", str(port), log=folder / "server.log"):
        wait_for(lambda: answers(f"{url}/health"))
        assert site.prefect("work-pool", "create", "waveband", "--type", "process").returncode == 0
        deployed = site.prefect("deploy", "--all")
        assert deployed.returncode == 0, deployed.stdout + deployed.stderr
        with running(
            environment, "prefect", "worker", "start", "--pool", "waveband", log=folder / "worker.log"
        ):
            yield site


@pytest.fixture(scope="module")
def first(site):
    """The first run, by the literal command."""
    done, identity = site.start(
        "build-and-train", input=str(site.folder / "songs"), config=[str(site.folder / "tiny.yaml")],
        workspace=str(site.workspace),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return SimpleNamespace(said=done.stdout, id=identity)


def test_a_deployment_runs_by_its_name_alone(site, first):
    assert "Completed" in first.said
    states = site.task_runs(first.id)
    assert {"train-drums", "train-bass", "generate-drums", "generate-bass", "mix"} <= states.keys()
    assert "Cached" not in {states["train-drums"], states["mix"]}
    (mix,) = site.workspace.glob("output/*/mix.wav")
    assert mix.stat().st_size > 0


def test_one_stem_is_retrained_by_its_name_and_the_rest_is_reused(site, first):
    done, identity = site.start("train-stem", stem="drums", workspace=str(site.workspace))
    assert done.returncode == 0, done.stdout + done.stderr
    states = site.task_runs(identity)
    ran = {name for name, state in states.items() if state != "Cached"}
    assert ran == {"train-drums", "generate-drums", "mix"}
    assert {"ingest-song 0", "shards-drums", "train-bass", "generate-bass"} <= states.keys()


def test_a_finished_task_run_that_is_set_back_is_done_again_when_its_flow_run_is_retried(site, first):
    """As in the UI: change the state of train-drums to Failed, then retry the flow run."""
    body = {"flow_runs": {"id": {"any_": [first.id]}}, "task_runs": {"name": {"any_": ["train-drums"]}}}
    (trained,) = site.post("/task_runs/filter", body)
    failed = {"state": {"type": "FAILED", "name": "Failed"}, "force": True}
    site.post(f"/task_runs/{trained['id']}/set_state", failed)
    assert site.prefect("flow-run", "retry", first.id).returncode == 0

    def is_done():
        run = site.flow_run(first.id)
        return run["run_count"] == 2 and run["state_type"] in {"COMPLETED", "FAILED", "CRASHED"} and run

    assert wait_for(is_done, 300)["state_type"] == "COMPLETED"
    states = site.task_runs(first.id, attempt=2)
    assert {name for name, state in states.items() if state != "Cached"} == {
        "train-drums",
        "generate-drums",
        "mix",
    }


def test_new_takes_are_played_and_nothing_is_trained(site, first):
    done, identity = site.start("generate-and-mix", seed=5, workspace=str(site.workspace))
    assert done.returncode == 0, done.stdout + done.stderr
    states = site.task_runs(identity)
    ran = {name for name, state in states.items() if state != "Cached"}
    assert ran == {"generate-drums", "generate-bass", "mix"}


def test_a_bad_value_is_refused_when_it_is_submitted_with_the_name_of_its_field(site):
    done, identity = site.start("build-and-train/build-and-train", changes={"training": {"steps": -1}})
    assert done.returncode != 0
    assert "changes.training.steps" in done.stdout + done.stderr
    assert identity is None


def test_an_unknown_name_is_told_as_prefect_tells_it(site):
    done = site.prefect("deployment", "run", "no-such")
    assert done.returncode != 0
    assert "Traceback" not in done.stdout + done.stderr


def test_prefect_yaml_and_deploy_have_the_same_deployments():
    written = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert [one["name"] for one in written] == [flow.name for flow in FLOWS]
    for one, flow in zip(written, FLOWS, strict=True):
        path, _, function = one["entrypoint"].partition(":")
        assert flow.fn.__module__ == path.removesuffix(".py").replace("/", ".")
        assert flow.fn.__name__ == function


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_every_parameter_is_described_in_the_form(flow):
    properties = flow.parameters.properties
    assert properties
    for name, schema in properties.items():
        assert len(schema.get("description", "")) > 10, name


def test_waveband_deploy_serves_them_without_a_pool_and_starts_a_server_of_its_own(start_waveband, tmp_path):
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    served = start_waveband(tmp_path, "deploy", "--workspace", "workspace", "--port", port)
    try:
        request = urllib.request.Request(
            f"{url}/deployments/filter", data=b"{}", headers={"Content-Type": "application/json"}
        )

        def find():
            if not answers(f"{url}/health"):
                return None
            with urllib.request.urlopen(request, timeout=10) as answer:
                found = json.loads(answer.read())
            return found if len(found) == len(FLOWS) else None

        found = wait_for(find)
        assert {one["name"] for one in found} == {flow.name for flow in FLOWS}
        assert all(one["parameters"]["workspace"] == str(tmp_path / "workspace") for one in found)
    finally:
        served.send_signal(2)
        _, errors = served.communicate(timeout=60)
    assert "export PREFECT_API_URL" in errors
    assert "Traceback" not in errors
    assert not answers(f"{url}/health")  # it ended with the command
