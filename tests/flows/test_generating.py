"""`waveband generate`: takes into files; ended at any moment, gone on with, to the same samples."""

import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from flows import generating
from flows.cli import app
from flows.generating import HELDOUT, SILENCE, Asked, generate_takes
from tasks.caching import write_result
from tasks.records import ModelRecord, ShardsRecord
from tasks.workspace import Workspace
from tests.small_training import RATE, shard_folder
from tests.wavenet.model.variants import make_variant
from wavenet.data.primes import Place, choose_places, context_and_continuation
from wavenet.data.shards.format import read_manifest
from wavenet.errors import ConfigError, IncompatibleCheckpointError, IncompatibleDataError
from wavenet.evaluation.take_scores import read_scores
from wavenet.files import read_json, write_json
from wavenet.generation import recording
from wavenet.generation.recording import Recording
from wavenet.model.saved import SavedModel, save_model

__all__ = ["shard_folder"]

LEVELS = 64
UNGUARDED = "generation.guards.enabled=false"
CLIPPING = [
    "generation.guards.fit=false",
    "generation.guards.flatness=1",
    "generation.guards.clipped_share=0.043",
]
"""Beyond which takes of these random weights are now and then."""


def save_variant(name, folder, shards_digest="0" * 32, levels=LEVELS):
    network = make_variant(name, levels)
    card = SavedModel(
        stem="drums",
        sample_rate=RATE,
        quantization_channels=levels,
        shards_digest=shards_digest,
        model=network.config,
        condition=network.form,
    )
    folder.mkdir(parents=True)
    save_model(network, card, folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory, shard_folder):
    """Random weights in a folder, of the shard set's codes."""
    digest = read_manifest(shard_folder).digest
    return save_variant("paper", tmp_path_factory.mktemp("models") / "paper", digest)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    return save_variant("labels", tmp_path_factory.mktemp("models") / "labels")


@pytest.fixture
def generate(model, tmp_path):
    """Play half a second, or what is asked for; `Asked` and all else by name."""

    def generate(*overrides, output="a.wav", model=model, resume=False, **asked):
        settings = ["generation.seconds=0.5", "generation.precision=fp32", *overrides]
        out, place = tmp_path / output, tmp_path / "workspace"
        return generate_takes(str(model), out, [], settings, place, Asked(**asked), resume)

    return generate


def samples_of(path):
    return soundfile.read(path, dtype="float32")[0]


def test_a_model_is_played_and_beside_the_sound_stands_how(generate, tmp_path):
    made = generate("generation.seed=3")
    waveform, rate = soundfile.read(tmp_path / "a.wav")
    assert (len(waveform), rate) == (RATE // 2, RATE)
    card = read_json(tmp_path / "a.wav.json")
    assert card["stem"] == "drums"
    assert card["generation"]["seed"] == 3
    assert card["prime"] == {SILENCE: True}
    assert (card["take"], card["incidents"]) == (1, [])
    assert [one.file for one in made.takes] == [tmp_path / "a.wav"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "a.wav.json"]


def test_flac_holds_what_wav_holds_to_24_bits(generate, tmp_path):
    generate("generation.seconds=3")
    generate("generation.seconds=3", output="a.flac")
    flac = samples_of(tmp_path / "a.flac")
    assert len(flac) == 3 * RATE
    assert np.abs(flac - samples_of(tmp_path / "a.wav")).max() <= 2**-23


def test_a_sound_that_is_there_is_never_overwritten(generate, tmp_path):
    generate()
    before = (tmp_path / "a.wav").read_bytes()
    with pytest.raises(ConfigError, match=r"a\.wav: is there already"):
        generate("generation.seed=1")
    with pytest.raises(ConfigError, match="there is nothing to resume"):
        generate(resume=True)
    (tmp_path / "b-2.wav").touch()
    with pytest.raises(ConfigError, match=r"b-2\.wav: is there already"):
        generate("generation.takes=2", "generation.keep=2", output="b.wav")
    assert not list(tmp_path.glob("b.*"))
    assert (tmp_path / "a.wav").read_bytes() == before
    with pytest.raises(ConfigError, match=r"ends with \.wav or \.flac"):
        generate(output="a.mp3")


def test_the_prime_is_what_the_file_ends_with_and_is_cut_off_or_kept(generate, write_tone, tmp_path, capfd):
    tone = write_tone(tmp_path / "tone.ogg", 200, 3.0, sample_rate=44100)
    generate(prime=str(tone))
    generate(prime=str(tone), keep_prime=True, output="kept.wav")
    alone, kept = samples_of(tmp_path / "a.wav"), samples_of(tmp_path / "kept.wav")
    field = len(kept) - len(alone)
    assert field == make_variant("paper").receptive_field
    assert np.array_equal(kept[field:], alone)
    expected = generating.read_excerpt(tone, RATE, field)
    assert np.abs(kept[:field] - expected).max() < 0.05  # of 64 levels
    assert f"{field / RATE:.2f} s of tone.ogg" in capfd.readouterr().err
    generate(prime=str(tone), start=0.25, output="b.wav", keep_prime=True)
    assert not np.array_equal(samples_of(tmp_path / "b.wav")[:field], kept[:field])
    generate(output="silent.wav", prime=SILENCE)
    assert not np.array_equal(samples_of(tmp_path / "silent.wav"), alone)


def test_a_prime_shorter_than_the_network_hears_has_silence_before_it_and_it_is_said(
    generate, write_tone, tmp_path, capfd
):
    tone = write_tone(tmp_path / "tone.wav", 200, 0.005)
    generate(prime=str(tone), keep_prime=True)
    assert len(samples_of(tmp_path / "a.wav")) == RATE // 2 + 10
    assert "silence before it" in capfd.readouterr().err
    with pytest.raises(ConfigError, match=r"--prime .*gone\.wav: no such file"):
        generate(prime=str(tmp_path / "gone.wav"), output="b.wav")
    with pytest.raises(ConfigError, match="--prime-start is a second of a file"):
        generate(prime=SILENCE, start=1.0, output="b.wav")


def test_held_out_audio_is_gone_on_from_where_shards_are_at_hand(generate, shard_folder, tmp_path):
    field = make_variant("paper").receptive_field
    made = generate(shards=str(shard_folder), keep_prime=True)
    place = Place(**made.prime[HELDOUT])
    assert place == choose_places({"drums": shard_folder}, field, RATE // 2)["drums"]
    codes, _ = context_and_continuation(shard_folder, place, field, 0)
    kept = samples_of(tmp_path / "a.wav")
    assert np.array_equal(kept[:field], generating.Quantizer("mu-law", LEVELS).decode(codes))
    silent = generate("generation.prime=false", shards=str(shard_folder), output="b.wav")
    assert silent.prime == {SILENCE: True}
    with pytest.raises(ConfigError, match="name them with --shards"):
        generate(prime=HELDOUT, output="c.wav")


def test_shards_of_other_codes_are_refused(generate, shard_folder, tmp_path):
    other = save_variant("paper", tmp_path / "other", levels=48)
    with pytest.raises(IncompatibleDataError, match="has quantization_channels 64, the model 48"):
        generate(model=other, shards=str(shard_folder))


def test_lower_precision_is_not_taken_unmeasured(generate):
    with pytest.raises(ConfigError, match="has to be measured on held-out audio; name the model's shards"):
        generate("generation.precision=bf16")


def test_labels_are_told_by_name_and_unknown_ones_list_the_known(generate, labelled, tmp_path, model):
    for name, labels in (("ann", {"artist": "Ann"}), ("bo", {"artist": "Bo"}), ("none", {})):
        generate(model=labelled, output=f"{name}.wav", labels=labels)
    ann, bo, none = (samples_of(tmp_path / f"{name}.wav") for name in ("ann", "bo", "none"))
    assert not np.array_equal(ann, bo)
    assert not np.array_equal(ann, none)
    with pytest.raises(ConfigError, match="label artist=Cy: unknown; known are Ann, Bo"):
        generate(model=labelled, labels={"artist": "Cy"})
    with pytest.raises(ConfigError, match="label album=Blue: the model is told of artist"):
        generate(model=labelled, labels={"album": "Blue"})
    with pytest.raises(ConfigError, match="the model is told of no labels"):
        generate(labels={"artist": "Ann"})
    assert not (tmp_path / "a.wav").exists()


def test_of_several_takes_the_best_are_kept_and_each_is_as_if_alone(generate, tmp_path):
    options = ["generation.seconds=12", *CLIPPING]
    made = generate(*options, "generation.takes=4", "generation.keep=2")
    assert [one.file.name for one in made.takes] == ["a.wav", "a-2.wav"]
    numbers = [one.take for one in made.takes]
    assert len(set(numbers)) == 2
    assert read_json(tmp_path / "a-2.wav.json")["take"] == numbers[1]
    alone = generate(*options, output="alone.wav").takes[0]
    others = generate(*options, "generation.takes=4", "generation.keep=4", output="b.wav").takes
    (first,) = (one for one in others if one.take == 1)
    assert np.array_equal(samples_of(first.file), samples_of(alone.file))
    assert first.incidents == alone.incidents
    assert len({len(one.incidents) for one in others}) > 1
    assert [one.take for one in others[:2]] == numbers
    kept = ["a.wav", "a-2.wav", "alone.wav", "b.wav", "b-2.wav", "b-3.wav", "b-4.wav"]
    assert sorted(path.name for path in tmp_path.glob("*.wav")) == sorted(kept)
    assert not list(tmp_path.glob("*.resume.json"))


@pytest.fixture
def interrupt(monkeypatch):
    """Make the next recording end, as Ctrl-C does, after so many calls of `take_in`."""
    monkeypatch.setattr(recording, "SECONDS_BETWEEN", 0)

    def interrupt(calls):
        take_in, left = Recording.take_in, [calls]

        def take_in_or_end(self, take, codes):
            take_in(self, take, codes)
            left[0] -= 1
            if left[0] == 0:
                monkeypatch.setattr(Recording, "take_in", take_in)
                raise KeyboardInterrupt

        monkeypatch.setattr(Recording, "take_in", take_in_or_end)

    return interrupt


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_ctrl_c_keeps_what_was_made_and_resume_ends_as_if_it_had_not_been(
    generate, interrupt, tmp_path, suffix, write_tone
):
    options = ["generation.seconds=40", *CLIPPING]
    tone = str(write_tone(tmp_path / "tone.wav", 200))
    whole = generate(*options, output=f"whole.{suffix}", prime=tone, keep_prime=True)
    assert whole.takes[0].incidents
    for calls in (4, 9):
        interrupt(calls)
        with pytest.raises(KeyboardInterrupt):
            generate(*options, output=f"a.{suffix}", resume=calls > 4, prime=tone, keep_prime=True)
        kept = samples_of(tmp_path / f"a.{suffix}")
        assert len(kept) > RATE
        with pytest.raises(ConfigError, match="holds unfinished takes; go on with them by --resume"):
            generate(*options, output=f"a.{suffix}", prime=tone, keep_prime=True)
        with pytest.raises(ConfigError, match=r"of other settings: generation\.seed was 0 and is 8"):
            generate(*options, "generation.seed=8", output=f"a.{suffix}", resume=True, prime=tone,
                     keep_prime=True)  # fmt: skip
    made = generate(*options, output=f"a.{suffix}", resume=True, prime=tone, keep_prime=True)
    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"whole.{suffix}").read_bytes()
    assert made.takes[0].incidents == whole.takes[0].incidents
    assert not list(tmp_path.glob("*.resume.json"))


@contextmanager
def end_at_the_first_name(monkeypatch):
    replace = os.replace

    def replace_or_end(source, destination):
        replace(source, destination)
        if "take-" in str(source):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace_or_end)
        yield


def test_ended_while_takes_get_their_names_it_goes_on_there(generate, monkeypatch, tmp_path):
    options = ["generation.takes=3", "generation.keep=2", UNGUARDED]
    generate(*options, output="whole.wav")
    with end_at_the_first_name(monkeypatch), pytest.raises(KeyboardInterrupt):
        generate(*options)
    generate(*options, resume=True)
    for name in (".wav", "-2.wav"):
        assert (tmp_path / f"a{name}").read_bytes() == (tmp_path / f"whole{name}").read_bytes()
    assert len(list(tmp_path.glob("*.wav"))) == 4
    assert not list(tmp_path.glob("*.resume.json"))


@pytest.fixture(scope="module")
def scored(model, shard_folder, tmp_path_factory):
    """What the command printed of three takes that were scored, and its folder."""
    folder = tmp_path_factory.mktemp("scored")
    arguments = ["generate", model, "-o", folder / "a.flac", "--seconds", "5", "--takes", "3", "--keep", "2",
                 "--precision", "fp32", "--shards", shard_folder, "--workspace", folder / "w", "--keep-prime",
                 "--json", UNGUARDED]  # fmt: skip
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result.stdout, folder


def test_where_shards_are_at_hand_takes_are_ranked_by_their_scores_which_lie_beside_them(scored):
    _, folder = scored
    scores = read_scores(folder / "a.flac.scores.json")
    assert [one.file for one in scores.takes] == ["a.flac", "a-2.flac", None]
    assert sorted(one.take for one in scores.takes) == [1, 2, 3]
    badness = [one.badness for one in scores.takes]
    assert badness == sorted(set(badness))
    for one in scores.takes[:2]:
        card = read_json(folder / f"{one.file}.json")
        assert (card["take"], card["badness"]) == (one.take, one.badness)
        waveform = samples_of(folder / one.file)[-5 * RATE :]
        level = 10 * np.log10(np.square(waveform, dtype=np.float64).mean())
        assert one.figures["level_db"].value == pytest.approx(level, abs=1)
        assert one.likelihood.nats_per_sample > 0


def test_the_command_tells_the_scores_in_a_table_and_in_its_json(scored):
    stdout, folder = scored
    told = json.loads(stdout.splitlines()[-1])
    scores = read_scores(folder / "a.flac.scores.json")
    assert [one["badness"] for one in told["scores"]] == [one.badness for one in scores.takes]
    assert [one["file"] for one in told["scores"]] == ["a.flac", "a-2.flac", None]
    assert told["scores"][0]["level_db"] == scores.takes[0].figures["level_db"].value
    assert {"onsets_per_second", "closest", "verdict"} <= told["scores"][0].keys()
    assert told["scores_file"] == str(folder / "a.flac.scores.json")
    assert told["unscored"] is None
    table = stdout[stdout.index("Takes, the best first") : stdout.index("scores  ")]
    for one in scores.takes:
        assert f"{one.take}, {one.file or 'not kept'}" in table
        assert f"{one.badness:.2f}" in table


def test_what_was_measured_once_scores_the_next_takes(scored, model, shard_folder, monkeypatch):
    _, folder = scored
    for name in ("measure_ranges", "fingerprint_training"):
        monkeypatch.setattr(f"tasks.ranges.{name}", None)
    asked = Asked(shards=str(shard_folder))
    settings = ["generation.seconds=1", "generation.precision=fp32"]
    made = generate_takes(str(model), folder / "b.wav", [], settings, folder / "w", asked)
    assert made.scores.takes[0].badness == made.takes[0].badness


def test_model_and_shards_may_be_named_from_here(generate, shard_folder, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(trained.root / "store")
    made = generate(model="models/drums-1", shards="shards/drums")
    assert HELDOUT in made.prime
    assert made.unscored is None
    assert made.model == trained.root / "store" / "models" / "drums-1"


def test_takes_that_cannot_be_scored_are_kept_and_it_is_told_why(
    generate, shard_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr("tasks.ranges.measure_ranges", None)
    made = generate(shards=str(shard_folder))
    assert "NoneType" in made.unscored
    assert made.takes[0].badness is None
    assert len(samples_of(tmp_path / "a.wav")) == RATE // 2
    assert not list(tmp_path.glob("*.scores.json"))


def test_ended_while_scored_takes_get_their_names_the_ranks_stay(
    generate, shard_folder, monkeypatch, tmp_path
):
    options = ["generation.takes=3", "generation.keep=2", UNGUARDED]
    whole = generate(*options, output="whole.wav", shards=str(shard_folder))
    with end_at_the_first_name(monkeypatch), pytest.raises(KeyboardInterrupt):
        generate(*options, shards=str(shard_folder))
    made = generate(*options, resume=True, shards=str(shard_folder))
    assert [one.take for one in made.scores.takes] == [one.take for one in whole.scores.takes]
    assert [one.badness for one in made.takes] == [one.badness for one in whole.takes]
    for name in (".wav", "-2.wav"):
        assert (tmp_path / f"a{name}").read_bytes() == (tmp_path / f"whole{name}").read_bytes()


def end_under_way(process, state, how):
    """End a process at a random moment after it has gone on, and return what it said last."""
    before = state.read_text() if state.exists() else None
    end = time.monotonic() + 100
    while not state.exists() or state.read_text() == before or not read_json(state)["takes"][0]["final"]:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)
    time.sleep(np.random.default_rng().uniform(0, 0.5))
    os.killpg(process.pid, how)
    _, err = process.communicate(timeout=100)
    assert process.returncode == (130 if how == signal.SIGINT else -how), err
    return err


def assert_readable(path):
    """By soundfile, and where it is there by ffmpeg, which may find what is not counted yet."""
    found = samples_of(path)
    assert len(found) > RATE
    if shutil.which("ffmpeg"):
        read = ["ffmpeg", "-v", "error", "-i", path, "-f", "f32le", "-"]
        by_ffmpeg = subprocess.run(read, capture_output=True, check=True)
        assert by_ffmpeg.stderr == b""
        assert np.array_equal(np.frombuffer(by_ffmpeg.stdout, "<f4")[: len(found)], found)


def assert_two_readable(folder):
    """Whether they have their names already, or one has: a random moment may be the last."""
    files = list(folder.glob("a*.flac"))
    assert len(files) == 2
    for file in files:
        assert_readable(file)


def test_killed_and_stopped_at_random_moments_it_goes_on_to_the_same_samples(
    waveband, generate, model, tmp_path
):
    options = ["generation.seconds=200", "generation.precision=fp32", *CLIPPING]
    asked = ["generate", model, "-o", "a.flac", "--takes", "2", "--keep", "2", *options]
    state = tmp_path / "a.flac.resume.json"
    end_under_way(waveband(*asked), state, signal.SIGKILL)
    assert_two_readable(tmp_path)
    err = end_under_way(waveband(*asked, "--resume"), state, signal.SIGINT)
    assert "stopped; run the same command with --resume to go on" in err
    assert_two_readable(tmp_path)
    process = waveband(*asked, "--resume")
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert "goes on from" in err
    generate(*options, "generation.takes=2", "generation.keep=2", output="whole.flac")
    for name in (".flac", "-2.flac"):
        assert (tmp_path / f"a{name}").read_bytes() == (tmp_path / f"whole{name}").read_bytes()


def test_the_command_prints_the_takes_and_one_json_object(model, tmp_path):
    arguments = ["generate", model, "-o", tmp_path / "out" / "a.flac", "--seconds", "0.3", "--seed", "4",
                 "--temperature", "0.9", "--top-k", "20", "--takes", "2", "--workspace", tmp_path / "w",
                 "--json"]  # fmt: skip
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout.splitlines()[-1])
    assert told["seconds"] == 0.3
    assert [one["file"] for one in told["takes"]] == [str(tmp_path / "out" / "a.flac")]
    assert f"take    {tmp_path / 'out' / 'a.flac'}  (take 1, no trouble)" in result.stdout
    assert "not scored: the shards that the model was trained on are not at hand" in result.stdout
    assert (told["scores"], told["scores_file"]) == (None, None)
    card = read_json(tmp_path / "out" / "a.flac.json")
    assert card["generation"]["top_k"] == 20
    assert card["generation"]["temperature"] == 0.9
    result = CliRunner().invoke(
        app, ["generate", str(model), "--label", "Blue", "--workspace", str(tmp_path)]
    )
    assert isinstance(result.exception, ConfigError)
    assert "expected NAME=VALUE" in str(result.exception)


@pytest.fixture
def trained(tmp_path, shard_folder):
    """A workspace in which two models of drums were trained, the second later, beside their shards."""
    place = Workspace(root=tmp_path / "workspace")
    shards = place.root / "store" / "shards" / "drums"
    shutil.copytree(shard_folder, shards)
    digest = read_manifest(shards).digest
    write_result(place, "shards-1", ShardsRecord(digest=digest, folder="store/shards/drums", stem="drums"))
    for number in (1, 2):
        folder = save_variant("paper", place.root / "store" / "models" / f"drums-{number}", digest)
        os.utime(folder / "config.json", (number, number))
        record = ModelRecord(
            digest=str(number), folder=f"store/models/drums-{number}", stem="drums", heldout_bits=1.0,
            free_bits=None, num_parameters=1, seconds=1.0,
        )  # fmt: skip
        write_result(place, f"train-{number}", record)
    return place


def test_a_stems_name_stands_for_its_latest_model_in_the_workspace_and_its_shards(generate, trained, capfd):
    made = generate(model="drums")
    told = capfd.readouterr().err
    songs = {one.track_id: one.track for one in read_manifest(trained.root / "store/shards/drums").tracks}
    assert next(iter(songs.values())) in told
    assert f"(1970-01-01 00:00): {made.model}" in told
    assert f" of {songs[made.prime[HELDOUT]['track_id']]}\n" in told
    assert made.model == trained.root / "store" / "models" / "drums-2"
    assert HELDOUT in made.prime
    with pytest.raises(ConfigError, match=r"no stem that was trained in .*: there are drums; name one"):
        generate(model="bass", output="b.wav")


def test_a_folder_of_that_name_without_a_model_is_passed_over(generate, trained, tmp_path, monkeypatch):
    (tmp_path / "drums").mkdir()
    monkeypatch.chdir(tmp_path)
    assert generate(model="drums").model == trained.root / "store" / "models" / "drums-2"


def test_a_model_of_waveband_train_finds_the_shards_of_its_job(generate, model, shard_folder, tmp_path):
    folder = tmp_path / "workspace" / "models" / "drums-abc"
    shutil.copytree(model, folder / "trained")
    write_json(folder / "trained" / "result.json", {})
    write_json(folder / "job.json", {"shards": str(shard_folder)})
    for name in ("drums", folder):
        made = generate(model=name, output=f"{name == 'drums'}.wav")
        assert made.model == folder / "trained"
        assert HELDOUT in made.prime


def test_what_is_given_as_an_option_holds_over_all_settings_and_has_to_fit_them():
    choose, of_drums = generating.choose_settings, ["stems.drums.generation.temperature=0.7"]
    assert choose([], of_drums, {}, "drums").temperature == 0.7
    assert choose([], of_drums, {"temperature": 0.9}, "drums").temperature == 0.9
    assert choose([], ["generation.seconds=3"], {"seconds": 4}, "drums").seconds == 4
    with pytest.raises(ConfigError, match=r"generation\.top_p: Input should be less than or equal to 1"):
        choose([], [], {"top_p": 2}, "drums")
    with pytest.raises(ConfigError, match="keep is 2, of 1 takes"):
        choose([], ["stems.drums.generation.keep=2", "stems.drums.generation.takes=2"], {"takes": 1}, "drums")


def test_a_folder_without_a_card_is_no_model(generate, model, tmp_path):
    (tmp_path / "bare").mkdir()
    shutil.copy(model / "model.safetensors", tmp_path / "bare")
    with pytest.raises(IncompatibleCheckpointError, match="which says what the weights play"):
        generate(model=tmp_path / "bare")
    with pytest.raises(ConfigError, match=r"MODEL=models:/x/y: expected models:/NAME/VERSION"):
        generate(model="models:/x/y")


def test_a_state_is_plain_json_and_says_what_is_wrong_with_it(generate, interrupt, tmp_path):
    options = ["generation.seconds=3", UNGUARDED]
    interrupt(2)
    with pytest.raises(KeyboardInterrupt):
        generate(*options)
    state = tmp_path / "a.wav.resume.json"
    (take,) = read_json(state)["takes"]
    assert set(take) >= {"number", "final", "draws", "recent", "incidents"}
    state.write_text("{")
    with pytest.raises(ConfigError, match="cannot be read as the state of takes"):
        generate(*options, resume=True)
