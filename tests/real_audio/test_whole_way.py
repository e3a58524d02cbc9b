"""The whole flow on recorded and rendered music, with small models and few steps."""

import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from tests.prefect_server import clean_environment

pytestmark = pytest.mark.real_audio

SMALL = [
    "ingest.sample_rate=8000",
    "model.dilation_cycle=7",
    "model.num_cycles=2",
    "model.residual_channels=24",
    "model.gate_channels=24",
    "model.skip_channels=64",
    "training.steps=60",
    "training.batch_size=4",
    "training.scored_length=1024",
    "training.learning_rate=0.004",
    "training.warmup_steps=5",
    "generation.seconds=2",
]


@pytest.fixture(scope="module")
def run_waveband(tmp_path_factory, real_audio):
    """Run the command on a part of the real audio; what it prints last is returned."""
    workspace = tmp_path_factory.mktemp("real")

    def run(part, config, *overrides):
        command = ["run", "--input", str(real_audio / part), "--config", config, "--json", *SMALL, *overrides]
        done = subprocess.run(
            [sys.executable, "-m", "flows.cli", *command, "--workspace", str(workspace)],
            capture_output=True, text=True, timeout=280, env=clean_environment(), check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


def assert_learnt(told, *stems):
    """Every held-out figure is below its unigram baseline, and that below uniform."""
    assert set(told["bits_per_sample"]) == set(stems)
    for stem, bits in told["bits_per_sample"].items():
        assert bits["heldout"] < bits["unigram"] < bits["uniform"] + 0.5, (stem, bits)


def assert_sounds(path):
    waveform, _ = soundfile.read(path)
    assert len(waveform) == 16000
    assert np.isfinite(waveform).all()


def test_rendered_stems_become_a_band(run_waveband, real_audio):
    told = run_waveband("stems", "album")
    assert_learnt(told, "drums", "bass", "other")
    assert_sounds(told["mix"])
    stems = [soundfile.read(path)[0] for path in told["stems"].values()]
    mix, _ = soundfile.read(told["mix"])
    scale = min(1.0, 0.999 / np.abs(np.sum(stems, axis=0)).max())
    np.testing.assert_allclose(mix, scale * np.sum(stems, axis=0), atol=1e-5)


def test_recorded_loops_become_drums(run_waveband):
    told = run_waveband("loops", "groove")
    assert_learnt(told, "drums")
    assert_sounds(told["mix"])


def test_finished_tracks_become_one_stem(run_waveband):
    told = run_waveband("album", "rosenstock", "quantization.quantization_channels=64")
    assert_learnt(told, "mix")
    assert told["bits_per_sample"]["mix"]["uniform"] == 6.0
    assert_sounds(told["mix"])
