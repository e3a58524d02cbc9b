"""The deployments as people use them: a real server, worker and command line, each a process, on loopback."""

import fcntl
import json
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from types import SimpleNamespace

import pytest
import yaml

from flows.deployments import FLOWS
from flows.embedded_api import ALIVE, OURS
from tests.browser import browser, needs_browser
from tests.conftest import TINY, write_songs
from tests.loopback import answers, free_port, wait_for
from tests.mlflow_runs import latest_runs
from tests.prefect_server import ask
from tests.prefect_site import ROOT, Site

__all__ = ["browser"]
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    write_songs(folder / "songs")
    (folder / "tiny.yaml").write_text(TINY)
    site = Site(folder)
    try:
        site.start()
        yield site
    finally:
        site.end()


@pytest.fixture(scope="module")
def first(site):
    """The first run, by the literal command."""
    done, identity = site.run(
        "build-and-train", "--watch", input=str(site.folder / "songs"),
        config=[str(site.folder / "tiny.yaml")], workspace=str(site.workspace),
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
    told = (site.folder / "worker.log").read_text()  # as by the command
    assert "Held-out bits per sample" in told
    assert f"mix     {mix}" in told


def test_mlflow_is_told_of_a_run_by_a_worker_as_of_any(site, first):
    runs = latest_runs(site.workspace)
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert "final/heldout_bits_per_sample" in runs["drums"].data.metrics
    assert "cannot be told" not in (site.folder / "worker.log").read_text()


def test_one_stem_is_retrained_by_its_name_and_the_rest_is_reused(site, first):
    done, identity = site.run("train-stem", "--watch", stem="drums", workspace=str(site.workspace))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "as the last run here: input" in (site.folder / "worker.log").read_text()
    states = site.task_runs(identity)
    ran = {name for name, state in states.items() if state != "Cached"}
    assert ran == {"train-drums", "generate-drums", "mix"}
    assert {"ingest-song 0", "shards-drums", "train-bass", "generate-bass"} <= states.keys()


def test_a_finished_task_run_that_is_set_back_is_done_again_when_its_flow_run_is_retried(site, first):
    """As in the UI: change the state of train-drums to Failed, then retry the flow run."""
    body = {"flow_runs": {"id": {"any_": [first.id]}}, "task_runs": {"name": {"any_": ["train-drums"]}}}
    (trained,) = site.server.ask("/task_runs/filter", body)
    failed = {"state": {"type": "FAILED", "name": "Failed"}, "force": True}
    site.server.ask(f"/task_runs/{trained['id']}/set_state", failed)
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
    done, identity = site.run("generate-and-mix", "--watch", seed=5, workspace=str(site.workspace))
    assert done.returncode == 0, done.stdout + done.stderr
    states = site.task_runs(identity)
    ran = {name for name, state in states.items() if state != "Cached"}
    assert ran == {"generate-drums", "generate-bass", "mix"}


def test_a_run_outlives_the_worker_that_started_it(site, first):
    """Which is killed in mid-training; what it prints from then on, nobody reads."""
    slow = {"training": {"steps": 400, "checkpoint_seconds": 0.1}}
    _, identity = site.run("train-stem", stem="drums", changes=slow, workspace=str(site.workspace))
    wait_for(
        lambda: (
            list(site.workspace.glob("work/train-*/checkpoints/step-*"))
            or site.flow_run(identity)["end_time"]
        )
    )
    site.worker.kill()
    site.worker.wait()
    site.start_worker()
    states = {"COMPLETED", "FAILED", "CRASHED"}
    wait_for(lambda: site.flow_run(identity)["state_type"] in states, 300)
    assert site.flow_run(identity)["state_name"] == "Completed"


def test_no_module_of_flows_hides_a_package():
    """The folder of a deployment's flow comes first on the path of its run."""
    packages = {*sys.stdlib_module_names, *packages_distributions()}
    assert {path.stem for path in (ROOT / "flows").glob("[!_]*.py")} & packages == set()


def test_a_bad_value_is_refused_when_it_is_submitted_with_the_name_of_its_field(site):
    done, identity = site.run("build-and-train/build-and-train", changes={"training": {"steps": -1}})
    assert done.returncode != 0
    assert "changes.training.steps" in done.stdout + done.stderr
    assert identity is None


def test_an_unknown_name_is_told_as_prefect_tells_it(site):
    done = site.prefect("deployment", "run", "no-such")
    assert done.returncode != 0
    assert "Traceback" not in done.stdout + done.stderr


OLDER_UI, NEWER_UI = "", "/v2"
SUBMIT = """
    for (const text of document.querySelectorAll("textarea")) if (text.value === "workspace") {
        Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set.call(text, WORKSPACE);
        text.dispatchEvent(new Event("input", {bubbles: true}));
    }
    const submit = [...document.querySelectorAll("button")].find(one => one.innerText.trim() === "Submit");
    const form = location.href, refused = "required property";
    const press = () => {  // until it is heard: a page that is still being made hears nothing
        if (location.href !== form || document.body.innerText.includes(refused)) return done(true);
        submit.click();
        setTimeout(press, 5000);
    };
    setTimeout(press, 500);
"""


@pytest.fixture
def fill_form(site, browser, tmp_path):
    """Open a deployment's form in a UI, look at it, name the workspace and submit it."""

    def fill(ui, name, described):
        deployment = next(one for one in site.server.ask("/deployments/filter", {}) if one["name"] == name)
        browser.open(f"{site.server.ui}{ui}/deployments/deployment/{deployment['id']}/run")
        browser.wait_for_text(*described, "of the models and the mix, Hz (16000 if no config says otherwise)")
        browser.screenshot(tmp_path / f"form-{name}.png", 1500, 1300)
        browser.ask(SUBMIT.replace("WORKSPACE", json.dumps(str(site.workspace))))
        return deployment["id"]

    return fill


@pytest.mark.browser
@needs_browser
def test_a_form_that_is_submitted_as_it_stands_runs_what_the_last_run_was(site, first, fill_form):
    before = len(runs_of("generate-and-mix", site))
    fill_form(OLDER_UI, "generate-and-mix", ["Length of the takes; as in the last run, if not given."])
    asked = wait_for(lambda: runs_of("generate-and-mix", site)[before:])[0]["id"]
    wait_for(lambda: site.flow_run(asked)["end_time"], 300)
    run = site.flow_run(asked)
    assert run["state_name"] == "Completed", run["state"]["message"]
    assert set(site.task_runs(asked).values()) == {"Cached"}


@pytest.mark.browser
@needs_browser
def test_a_form_without_what_it_needs_is_refused_at_its_field(site, fill_form, browser):
    before = len(runs_of("train-stem", site))
    fill_form(NEWER_UI, "train-stem", ["Name of the stem, such as drums."])
    browser.wait_for_text("'stem' is a required property")
    assert len(runs_of("train-stem", site)) == before


def runs_of(deployment, site):
    """Flow runs of a deployment, in the order in which they were asked for."""
    body = {"deployments": {"name": {"any_": [deployment]}}, "sort": "EXPECTED_START_TIME_ASC"}
    return site.server.ask("/flow_runs/filter", body)


def test_runs_of_all_deployments_are_looked_after():
    assert set(OURS) == {flow.name for flow in FLOWS}


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


def test_every_setting_is_described_in_the_form_with_what_it_is_if_not_given():
    schema = FLOWS[0].parameters.model_dump()
    sections = {name: one for name, one in schema["definitions"].items() if name.endswith("Changes")}
    assert {"ingest", "training"} <= sections["Changes"]["properties"].keys()
    for name, section in sections.items():
        assert len(section["description"]) > 10, name
        for key, one in section["properties"].items():
            assert "$ref" in one or len(one["description"]) > 5, f"{name}.{key}"
    rate = sections["IngestChanges"]["properties"]["sample_rate"]
    assert rate["description"] == "of the models and the mix, Hz (16000 if no config says otherwise)"
    assert sections["IngestChanges"]["title"] == "Ingest"


def test_waveband_deploy_serves_them_without_a_pool_and_starts_a_server_of_its_own(start_waveband, tmp_path):
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    served = start_waveband(tmp_path, "deploy", "--workspace", "workspace", "--port", port)
    try:

        def find():
            if not answers(f"{url}/health"):
                return None
            found = ask(url, "/deployments/filter", {})
            return found if len(found) == len(FLOWS) else None

        found = wait_for(find)
        assert {one["name"] for one in found} == {flow.name for flow in FLOWS}
        assert all(one["parameters"]["workspace"] == str(tmp_path / "workspace") for one in found)
        with (tmp_path / "workspace" / "prefect" / ALIVE).open() as alive, pytest.raises(BlockingIOError):
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)  # or its runs would be taken for dead
    finally:
        served.send_signal(2)
        _, errors = served.communicate(timeout=60)
    assert "export PREFECT_API_URL" in errors
    assert "Traceback" not in errors
    assert not answers(f"{url}/health")  # it ended with the command
