"""What is played on the way is kept by step, and changes nothing."""

import json

import soundfile

from tests.wavenet.training.test_loop import assert_same, with_training, without_timings
from wavenet.data.shards.format import read_manifest
from wavenet.session.job import SAMPLES
from wavenet.session.listening import SEEDS, TakeWriter
from wavenet.training.loop import train_model


def test_takes_of_several_steps_lie_side_by_side_and_the_training_is_the_same(shard_folder, config, tmp_path):
    heard = with_training(config, sample_every=10, sample_seconds=0.25)
    writer = TakeWriter(shard_folder, read_manifest(shard_folder), tmp_path, heard.training)
    trained = train_model(shard_folder, tmp_path / "heard", heard, listener=writer)
    assert_same(trained, train_model(shard_folder, tmp_path / "unheard", config))
    assert without_timings(tmp_path / "heard") == without_timings(tmp_path / "unheard")
    folders = sorted(path.name for path in (tmp_path / SAMPLES).iterdir())
    assert folders == ["step-00000010", "step-00000020", "step-00000024"]
    files = sorted(path.name for path in (tmp_path / SAMPLES / folders[0]).iterdir())
    assert files == sorted(f"seed-{seed}.{kind}" for seed in SEEDS for kind in ("wav", "png", "json"))
    places = set()
    for name in folders:
        waveform, rate = soundfile.read(tmp_path / SAMPLES / name / "seed-0.wav")
        assert (len(waveform), rate) == (500, 2000)
        facts = json.loads((tmp_path / SAMPLES / name / "seed-0.json").read_text())
        places.add(json.dumps(facts["after"]))
        assert facts["peak"] > 0
    assert len(places) == 1
