"""The whole way, and that content decides what runs."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks import orchestration
from flows.prepare import prepare_shards
from tasks.workspace import Workspace
from wavenet.config import load_config
from wavenet.data.shards.format import read_manifest
from wavenet.errors import ConfigError, NotMadeError
from wavenet.evaluation.take_scores import read_scores, scores_of

INGESTS = {f"{task}-song {number}" for task in ("ingest", "examine") for number in range(3)}
DRUMS = {"train-drums", "likelihood-drums", "generate-drums"}
BASS = {"train-bass", "likelihood-bass", "generate-bass"}
OF_SHARDS = ("shards", "floors", "baselines", "ranges", "prints")
SHARDS = {f"{task}-{stem}" for task in OF_SHARDS for stem in ("drums", "bass")}
EVERYTHING = INGESTS | SHARDS | DRUMS | BASS | {"mix"}


def test_a_folder_of_stems_becomes_a_mix(run, songs):
    result = run(songs, "mix.clip_mode=none")
    assert set(result.ran) == EVERYTHING
    assert result.cached == []
    mix, rate = soundfile.read(result.output.mix)
    stems = [soundfile.read(path)[0] for path in result.output.stems.values()]
    assert rate == 2000
    assert len(mix) == 1000
    np.testing.assert_allclose(mix, np.sum(stems, axis=0), atol=1e-6)
    assert set(result.output.stems) == set(result.figures) == {"drums", "bass"}
    assert result.output.report.read_text().startswith("<!doctype html>")


def test_figures_stand_beside_all_baselines(first_run):
    for bits in first_run.figures.values():
        assert bits["uniform"] == 6.0
        assert 0 < bits["order4"] < bits["order2"] + 1 < bits["unigram"] + 2 < 8.5
        assert 0 < bits["heldout"] < 8


def test_takes_are_scored_and_the_scores_lie_beside_the_stems_and_on_the_page(first_run):
    page = first_run.output.report.read_text()
    assert page.count("Takes, the best first") == 2
    for stem, path in first_run.output.stems.items():
        (score,) = read_scores(scores_of(path)).takes
        assert (score.take, score.file) == (1, f"{stem}.wav")
        assert first_run.badness[stem] == score.badness
        assert f"<bdi>{score.badness:.2f}</bdi>" in page


def test_a_folder_of_finished_tracks_becomes_one_stem(run, tmp_path, write_tone):
    for number, suffix in enumerate(["wav", "flac", "ogg", "mp3"]):
        write_tone(tmp_path / "album" / f"disc {number % 2}" / f"{number}.{suffix}", 90 + number, 3, 16000)
    result = run(tmp_path / "album")
    assert list(result.figures) == ["mix"]
    assert {name for name in result.ran if name.startswith("ingest")} == {
        "ingest-disc 0/0", "ingest-disc 0/2", "ingest-disc 1/1", "ingest-disc 1/3"
    }  # fmt: skip


def test_a_run_writes_the_same_shards_as_prepare(first_run, songs, workspace, tiny, tmp_path):
    made = {folder.name: folder for folder in (workspace / "store" / "shards").iterdir()}
    places = prepare_shards(str(songs), [str(tiny)], [], tmp_path / "another")
    assert sorted(made) == sorted(Path(place).name for place in places.values())
    for place in map(Path, places.values()):
        for path in place.iterdir():
            assert (made[place.name] / path.name).read_bytes() == path.read_bytes()
    (sources, *_) = (track.sources for track in read_manifest(Path(places["drums"])).tracks)
    assert sources[0].endswith("/drums.wav")


def test_same_inputs_run_nothing(run, songs):
    first = run(songs)
    second = run(songs)
    assert second.ran == []
    assert set(second.cached) == EVERYTHING
    assert second.output == first.output
    assert second.figures == first.figures


def test_names_and_places_of_files_do_not_matter(run, first_run, songs, workspace, tmp_path):
    moved = shutil.move(songs, tmp_path / "elsewhere")
    shutil.move(Path(moved, "song 0"), Path(moved, "opening"))
    for path in Path(moved).rglob("*.wav"):
        os.utime(path, (1, 1))
    shutil.move(workspace, tmp_path / "moved")
    assert run(Path(moved), workspace=tmp_path / "moved").ran == []


def test_another_container_of_the_same_audio_is_only_decoded(run, first_run, songs):
    audio, rate = soundfile.read(songs / "song 1" / "bass.wav", dtype="int16")
    soundfile.write(songs / "song 1" / "bass.flac", audio, rate)
    (songs / "song 1" / "bass.wav").unlink()
    assert run(songs).ran == ["ingest-song 1"]


def test_one_more_song_runs_only_what_depends_on_it(run, first_run, songs, write_tone):
    write_tone(songs / "song 3" / "drums.wav", 333)
    result = run(songs)
    added = {"ingest-song 3", "examine-song 3", *(f"{task}-drums" for task in OF_SHARDS)}
    assert set(result.ran) == {*added, *DRUMS, "mix"}
    assert set(result.cached) == EVERYTHING - set(result.ran)


def test_one_stems_training_steps_change_only_that_stem(run, first_run, songs):
    result = run(songs, "stems.drums.training.steps=8")
    assert set(result.ran) == {*DRUMS, "mix"}
    assert set(result.cached) == EVERYTHING - set(result.ran)


def test_retraining_one_stem_runs_only_that_stem(run, first_run, songs):
    result = run(songs, retrain=["drums"])
    assert set(result.ran) == {"train-drums", "generate-drums", "mix"}
    assert result.figures == first_run.figures  # the same seed plays the same
    assert result.badness == first_run.badness
    assert run(songs).ran == []


def test_stems_trained_side_by_side_end_as_one_after_another(run, first_run, songs, tmp_path):
    beside = run(songs, "orchestration.devices=[cpu,cpu]", workspace=tmp_path / "beside")
    assert set(beside.ran) == EVERYTHING
    assert beside.figures == first_run.figures
    assert beside.output.mix.read_bytes() == first_run.output.mix.read_bytes()


def test_where_nothing_may_be_trained_a_missing_model_is_named(prefect_server, first_run, workspace):
    from flows.evaluate import evaluate
    from flows.generate_and_mix import generate_and_mix

    took = generate_and_mix(seed=4, workspace=workspace)
    assert set(took.ran) == {"generate-drums", "generate-bass", "mix"}
    measured = evaluate(workspace=workspace)
    for stem, bits in measured.bits.items():
        assert bits["heldout"] == pytest.approx(first_run.figures[stem]["heldout"])
        assert bits["train"] > 0
    for flow in (generate_and_mix, evaluate):
        with pytest.raises(NotMadeError, match="train-bass: this was not made yet"):
            flow(overrides=["stems.bass.training.steps=7"], workspace=workspace)


def test_what_a_failed_attempt_has_trained_again_its_retry_reuses(
    prefect_server, first_run, workspace, monkeypatch
):
    from flows import band
    from flows.train_stem import train_stem

    attempts, play = [], band.play_band

    def play_and_fail_at_first(*args):
        played = play(*args)
        attempts.append(1)
        if len(attempts) == 1:
            raise RuntimeError("no disk")
        return played

    def publish_and_fail_at_second(*args):
        if len(attempts) == 2:
            raise RuntimeError("no disk, after the mix")
        return publish(*args)

    publish = band.publish_output
    monkeypatch.setattr(band, "play_band", play_and_fail_at_first)
    monkeypatch.setattr(band, "publish_output", publish_and_fail_at_second)
    told = train_stem.with_options(retries=2)("drums", workspace=workspace)
    assert (len(attempts), told.ran) == (3, [])


@pytest.fixture
def end_a_retraining(run, songs, monkeypatch):
    """End a run that retrains drums when it has played them."""

    def fail(tracker, place, stem, take):
        if stem == "drums":
            raise RuntimeError("ended")

    def end():
        with monkeypatch.context() as patch:
            patch.setattr("tasks.tracking.PipelineTracker.log_take", fail)
            with pytest.raises(RuntimeError, match="ended"):
                run(songs, retrain=["drums"])

    return end


@pytest.mark.parametrize(
    "meanwhile", [None, {}, {"retrain": ["bass"]}], ids=["no run", "a run", "another stem"]
)
def test_what_a_run_that_was_ended_has_trained_again_is_not_trained_once_more(
    run, first_run, songs, end_a_retraining, meanwhile, capsys
):
    end_a_retraining()
    if meanwhile is not None:
        run(songs, **meanwhile)
    assert run(songs, retrain=["drums"]).ran == ["mix"]
    assert "drums was to be made again before" in capsys.readouterr().err
    assert set(run(songs, retrain=["drums"]).ran) == {"train-drums", "generate-drums", "mix"}


def test_a_mistake_that_was_refused_is_not_what_the_next_run_builds_on(prefect_server, first_run, workspace):
    from flows.generate_and_mix import generate_and_mix
    from flows.train_stem import train_stem

    with pytest.raises(ConfigError, match="drum"):
        train_stem("drums", overrides=["stems.drum.training.steps=7"], workspace=workspace)
    assert generate_and_mix(workspace=workspace).ran == []


def test_what_a_worker_runs_is_told_as_a_command_would(
    prefect_server, first_run, songs, tiny, workspace, monkeypatch, capfd
):
    from flows.evaluate import evaluate
    from flows.prepare_shards import prepare

    for name in ("evaluate", "prepare_shards"):
        monkeypatch.setattr(f"flows.{name}.is_run_by_worker", lambda: True)
    evaluate(workspace=workspace)
    made = prepare(str(songs), [str(tiny)], workspace=workspace)
    told = capfd.readouterr().out
    assert "Bits per sample (lower is better)" in told
    assert f"shards  drums        {made.places['drums']}\n" in told


def test_what_the_benchmark_calls_without_prefect_is_all_that_a_run_has_made(
    first_run, songs, tiny, workspace, monkeypatch
):
    """Or what orchestration adds would be measured against something else."""
    monkeypatch.setattr(orchestration, "CONFIG", str(tiny))
    orchestration.run_directly(str(songs), workspace, [])
    with pytest.raises(AssertionError, match=r"not cached: \['mix'\]"):
        orchestration.run_directly(str(songs), workspace, ["mix.clip_mode=tanh"])
    assert load_config(["demo"], orchestration.SETTINGS).training.steps == 4


def test_a_change_of_the_mix_alone_mixes_alone(run, first_run, songs):
    assert run(songs, "mix.gains_db.bass=-6").ran == ["mix"]


def test_a_change_of_temperature_generates_and_trains_nothing(run, first_run, songs):
    assert set(run(songs, "generation.temperature=0.9").ran) == {"generate-drums", "generate-bass", "mix"}


def test_a_result_whose_files_are_gone_is_made_again(run, first_run, songs, workspace):
    shutil.rmtree(workspace / "store" / "takes")
    result = run(songs)
    assert set(result.ran) == {"generate-drums", "generate-bass"}
    assert result.output == first_run.output


def test_a_missing_file_of_a_result_is_made_again(run, first_run, songs, workspace):
    for take in (workspace / "store" / "takes").glob("*/take.wav"):
        take.unlink()
    assert set(run(songs).ran) >= {"generate-drums", "generate-bass"}
    assert all(path.is_file() for path in first_run.output.stems.values())


def test_a_workspace_inside_the_input_is_not_trained_on(run, songs):
    run(songs, workspace=songs / "workspace")
    assert run(songs, workspace=songs / "workspace").ran == []


def test_a_moved_workspace_keeps_what_it_logs(run, first_run, songs, workspace, tmp_path):
    shutil.move(workspace, tmp_path / "moved")
    run(songs, "mix.gains_db.bass=-6", workspace=tmp_path / "moved")
    assert not workspace.exists()


def test_how_often_a_checkpoint_is_written_trains_nothing_again(run, first_run, songs):
    assert run(songs, "training.checkpoint_seconds=7").ran == []


def test_gains_are_those_of_the_page(run, songs):
    page = run(songs, "mix.gains_db.bass=-6").output.report.read_text()
    assert 'data-gain-db="-6.0"' in page


def test_the_same_audio_twice_is_one_track(run, songs):
    shutil.copytree(songs / "song 1", songs / "song 1 again")
    result = run(songs)
    assert ("song 1 again", "the same audio as song 1") in result.set_aside
    assert set(result.figures) == {"drums", "bass"}


def test_takes_of_all_stems_begin_at_one_place(first_run, workspace):
    from wavenet.files import read_json

    primes = [read_json(path)["prime"] for path in (workspace / "store" / "takes").glob("*/take.json")]
    assert len(primes) == 2
    assert primes[0] == primes[1] is not None


def test_without_priming_takes_begin_from_silence(run, songs):
    result = run(songs, "generation.prime=false")
    assert "take" in result.output.report.read_text().lower()


def test_nothing_temporary_is_left_behind(first_run, workspace):
    left = [
        path for path in workspace.rglob(".*") if path.parent.name in {"tracks", "shards", "models", "takes"}
    ]
    assert left == []
    assert list((workspace / "work").glob("*")) == []


def test_prefect_shows_reused_tasks_as_cached(run, first_run, songs):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.sorting import FlowRunSort

    result = run(songs)
    with get_client(sync_client=True) as client:
        newest = client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=1)[0]
    assert newest.state_name == "Completed"
    assert set(result.cached) == EVERYTHING


def test_a_workspace_lock_is_free_again_after_an_error(tmp_path):
    place = Workspace(root=tmp_path)
    with pytest.raises(RuntimeError), place.lock("x"):
        raise RuntimeError
    with place.lock("x"):
        pass
