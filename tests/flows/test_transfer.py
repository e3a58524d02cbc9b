"""Runs that begin with other weights: content decides, wherever the weights lie."""

import shutil

import pytest
from mlflow import MlflowClient

from flows.cli import init_overrides
from tasks.tracking import EXPERIMENT
from wavenet.config import load_config
from wavenet.errors import ConfigError
from wavenet.files import read_json

DRUMS = {"train-drums", "likelihood-drums", "generate-drums", "mix"}


def model_of(workspace, stem):
    (folder,) = (workspace / "store" / "models").glob(f"{stem}-*")
    return folder


def run_of(workspace, stem):
    client = MlflowClient(tracking_uri=f"sqlite:///{workspace}/mlflow.db")
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    (run,) = client.search_runs([experiment], f"tags.stem = '{stem}'")
    return run.info.run_id


def test_the_same_weights_elsewhere_rerun_nothing_and_other_weights_train_again(
    run, first_run, songs, workspace, tmp_path, capfd
):
    bass, run_id = model_of(workspace, "bass"), run_of(workspace, "bass")
    shutil.copytree(bass, tmp_path / "lent")
    begun = run(songs, f"stems.drums.training.init_from={tmp_path / 'lent'}")
    assert set(begun.ran) == DRUMS
    assert "weights taken over" in capfd.readouterr().err
    for place in (bass, bass / "model.safetensors", f"runs:/{run_id}/model"):
        assert run(songs, f"stems.drums.training.init_from={place}").ran == []
    other = sorted((workspace / "store" / "models").glob("drums-*"))[0]
    assert set(run(songs, f"stems.drums.training.init_from={other}").ran) == DRUMS


def test_what_was_taken_over_is_kept_with_the_model(run, songs, workspace):
    run(songs, "ingest.stems=[bass]")
    lent = model_of(workspace, "bass")
    run(songs, "ingest.stems=[drums]", f"training.init_from={lent}", "model.skip_channels=12")
    transfer = read_json(model_of(workspace, "drums") / "figures.json")["transfer"]
    assert transfer["fresh"]["layers.0.skip.weight"].startswith("has shape (16, 8, 1) there, (12, 8, 1)")
    assert "layers.0.dilated.weight" in transfer["loaded"]


def test_weights_that_are_not_there_are_told_before_anything_is_decoded(run, songs, workspace):
    with pytest.raises(ConfigError, match="no such file or folder"):
        run(songs, "training.init_from=nowhere")
    assert not (workspace / "store" / "tracks").exists()


def test_two_processes_train_a_stem_as_one_does_and_their_number_alone_trains_nothing_again(run, songs):
    settings = ["ingest.stems=[drums]", "training.precision=fp32"]
    one = run(songs, *settings)
    assert run(songs, *settings, "training.processes=2").ran == []
    two = run(songs, *settings, "training.processes=2", retrain=["drums"])
    assert "train-drums" in two.ran
    bits = [result.figures["drums"]["heldout"] for result in (one, two)]
    assert bits[1] == pytest.approx(bits[0], abs=1e-3)


def test_init_from_is_sugar_for_a_setting_of_all_stems_or_one(tmp_path):
    settings = load_config([], init_overrides(["runs:/12/model", "drums=a folder: mine"]))
    assert settings.for_stem("bass").training.init_from == "runs:/12/model"
    assert settings.for_stem("drums").training.init_from == "a folder: mine"


def test_a_folder_with_an_equals_sign_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "steps=5").mkdir()
    assert load_config([], init_overrides(["steps=5"])).training.init_from == "steps=5"
