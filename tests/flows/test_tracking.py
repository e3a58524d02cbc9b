"""What MLflow shows of a run: read back from a real store, through a real UI server, and without one."""

import json
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli import app
from tasks.tracking import ui_command
from tasks.workspace import Workspace
from tests.loopback import free_port
from tests.mlflow_runs import client_of, runs_of
from tests.mlflow_server import served


@pytest.fixture
def client(workspace):
    return client_of(workspace)


def artifacts(client, run_id, folder=None):
    return {item.path for item in client.list_artifacts(run_id, folder)}


def test_one_parent_a_pipeline_run_and_one_child_a_stem(first_run, client):
    ((parent, children),) = runs_of(client)
    assert parent.info.run_name == "songs tiny"
    assert parent.info.status == "FINISHED"
    assert set(children) == {"drums", "bass"}
    assert all(child.info.status == "FINISHED" for child in children.values())


def test_a_child_has_settings_dataset_curves_sound_picture_and_weights(run, songs, client):
    result = run(songs, "stems.drums.training.steps=8")
    ((_, children),) = runs_of(client)
    drums = children["drums"]
    assert drums.data.params["training.steps"] == "8"
    assert children["bass"].data.params["training.steps"] == "6"
    assert drums.data.params["model.dilation_cycle"] == "4"
    (dataset,) = [item.dataset for item in drums.inputs.dataset_inputs]
    assert len(dataset.digest) == 32
    run_id = drums.info.run_id
    steps = [m.step for m in client.get_metric_history(run_id, "train/bits_per_sample")]
    assert steps == [2, 4, 6, 8]
    assert [m.step for m in client.get_metric_history(run_id, "heldout/bits_per_sample")] == [3, 6, 8]
    assert drums.data.metrics["train/scored_samples_per_second"] > 0
    final = drums.data.metrics["final/heldout_bits_per_sample"]
    assert final == pytest.approx(result.figures["drums"]["heldout"])
    sounds = {"take/take.wav", "take/take.png", "take/reference.wav", "take/scores.json"}
    assert artifacts(client, run_id, "take") >= sounds
    assert drums.data.metrics["take/badness"] == pytest.approx(result.badness["drums"])
    assert drums.data.metrics.keys() >= {"take/level_db", "take/bits_per_sample", "take/repetition"}
    assert artifacts(client, run_id, "model") >= {"model/loss.png", "model/figures.json"}
    (output,) = client.get_run(run_id).outputs.model_outputs
    (version,) = client.search_model_versions("name = 'waveband-drums'")
    assert (version.tags["waveband.logged_model"], version.run_id) == (output.model_id, run_id)
    assert drums.data.metrics["system/cpu_utilization_percentage"] >= 0
    assert drums.info.run_name == "drums, steps=8 (songs tiny)"
    assert drums.data.tags["waveband.version"] == "waveband-drums/1"


def test_the_parent_has_the_mix_the_config_and_the_page(first_run, client):
    ((parent, _),) = runs_of(client)
    run_id = parent.info.run_id
    assert artifacts(client, run_id) >= {"config.json", "report.html", "mix"}
    copy = client.download_artifacts(run_id, "mix/mix.wav")
    assert Path(copy).read_bytes() == first_run.output.mix.read_bytes()
    assert parent.data.params["ingest.sample_rate"] == "2000"


def test_an_evaluation_is_a_run_with_the_bits_of_each_stem_on_each_split(first_run, workspace, client):
    from flows.evaluate import evaluate

    measured = evaluate(workspace=workspace)
    (evaluation, _), _ = runs_of(client)
    assert evaluation.info.run_name == "evaluation of songs tiny"
    assert evaluation.info.status == "FINISHED"
    for stem in ("drums", "bass"):
        for split in ("heldout", "train"):
            told = evaluation.data.metrics[f"{split}_bits/{stem}"]
            assert told == pytest.approx(measured.bits[stem][split])
    assert "| drums |" in evaluation.data.tags["mlflow.note.content"]


def test_a_reused_stem_is_as_complete_as_a_trained_one(run, songs, client):
    run(songs)
    run(songs, "stems.drums.training.steps=8")
    (_, second), (_, first) = runs_of(client)
    assert second["bass"].data.tags["waveband.reused"] == "true"
    assert second["drums"].data.tags["waveband.reused"] == "false"
    for name in ("train/bits_per_sample", "heldout/bits_per_sample", "final/heldout_bits_per_sample"):
        told = [
            [(m.step, m.value) for m in client.get_metric_history(child["bass"].info.run_id, name)]
            for child in (first, second)
        ]
        assert told[0] == told[1] != []


def test_a_failing_run_is_closed_as_failed(run, songs, client):
    with pytest.raises(Exception, match="lower"):
        run(
            songs,
            "training.learning_rate=1e30",
            "training.clip_norm=1e30",
            "training.warmup_steps=0",
            "training.steps=50",
        )
    ((parent, children),) = runs_of(client)
    assert parent.info.status == "FAILED"
    assert {child.info.status for child in children.values()} == {"FAILED"}


def test_an_mlflow_that_cannot_be_reached_stops_nothing(run, songs, monkeypatch):
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.warns(UserWarning, match="the run goes on"):
        result = run(songs)
    assert set(result.figures) == {"drums", "bass"}


def test_the_champion_is_played_by_its_name_on_from_held_out_audio(first_run, workspace, tmp_path):
    take = tmp_path / "take.wav"
    asked = ["generate", "--model", "models:/waveband-drums@champion", "generation.seconds=0.25"]
    told = ["--workspace", str(workspace), "--output", str(take), "--json"]
    result = CliRunner().invoke(app, [*asked, *told])
    assert result.exit_code == 0, result.output
    made = json.loads(result.output.splitlines()[-1])
    assert take.exists()
    assert "heldout" in made["prime"]
    assert made["scores"]


def test_a_training_begins_with_the_champion(run, first_run, songs):
    again = run(songs, "stems.drums.training.init_from=models:/waveband-drums@champion")
    assert {"train-drums", "generate-drums"} <= set(again.ran)
    assert "train-bass" in again.cached


def test_the_printed_ui_command_shows_the_runs(run, songs, workspace, tmp_path):
    run(songs)
    run(songs, "stems.drums.training.steps=8")
    printed = ui_command(Workspace(root=workspace))
    assert printed.startswith("MLFLOW_DISABLE_TELEMETRY=true ")
    with served(printed, tmp_path) as base:
        found = post(f"{base}/api/2.0/mlflow/runs/search", {"experiment_ids": ["1"]})
        assert len(found["runs"]) == 6
        assert "<html" in get(f"{base}/").decode().lower()
        drums = next(run for run in found["runs"] if run["info"]["run_name"].startswith("drums"))
        sound = get(f"{base}/get-artifact?path=take/take.wav&run_uuid={drums['info']['run_id']}")
        assert sound[:4] == b"RIFF"


def get(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read()


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)
