"""`waveband plan`: real trials of tiny networks, and music counted as a run counts it."""

import json

import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.planning import ANY_STEM, plan_training
from flows.prepare import prepare_input
from wavenet.config import load_config
from wavenet.data.shards.format import read_manifest
from wavenet.data.shards.storage import open_location
from wavenet.errors import ConfigError, IncompatibleDataError, NoAudioError
from wavenet.files import read_json
from wavenet.model.wavenet import WaveNet, count_parameters
from wavenet.session import run as session
from wavenet.session.job import RESULT
from wavenet.training.trial_result import TrialResult


def try_here(trial):
    session.run_trial(trial, NoReporter(), lambda: False)
    return TrialResult.model_validate(read_json(trial.folder / RESULT))


class NoReporter:
    """Hears nothing."""

    def tell(self, message):
        pass


def call(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def plan(tiny, tmp_path, monkeypatch):
    """Plan with the tiny configuration, trials in this process: one of its own takes seconds to start."""
    monkeypatch.setattr(session, "keep_memory", lambda: False)
    monkeypatch.setattr("tasks.forecast.run_trial", try_here)

    def plan(input, *overrides):
        place = tmp_path / "workspace"
        return plan_training(None if input is None else str(input), [str(tiny)], overrides, place, 0.0)

    return plan


def test_without_an_input_there_is_a_row_for_each_named_stem_and_one_for_any_other(plan, tiny, tmp_path):
    planned = plan(None, "stems.drums.model.num_cycles=2", "stems.bass.training.steps=9")
    assert [each.stem for each in planned.forecasts] == ["drums", "bass", ANY_STEM]
    drums, bass, other = planned.forecasts
    settings = load_config([tiny], ["stems.drums.model.num_cycles=2"])
    assert drums.num_parameters == count_parameters(WaveNet(settings.for_stem("drums").model, 64))
    assert drums.receptive_field_seconds == 31 / 2000
    assert bass.training.steps == 9
    assert bass.speed == other.speed  # the same network: tried once
    assert bass.speed != drums.speed
    assert planned.warnings == []
    assert not (tmp_path / "workspace").exists()


def test_an_input_is_counted_as_its_shards_are(plan, songs, tiny, tmp_path):
    planned = plan(songs)
    assert [each.stem for each in planned.forecasts] == ["bass", "drums"]
    made = prepare_input(str(songs), [str(tiny)], [], tmp_path / "workspace")
    for each in planned.forecasts:
        manifest = read_manifest(open_location(made.places[each.stem]))
        for split in ("train", "heldout"):
            assert each.music.seconds[split] * 2000 == pytest.approx(manifest.num_samples(split), abs=1)
        assert each.scored_a_step == 2 * 200
        written = sum(file.num_bytes for file in manifest.files)
        assert (
            each.music.shard_bytes < written < each.music.shard_bytes + 10_000
        )  # Parquet's own, of tiny files


def test_what_is_decoded_for_it_is_not_decoded_again(plan, songs, tiny, tmp_path, monkeypatch):
    plan(songs)
    monkeypatch.setattr("tasks.ingest.run_apart", lambda *_, **__: pytest.fail("decodes again"))
    plan(songs)


def test_the_beat_of_the_songs_is_heard(plan, songs):
    """Tones that are plucked once a half second."""
    planned = plan(songs)
    assert {each.music.num_tracks for each in planned.forecasts} == {3}
    assert {each.music.beats_a_minute for each in planned.forecasts} == {120.0}
    assert any("not even a sixteenth" in warning for warning in planned.warnings)


def test_little_music_for_many_steps_is_warned_of(plan, songs):
    planned = plan(songs, "training.steps=100000")
    assert any(warning.startswith("bass, drums: 0.1 min to train on") for warning in planned.warnings)
    assert any("each sample is scored" in warning for warning in planned.warnings)


def test_no_piece_as_long_as_a_window_shortens_what_is_scored(plan, songs):
    planned = plan(songs, "training.scored_length=100000")
    field = planned.forecasts[0].model.receptive_field
    assert planned.forecasts[0].scored_a_step == 2 * (2 * 2000 - field)


def test_features_are_part_of_the_size_and_of_the_network(plan, songs):
    plain, told = plan(songs), plan(songs, "features.names=[chroma]", "model.features=[chroma]")
    assert told.forecasts[0].music.shard_bytes > plain.forecasts[0].music.shard_bytes
    assert told.forecasts[0].num_parameters > plain.forecasts[0].num_parameters
    assert told.forecasts[0].multiply_adds > plain.forecasts[0].multiply_adds


@pytest.mark.parametrize(("override", "error", "text"), [
    ("model.features=[chroma]", ConfigError, r"features.names=\[chroma\]"),
    ("model.labels=[artist]", ConfigError, "no labels"),
    ("quantization.quantization_channels=4096", IncompatibleDataError, "model.output=logistics"),
    ("training.device=cuda:77", ConfigError, "cuda:77"),
])  # fmt: skip
def test_what_could_not_be_trained_is_refused(plan, songs, override, error, text):
    with pytest.raises(error, match=text):
        plan(songs, override)


def test_an_input_without_audio_is_refused(plan, tmp_path):
    folder = tmp_path / "nothing"
    folder.mkdir()
    (folder / "a.wav").write_bytes(b"no audio")
    with pytest.raises(NoAudioError):
        plan(folder)


def test_the_command_prints_tables_warnings_and_one_json_object_as_its_last_line(songs, tiny, tmp_path):
    (songs / "song 0" / "keys.wav").write_bytes(b"no audio")
    place = tmp_path / "workspace"
    arguments = ("--config", tiny, "--seconds", "0", "--json", "--workspace", place)
    result = call("plan", "--input", songs, *arguments)
    assert result.exit_code == 0
    for words in ("The networks", "Training on this machine", "The music", "warning  ", "set aside"):
        assert words in result.stdout
    told = json.loads(result.stdout.splitlines()[-1])
    assert set(told) == {"trial_seconds", "stems", "warnings", "notes", "set_aside"}
    assert told["stems"]["drums"]["receptive_field"] == 16
    alone = call("plan", *arguments)
    assert "The music" not in alone.stdout
    assert list(json.loads(alone.stdout.splitlines()[-1])["stems"]) == [ANY_STEM]
