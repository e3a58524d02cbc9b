"""Weights are found where a person says they are, and are the same wherever they lay."""

import pytest
from mlflow import MlflowClient

from tasks.records import WeightsRecord
from tasks.weights import take_weights
from tasks.workspace import Workspace
from tests.databases import MLFLOW, copy_database
from tests.loopback import free_port
from tests.small_training import config, shard_folder
from tests.wavenet.training.test_transfer import export
from wavenet.errors import ConfigError, IncompatibleCheckpointError
from wavenet.files import digest_folder
from wavenet.model import CARD, WEIGHTS
from wavenet.training.loop import train_model

__all__ = ["config", "shard_folder"]


@pytest.fixture
def place(tmp_path):
    return Workspace(root=tmp_path / "workspace")


@pytest.fixture
def model(tmp_path):
    export(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def logged(place, model, mlflow_database):
    """The client of the workspace's store, and a run that has the model as a stem's has."""
    place.root.mkdir()
    copy_database(mlflow_database, place.root / MLFLOW)
    client = MlflowClient(tracking_uri=f"sqlite:///{place.root}/mlflow.db")
    experiment = client.create_experiment("waveband", (place.root / "mlflow-artifacts").as_uri())
    run = client.create_run(experiment)
    client.log_artifacts(run.info.run_id, str(model), "model")
    return client, run.info


def test_a_folder_and_its_file_and_their_copies_are_one_record(place, model, tmp_path):
    first = take_weights(place, str(model))
    assert first.digest == digest_folder(model, [WEIGHTS, CARD])
    model.rename(tmp_path / "elsewhere")
    assert take_weights(place, str(tmp_path / "elsewhere")) == first
    assert take_weights(place, str(tmp_path / "elsewhere" / WEIGHTS)) == first
    assert (place.path(first.folder) / CARD).is_file()


def test_a_copy_is_kept_so_that_the_original_may_change(place, model):
    record = take_weights(place, str(model))
    before = digest_folder(place.path(record.folder), [WEIGHTS, CARD])
    (model / WEIGHTS).unlink()
    assert digest_folder(place.path(record.folder), [WEIGHTS, CARD]) == before == record.digest


def test_other_weights_are_another_record(place, model, tmp_path):
    export(tmp_path / "other", levels=32)
    assert take_weights(place, str(model)).digest != take_weights(place, str(tmp_path / "other")).digest


def test_a_trainings_folder_lends_its_newest_checkpoint(place, shard_folder, config, tmp_path):
    train_model(shard_folder, tmp_path / "work", config)
    record = take_weights(place, str(tmp_path / "work"))
    newest = tmp_path / "work" / "checkpoints" / "step-00000024"
    assert (place.path(record.folder) / WEIGHTS).read_bytes() == (newest / WEIGHTS).read_bytes()


def test_what_is_not_there_is_named(place):
    with pytest.raises(
        ConfigError, match=r"init_from=nowhere: there is no such file or folder .*runs:/RUN_ID"
    ):
        take_weights(place, "nowhere")


def test_what_is_no_weights_is_refused_by_its_own_name(place, tmp_path):
    (tmp_path / "model.pt").write_bytes(b"a pickle")
    with pytest.raises(IncompatibleCheckpointError, match=r"model\.pt: no weights to begin with"):
        take_weights(place, str(tmp_path / "model.pt"))
    (tmp_path / WEIGHTS).write_bytes(b"no tensors")
    with pytest.raises(IncompatibleCheckpointError, match=rf"{tmp_path}/{WEIGHTS}: cannot be read"):
        take_weights(place, str(tmp_path))
    assert not list((place.root / "store" / "weights").iterdir())


def test_an_mlflow_run_and_a_registered_version_are_the_same_weights(place, model, logged):
    client, run = logged
    expected = take_weights(place, str(model))
    client.create_registered_model("drums")
    version = client.create_model_version("drums", f"{run.artifact_uri}/model", run.run_id).version
    second = client.create_model_version("drums", f"runs:/{run.run_id}/model").version
    client.set_registered_model_alias("drums", "best", version)
    versions = [f"models:/drums/{version}", f"models:/drums/{second}", "models:/drums@best"]
    for uri in (f"runs:/{run.run_id}/model", *versions):
        assert take_weights(place, uri) == expected, uri
    assert not list(place.downloads.iterdir())


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("runs:/0123456789/model", "not found in MLflow at sqlite.*Run with id=0123456789"),
        ("models:/drums/7", "not found in MLflow at sqlite.*drums"),
        ("models:/drums@best", "not found in MLflow at sqlite.*drums"),
        ("models:/drums", "expected models:/NAME/VERSION"),
        ("runs:/0123456789", r"expected .*runs:/RUN_ID/model"),
    ],
)
def test_what_mlflow_has_not_is_told(place, logged, uri, told):
    with pytest.raises(ConfigError, match=told):
        take_weights(place, uri)


def test_a_run_without_weights_is_told(place, logged, tmp_path):
    client, run = logged
    (tmp_path / "note.txt").write_text("no weights")
    client.log_artifact(run.run_id, str(tmp_path / "note.txt"), "notes")
    with pytest.raises(IncompatibleCheckpointError, match="no weights to begin with"):
        take_weights(place, f"runs:/{run.run_id}/notes")
    with pytest.raises(ConfigError, match="not found in MLflow"):
        take_weights(place, f"runs:/{run.run_id}/model2")


def test_a_workspace_without_runs_says_so_and_gets_no_database(place):
    with pytest.raises(ConfigError, match="there are no runs yet"):
        take_weights(place, "models:/drums/1")
    assert not (place.root / "mlflow.db").exists()


def test_an_mlflow_that_cannot_be_reached_is_told_with_its_address(place, monkeypatch):
    address = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for uri in ("models:/drums/1", "runs:/0123/model"):
        with pytest.raises(ConfigError, match=f"{address} cannot be reached"):
            take_weights(place, uri)


def test_a_record_of_weights_has_no_place_in_a_key(place):
    from tasks.caching import describe

    assert describe(WeightsRecord(digest="d", folder="here")) == {"record": "WeightsRecord", "digest": "d"}
