"""Models of stems in MLflow's registry: each once, the best the champion, found again by name."""

import pytest
from safetensors.numpy import load_file

from tasks.tracking import download_weights, promote_stems, read_runs
from tasks.tracking.promotion import Version, choose_champion
from tasks.tracking.reading import differing_params
from tests.mlflow_server import MlflowServer
from tests.small_training import shard_folder
from tests.tracked_runs import band, client, place
from wavenet.config import load_config
from wavenet.errors import ConfigError
from wavenet.files import read_json, write_json

__all__ = ["band", "client", "place", "shard_folder"]


def hold_out_other_audio(band):
    """The manifest of a set of other held-out audio."""
    path = band.place.root / "store" / "shards" / "drums" / "manifest.json"
    manifest = read_json(path)
    for file in manifest["files"]:
        file["digest"] = "other"
    write_json(path, manifest)


def weights(place, uri, tmp_path):
    folder = tmp_path / f"to-{len(list(tmp_path.glob('to-*')))}"
    folder.mkdir()
    return load_file(download_weights(place, uri, folder) / "model.safetensors")["weight"][0]


def champion(client):
    return int(client.get_model_version_by_alias("waveband-drums", "champion").version)


def test_each_trained_model_is_a_version_and_a_reused_one_is_none(band, client, tmp_path):
    first = band.run(seed=1, bits=3.0)
    band.run(seed=2, bits=2.0)
    reused = band.run(seed=1, bits=3.0, reused=True)
    versions = client.search_model_versions("name = 'waveband-drums'")
    assert sorted((int(one.version), one.tags["waveband.heldout_bits"]) for one in versions) == [
        (1, "3.0"),
        (2, "2.0"),
    ]
    for tracker in (first, reused):
        assert weights(band.place, f"runs:/{tracker.run_id('drums')}/model", tmp_path) == 1
    assert weights(band.place, "models:/waveband-drums/2", tmp_path) == 2
    assert weights(band.place, "models:/waveband-drums@champion", tmp_path) == 1


def test_a_model_that_is_told_twice_is_linked_once(band, client, recwarn):
    with band.tracked() as tracker:
        tracker.start_stem(band.place, "drums", load_config([]).for_stem("drums"), band.shards)
        model = band.model(1, 3.0)
        for _ in range(2):
            tracker.log_training(band.place, "drums", model, band.beside, reused=False)
    (output,) = client.get_run(tracker.run_id("drums")).outputs.model_outputs
    (version,) = client.search_model_versions("name = 'waveband-drums'")
    assert version.tags["waveband.logged_model"] == output.model_id
    assert not [one for one in recwarn if "MLflow" in str(one.message)]


def test_a_logged_model_is_safetensors_and_their_card_and_no_pickle(band, client, tmp_path):
    band.run()
    folder = download_weights(band.place, "models:/waveband-drums/1", tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    (model,) = client.search_logged_models(["1"])
    assert (model.status, model.tags["stem"]) == ("READY", "drums")
    kept = [
        path for path in (band.place.root / "mlflow-artifacts").rglob("*") if path.name == "model.safetensors"
    ]
    assert len(kept) == 1


def test_the_first_version_is_champion_and_a_better_one_by_command(band, client):
    band.run(seed=1, bits=3.0)
    assert champion(client) == 1
    band.run(seed=2, bits=2.5)
    assert champion(client) == 1
    (one,) = promote_stems(band.place, [])
    assert (one.verdict.before.bits, one.verdict.champion.bits) == (3.0, 2.5)
    assert one.verdict.reason == "0.500 bits fewer"
    assert champion(client) == 2
    band.run(seed=3, bits=2.6)
    (again,) = promote_stems(band.place, ["drums"])
    assert not again.verdict.changed
    assert champion(client) == 2


def test_a_better_one_is_champion_by_itself_where_that_is_set(band, client):
    band.run(seed=1, bits=3.0)
    band.run(seed=2, bits=2.5, promote=True)
    assert champion(client) == 2
    band.run(seed=3, bits=2.7, promote=True)
    assert champion(client) == 2


def test_bits_of_other_heldout_audio_are_not_compared_unless_forced(band, client):
    band.run(seed=1, bits=3.0)
    hold_out_other_audio(band)
    band.run(seed=2, bits=1.0, promote=True)
    assert champion(client) == 1
    (refused,) = promote_stems(band.place, ["drums"])
    assert refused.verdict.refused
    assert (
        "version 2 cannot be compared with version 1: its bits are of other held-out"
        in refused.verdict.reason
    )
    assert champion(client) == 1
    (forced,) = promote_stems(band.place, ["drums"], force=True)
    assert forced.verdict.reason.startswith("forced")
    assert champion(client) == 2


def test_a_champion_is_chosen_among_what_compares_with_it():
    def version(number, bits, heldout="a", **facts):
        return Version(number, f"d{number}", bits, heldout, tuple(facts.items()))

    assert choose_champion([], None).champion is None
    one, two, three = version(1, 3.0), version(2, 2.0, "b"), version(3, 2.5)
    assert choose_champion([one, two, three], one).champion == three
    assert choose_champion([one, three, version(4, 2.5)], one).champion == three
    assert choose_champion([one, two], None).champion == two
    slow, fast = version(1, 3.0, "a", sample_rate="8000"), version(2, 2.0, "b", sample_rate="16000")
    assert "sample_rate is 16000, was 8000" in choose_champion([slow, fast], slow).reason


def test_promoting_what_there_is_not_names_what_there_is(band):
    band.run()
    with pytest.raises(ConfigError, match=r"no model of bass is registered .* there are: drums"):
        promote_stems(band.place, ["bass"])


def test_promoting_in_an_empty_workspace_says_so_and_makes_no_store(tmp_path, place):
    (place.root / "mlflow.db").unlink()
    with pytest.raises(ConfigError, match="no models yet"):
        promote_stems(place, [])
    assert not (place.root / "mlflow.db").exists()
    assert read_runs(place) == []


def test_runs_are_read_newest_first_with_their_stems(band):
    band.run("training.steps=8", seed=1, bits=3.0)
    band.run("training.steps=9", seed=1, bits=3.0, reused=True)
    newest, oldest = read_runs(band.place)
    assert [run.name for run in (newest, oldest)] == ["songs tiny (steps=9)", "songs tiny (steps=8)"]
    (stem,) = newest.stems
    assert (stem.stem, stem.heldout_bits, stem.best_simple, stem.steps, stem.sample_rate, stem.levels) == (
        "drums", 3.0, 3.5, 9, 2000, 64,
    )  # fmt: skip
    assert (stem.reused, stem.version) == (True, "waveband-drums/1")
    assert stem.champion
    assert differing_params([newest.stems[0], oldest.stems[0]]) == {"training.steps": ["9", "8"]}
    assert read_runs(band.place, stem="bass") == []
    assert len(read_runs(band.place, stem="drums", most=1)) == 1


def test_a_server_keeps_models_and_lends_them(band, monkeypatch, tmp_path):
    server = MlflowServer(tmp_path)
    server.start()
    try:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        tracker = band.run(seed=4)
        assert weights(band.place, "models:/waveband-drums@champion", tmp_path) == 4
        assert weights(band.place, f"runs:/{tracker.run_id('drums')}/model", tmp_path) == 4
        (run,) = read_runs(band.place)
        assert run.stems[0].champion
        assert not promote_stems(band.place, ["drums"])[0].verdict.changed
    finally:
        server.kill()
