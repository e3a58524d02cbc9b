"""`waveband runs` and `waveband promote`: what MLflow shows, in the terminal; and how its own page looks."""

import json
import re
import shutil
import urllib.parse
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from flows.cli import app, choose_model
from tasks.tracking import ui_command
from tasks.tracking.outbox import new_outboxes
from tasks.workspace import Workspace
from tests.browser import browser, needs_browser
from tests.databases import MLFLOW, copy_database
from tests.mlflow_server import served
from tests.small_training import shard_folder
from tests.tracked_runs import Band
from wavenet.errors import ConfigError

__all__ = ["browser", "shard_folder"]


@pytest.fixture(scope="module")
def fast_trainings():
    """None are trained here."""


@pytest.fixture(scope="module")
def made(tmp_path_factory, mlflow_database, shard_folder):
    """A workspace of two runs of two stems, the second better and not yet promoted."""
    place = Workspace(root=tmp_path_factory.mktemp("made") / "workspace")
    place.root.mkdir()
    copy_database(mlflow_database, place.root / MLFLOW)
    band = Band(place, shard_folder)
    stems = ("bass", "drums")
    band.run("training.steps=30", stems=stems, seed=1, bits=3.0, steps=30)
    better = ("training.steps=40", "stems.drums.model.residual_channels=64")
    band.run(*better, stems=stems, seed=2, bits=2.5, steps=40)
    return place.root


@pytest.fixture
def workspace(made, tmp_path):
    """A copy, whose artifacts lie where they were made."""
    return shutil.copytree(made, tmp_path / "workspace")


def call(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return SimpleNamespace(code=result.exit_code, text=result.output, last=result.output.splitlines()[-1:])


def test_runs_stand_side_by_side_the_newest_first(workspace):
    told = call("runs", "--workspace", workspace, "--params", "--json")
    rows = [re.split(r" *│ *", line)[1:-1] for line in told.text.splitlines() if line.startswith("│")]
    drums = [row for row in rows if row[0] == "drums"]
    assert [row[1:6] for row in drums] == [
        ["2.500", "3.500", "-29%", "40", "2000"],
        ["3.000", "3.500", "-14%", "30", "2000"],
    ]
    assert [row[-1] for row in drums] == ["v2", "v1, champion"]
    assert ["model.residual_channels", "64", "32"] in rows
    assert ["training.steps", "40", "30"] in rows
    assert "look    MLFLOW_DISABLE_TELEMETRY=true mlflow ui --backend-store-uri" in told.text
    newest, _ = json.loads(told.last[0])["runs"]
    assert newest["name"] == "songs tiny (steps=40, drums.residual_channels=64)"
    assert [stem["stem"] for stem in newest["stems"]] == ["bass", "drums"]


def test_one_stem_alone_and_the_newest_alone(workspace):
    told = call("runs", "--workspace", workspace, "--stem", "drums", "--last", "1", "--json")
    (run,) = json.loads(told.last[0])["runs"]
    assert [stem["stem"] for stem in run["stems"]] == ["drums"]
    assert "no runs of keys yet" in call("runs", "--workspace", workspace, "--stem", "keys").text


def test_a_workspace_without_runs_says_so_and_is_left_alone(tmp_path):
    told = call("runs", "--workspace", tmp_path / "new", "--sync")
    assert told.code == 0
    assert "no runs yet; `waveband run --input FOLDER` makes one" in told.text
    assert not (tmp_path / "new" / "mlflow.db").exists()


def test_promote_tells_what_became_champion_and_why(workspace):
    told = call("promote", "drums", "--workspace", workspace, "--json")
    assert told.code == 0
    line = "version 2 is the champion: 2.500 bits, before 3.000 (version 1); 0.500 bits fewer"
    assert line in told.text
    (one,) = json.loads(told.last[0])["stems"]
    assert (one["champion"]["version"], one["before"]["version"], one["changed"]) == (2, 1, True)
    again = call("promote", "--workspace", workspace)
    assert "drums        version 2 stays the champion: 2.500 bits; no version has fewer bits" in again.text
    assert "bass         version 2 is the champion" in again.text
    table = call("runs", "--workspace", workspace).text
    assert table.count("v2, champion") == 2


def test_an_unreachable_mlflow_is_named(workspace, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for command in ("runs", "promote"):
        with pytest.raises(ConfigError, match=r"127\.0\.0\.1:9 cannot be reached"):
            call(command, "--workspace", workspace)


def test_what_waits_is_told_and_how_to_send_it(workspace):
    folder = workspace / "mlflow-outbox" / "lost"
    folder.mkdir(parents=True)
    (folder / "store.json").write_text('{"uri": null}')
    (folder / "parent.jsonl").write_text(
        '{"kind": "begin", "name": "lost", "tags": {}, "parent": null, "when": 1}\n'
    )
    assert "MLflow has not been told all of 1 runs" in call("runs", "--workspace", workspace).text
    told = call("runs", "--workspace", workspace, "--sync").text
    assert "sync    lost: all is told" in told
    assert "lost, 1970-01-01 00:00, killed" in told
    assert not list((workspace / "mlflow-outbox").iterdir())


def test_a_run_that_is_under_way_is_no_run_that_mlflow_was_not_told_of(workspace):
    with new_outboxes(Workspace(root=workspace), "running", None):
        assert "has not been told" not in call("runs", "--workspace", workspace).text


def test_a_model_is_named_once_as_argument_or_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    override = "generation.top_k=4"
    assert choose_model(["drums", override], None) == ("drums", [override])
    assert choose_model([override], "drums") == ("drums", [override])
    assert choose_model(["models:/waveband-drums@champion"], None)[0] == "models:/waveband-drums@champion"
    (tmp_path / "a.b=c").mkdir()
    assert choose_model(["a.b=c"], None)[0] == "a.b=c"
    for arguments, option, told in (
        (["drums"], "bass", "two models"),
        ([override], None, "no model is named"),
    ):
        with pytest.raises(ConfigError, match=told):
            choose_model(arguments, option)


@pytest.fixture
def page(made, tmp_path):
    """The address of the page that the printed command serves."""
    with served(ui_command(Workspace(root=made)), tmp_path) as url:
        yield url


@pytest.mark.browser
@needs_browser
def test_mlflows_page_compares_runs_by_names_that_read(made, page, browser, tmp_path):
    client = MlflowClient(tracking_uri=f"sqlite:///{made}/mlflow.db")
    found = client.search_runs(["1"], "tags.stem = 'drums'", order_by=["attributes.start_time DESC"])
    ids = json.dumps([run.info.run_id for run in found])
    asked = urllib.parse.urlencode({"runs": ids, "experiments": json.dumps(["1"])})
    browser.open(f"{page}/#/compare-runs?{asked}")
    text = browser.wait_for_text("Comparing 2 Runs", "Run details", "model.residual_channels")
    picture = browser.screenshot(tmp_path / "compare.png", 1600, 2400)
    assert picture.stat().st_size > 50_000
    assert "drums, steps=40, residual_channels=64 (songs tiny)" in text
    assert "drums, steps=30 (songs tiny)" in text
    browser.open(f"{page}/#/experiments/1/runs/{found[0].info.run_id}")
    text = browser.wait_for_text("2.500 bits per sample", "waveband-drums", "drums-shards")
    browser.screenshot(tmp_path / "stem.png", 1600, 1600)
    assert "-29% against the best simple model" in text
    browser.open(f"{page}/#/models/waveband-drums")
    browser.wait_for_text("champion", "Version 2", "2.500 bits per sample")
    hosts = {urllib.parse.urlsplit(url).netloc for url in browser.requests() if url.startswith("http")}
    assert hosts == {urllib.parse.urlsplit(page).netloc}
