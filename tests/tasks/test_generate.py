"""The pipeline's takes: several side by side, the best first, an interrupted run gone on with."""

import shutil

import numpy as np
import pytest
from prefect.states import State

from tasks import generate as generating
from tasks.generate import CARD, REFERENCE, TAKE, choose_primes, generate
from tasks.ranges import likelihood, prints, ranges
from tasks.records import ModelRecord, ShardsRecord
from tasks.workspace import Workspace
from tests.flows.test_generating import save_variant
from tests.small_training import RATE, shard_folder
from tests.wavenet.model.variants import make_variant
from wavenet.audio.io import read_audio
from wavenet.config import GenerationConfig, GuardsConfig
from wavenet.data.shards.format import read_manifest
from wavenet.evaluation.take_scores import SCORES, read_scores
from wavenet.files import digest_folder, read_json
from wavenet.generation import recording
from wavenet.generation.recording import Recording

__all__ = ["shard_folder"]

GUARDS = GuardsConfig(fit=False, flatness=1, clipped_share=0.043)
CONFIG = GenerationConfig(seconds=12, precision="fp32", takes=3, keep=2, guards=GUARDS)


def measure(task, **inputs):
    """A task's record, whether it was there already or not."""
    made = task.fn(**inputs)
    return made.data if isinstance(made, State) else made


@pytest.fixture
def play(shard_folder, tmp_path):
    """Run the task on random weights and real shards, in a workspace by name."""

    def play(config=CONFIG, name="workspace", occasion=None):
        place = Workspace(root=tmp_path / name)
        if not place.root.exists():
            shutil.copytree(shard_folder, place.root / "shards")
            save_variant("paper", place.root / "model", read_manifest(shard_folder).digest)
        digest = digest_folder(place.root / "model", ["model.safetensors", "config.json"])
        figures = {"heldout_bits": 1, "free_bits": None, "num_parameters": 1, "seconds": 1}
        model = ModelRecord(digest=digest, folder="model", stem="drums", **figures)
        shards = ShardsRecord(digest=read_manifest(shard_folder).digest, folder="shards", stem="drums")
        field = make_variant("paper").receptive_field
        prime = choose_primes(place, {"drums": shards}, field, round(config.seconds * RATE))["drums"]
        stem = {"workspace": place, "stem": "drums"}
        made = generate.fn(
            **stem,
            model=model,
            shards=shards,
            prime=prime,
            config=config,
            ranges=measure(ranges, **stem, shards=shards),
            prints=measure(prints, **stem, shards=shards),
            likelihood=measure(likelihood, **stem, shards=shards, model=model.weights),
            occasion=occasion,
        )
        return made, place.path(made.folder)

    return play


def test_the_best_take_is_the_stems_and_others_that_are_kept_lie_beside_it(play):
    made, folder = play()
    takes = read_json(folder / CARD)["takes"]
    assert [one["file"] for one in takes] == [TAKE, "take-2.wav"]
    assert len({one["take"] for one in takes}) == 2
    first, second = (read_audio(folder / one["file"])[0] for one in takes)
    assert len(first) == len(second) == made.num_samples == 12 * RATE
    assert not np.array_equal(first, second)
    assert (folder / REFERENCE).is_file()
    assert len(list(folder.glob("*.wav"))) == 3


def test_all_takes_are_scored_and_the_best_is_the_stems(play):
    made, folder = play()
    scores = read_scores(folder / SCORES)
    assert [one.file for one in scores.takes] == [TAKE, "take-2.wav", None]
    kept = [one["take"] for one in read_json(folder / CARD)["takes"]]
    assert [one.take for one in scores.takes[:2]] == kept
    places = [(-(one.let_go_seconds or np.inf), one.badness) for one in scores.takes]
    assert places == sorted(places)
    assert made.badness == scores.takes[0].badness
    assert made.lasts


def test_a_take_that_cannot_be_scored_is_kept_and_scored_by_the_next_run(play, monkeypatch):
    monkeypatch.setattr(generating, "load_judge", lambda *_: (_ for _ in ()).throw(OSError("no space")))
    made, folder = play()
    assert (folder / TAKE).is_file()
    assert (made.badness, made.lasts) == (None, False)
    monkeypatch.undo()
    again, folder = play()
    assert again.badness == read_scores(folder / SCORES).takes[0].badness


@pytest.mark.parametrize("occasion", [None, "monday"], ids=["the first time", "again"])
def test_an_interrupted_task_goes_on_and_ends_with_the_same_digest(play, monkeypatch, occasion):
    whole, _ = play(name="workspace" if occasion else "undisturbed")
    monkeypatch.setattr(recording, "SECONDS_BETWEEN", 0)
    take_in, seen, begun = Recording.take_in, [], []

    def take_in_or_end(self, take, codes):
        take_in(self, take, codes)
        seen.append(len(codes))
        if sum(seen) > 2 * RATE:
            monkeypatch.setattr(Recording, "take_in", take_in)
            raise KeyboardInterrupt

    monkeypatch.setattr(Recording, "take_in", take_in_or_end)
    with pytest.raises(KeyboardInterrupt):
        play(occasion=occasion)
    monkeypatch.setattr(Recording, "begin", lambda *_: begun.append(1))
    made, _ = play(occasion=occasion)
    assert not begun
    assert made.digest == whole.digest


def test_what_another_machine_left_is_begun_anew(play, monkeypatch):
    begun = []
    begin = Recording.begin
    monkeypatch.setattr(Recording, "begin", lambda self, context: begun.append(1) or begin(self, context))
    monkeypatch.setattr(generating, "digest_bytes", lambda data: "other")
    monkeypatch.setattr(generating, "record_takes", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        play()
    monkeypatch.undo()
    monkeypatch.setattr(Recording, "begin", lambda self, context: begun.append(2) or begin(self, context))
    play()
    assert begun == [1, 2]
