"""What people see of a run in Prefect's UI, and how it and MLflow lead to each other."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks.session import stop_sessions
from tests.browser import browser, needs_browser
from tests.databases import PREFECT, lend
from tests.loopback import wait_for
from tests.mlflow_runs import latest_runs
from tests.prefect_artifacts import artifacts_of
from tests.prefect_server import PrefectServer
from wavenet.errors import TrainingStoppedError

__all__ = ["browser"]
STAGES = {"ingest", "train-drums", "train-bass", "generate-drums", "generate-bass"}


def task_runs_of(flow_run_id):
    mine = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    with get_client(sync_client=True) as client:
        return {run.name: run for run in client.read_task_runs(flow_run_filter=mine)}


@pytest.fixture
def shown(first_run, workspace):
    """MLflow's runs, and Prefect's artifacts and task runs, of a run on `songs`."""
    runs = latest_runs(workspace)
    flow_run_id = runs[None].data.tags["prefect.flow_run_id"]
    wait_for(lambda: "mix" in task_runs_of(flow_run_id))  # Prefect hears of task runs late
    return runs, artifacts_of(flow_run_id), task_runs_of(flow_run_id)


def test_each_stage_of_a_run_ends_at_100(shown):
    _, artifacts, tasks = shown
    progress = {key: one for key, one in artifacts.items() if key.startswith("progress-")}
    assert progress.keys() >= {f"progress-{stage}" for stage in STAGES}
    assert {one.data for one in progress.values()} == {100}
    assert progress["progress-train-drums"].task_run_id == tasks["train-drums"].id


def test_a_run_shows_the_doctors_table_its_pictures_and_what_came_of_it(shown, first_run):
    _, artifacts, _ = shown
    rows = json.loads(artifacts["doctor"].data)
    assert [row["File"] for row in rows] == [f"song {n}/{s}.wav" for n in range(3) for s in ("bass", "drums")]
    assert {row["Verdict"] for row in rows} == {"kept"}
    assert "6 files: 6 kept" in artifacts["doctor"].description
    assert "doctor.html" in artifacts["doctor"].description
    for key in ("loss-drums", "loss-bass", "take-drums", "take-bass", "band"):
        assert artifacts[key].description.startswith("![")
        assert "](data:image/png;base64," in artifacts[key].description
    band = artifacts["band"].data
    for stem, badness in first_run.badness.items():
        assert f"| {stem} | {first_run.figures[stem]['heldout']:.3f} |" in band
        assert f"{badness:.2f}" in band
    assert f"{first_run.output.report.parent.name}/report.html" in band


def test_a_stems_task_runs_have_its_name_and_are_tagged_with_it(shown):
    _, _, tasks = shown
    for stage in ("shards", "floors", "baselines", "ranges", "prints", "train", "likelihood", "generate"):
        for stem in ("drums", "bass"):
            assert set(tasks[f"{stage}-{stem}"].tags) == {stage, stem}
    assert tasks["ingest-song 0"].tags == ["ingest"]


def test_prefect_and_mlflow_lead_to_each_other(shown):
    runs, artifacts, tasks = shown
    for stem in ("drums", "bass"):
        run, training = runs[stem], tasks[f"train-{stem}"]
        assert run.data.tags["prefect.task_run_id"] == str(training.id)
        assert run.data.tags["prefect.flow_run_id"] == str(training.flow_run_id)
        assert run.data.tags["prefect.task_run_url"].endswith(f"/runs/task-run/{training.id}")
        link = artifacts[f"mlflow-{stem}"]
        assert link.task_run_id == training.id
        assert f"/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}" in link.data
        assert "mlflow ui --backend-store-uri" in link.description
    parent = runs[None]
    assert parent.data.tags["prefect.flow_run_url"].endswith(parent.data.tags["prefect.flow_run_id"])
    assert f"/runs/{parent.info.run_id}/artifacts/report.html" in artifacts["band"].data


def test_a_run_that_reuses_all_shows_what_there_is_and_links_to_it(run, songs, first_run, workspace):
    assert run(songs).ran == []
    runs = latest_runs(workspace)
    artifacts = artifacts_of(runs[None].data.tags["prefect.flow_run_id"])
    assert artifacts.keys() == {"progress-ingest", "doctor", "mlflow-drums", "mlflow-bass", "band"}
    assert runs["drums"].info.run_id in artifacts["mlflow-drums"].data
    assert "prefect.task_run_id" not in runs["drums"].data.tags


@pytest.fixture
def server(tmp_path, databases):
    """A Prefect server with its UI."""
    lend(databases, tmp_path, PREFECT)
    server = PrefectServer((tmp_path / PREFECT).parent)
    try:
        server.start()
        with temporary_settings({PREFECT_API_URL: server.url}):
            yield server
        server.check()
    finally:
        server.kill()


@pytest.mark.browser
@pytest.mark.timeout(600)
@needs_browser
def test_a_browser_shows_a_finished_run(server, run, songs, workspace, browser, tmp_path):
    (songs / "song 0" / "notes [of](elsewhere) <b>.txt").write_text("no audio")
    run(songs, "training.sample_every=3", "generation.seconds=1")
    flow_run_id = latest_runs(workspace)[None].data.tags["prefect.flow_run_id"]
    artifacts = artifacts_of(flow_run_id)
    browser.open(f"{server.ui}/v2/runs/flow-run/{flow_run_id}?tab=Artifacts")
    browser.wait_for_text("Completed", "100% train drums 6/6", "sample-bass", "the mix of 2 stems")
    browser.screenshot(tmp_path / "run.png", 1500, 3000)
    wait_for(lambda: browser.ask(COUNT_PICTURES) == 7)  # loss, sample and take of two stems, and the mix
    for key in ("band", "doctor", "loss-drums", "take-drums", "sample-drums", "mlflow-drums"):
        browser.open(f"{server.ui}/v2/artifacts/artifact/{artifacts[key].id}")
        browser.wait_for_text(key, "Flow Run", *(["notes [of]"] if key == "doctor" else []))
        browser.screenshot(tmp_path / f"{key}.png", 1500, 1200)
    browser.open(f"{server.ui}/artifacts/artifact/{artifacts['doctor'].id}")  # the older UI
    page = browser.wait_for_text("notes [of]")
    browser.screenshot(tmp_path / "doctor-v1.png", 1500, 1200)
    assert "<b>.txt" in page.replace("\N{ZERO WIDTH SPACE}", "")
    links = browser.ask("done([...document.querySelectorAll('td a')].map(link => link.href))")
    assert links == []


@pytest.mark.browser
@pytest.mark.timeout(600)
@needs_browser
def test_a_browser_shows_a_run_in_mid_training(server, run, songs, browser, tmp_path):
    """Progress, the curve so far and the latest sample; then the training is stopped."""
    seen = []

    def look():
        try:
            flow_run = wait_for(lambda: server.ask("/flow_runs/filter", {}))[0]
            is_latest = {"artifacts": {"key": {"like_": "sample-bass"}}}
            wait_for(lambda: server.ask("/artifacts/filter", is_latest), 300)
            browser.open(f"{server.ui}/v2/runs/flow-run/{flow_run['id']}?tab=Artifacts")
            seen.append(browser.wait_for_text("Running", "train bass", "loss-bass", "sample-bass"))
            browser.screenshot(tmp_path / "amid.png", 1500, 2000)
        finally:
            stop_sessions()

    with ThreadPoolExecutor(1) as onlookers:
        looking = onlookers.submit(look)
        with pytest.raises(TrainingStoppedError):
            run(songs, "training.steps=20000", "training.sample_every=200", "generation.seconds=1")
        looking.result()
    done, total = map(int, re.search(r"train bass (\d+)/(\d+)", seen[0]).groups())
    assert 200 <= done < total == 20000


COUNT_PICTURES = """
    const pictures = [...document.querySelectorAll("img")].filter(one => one.src.startsWith("data:image"));
    const decoded = Promise.all(pictures.map(one => one.decode()));
    decoded.then(() => done(pictures.length), error => done(String(error)));
"""
