"""Demucs is driven offline, and nothing of what it computes is changed."""

import os
import random
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from wavenet.audio.separator import Level, check_separator, load_separator
from wavenet.config import SeparationConfig
from wavenet.errors import SeparationError

pytestmark = pytest.mark.usefixtures("no_network")

RATE = 8000
AS_IT_IS = Level(0.0, 1.0)
LOAD = """
import huggingface_hub
from wavenet.audio.separator import load_separator
from wavenet.config import SeparationConfig
load_separator(SeparationConfig(device="cpu"))
"""


def config(**options):
    return SeparationConfig(**{"device": "cpu", **options})


def noise(seconds=2.5, seed=0):
    return np.random.default_rng(seed).normal(0, 0.5, (round(seconds * RATE), 2)).astype(np.float32)


def separate(separator, waveform, level=AS_IT_IS, progress=lambda share: None):
    return separator.separate(waveform, level, progress)


def test_a_model_of_the_hub_cache_is_loaded_without_a_look_at_the_network(fill_hub):
    """Though the hub's library was imported to be online; the fixture fails where it looks."""
    fill_hub("htdemucs")
    separator = load_separator(config())
    assert (separator.sample_rate, separator.num_channels) == (RATE, 2)
    assert separator.stems == ["drums", "bass", "other", "vocals"]
    assert (separator.segment_length, separator.stride) == (RATE, RATE * 3 // 4)


def test_stems_have_the_models_names_and_order(fill_hub):
    stems = ["drums", "bass", "other", "vocals", "guitar", "piano"]
    fill_hub("htdemucs_6s", stems=stems)
    separator = load_separator(config(model="htdemucs_6s"))
    assert separator.stems == stems
    assert separate(separator, noise()).shape == (6, 20000, 2)


def test_a_model_of_a_folder_is_loaded(fill_folder):
    folder = fill_folder("one", "two", bag=["one", "two"])
    sounds = {
        name: separate(load_separator(config(repo=folder, model=name)), noise()) for name in ("one", "bag")
    }
    assert np.abs(sounds["one"] - sounds["bag"]).max() > 1e-3


@pytest.mark.parametrize("num_models", [1, 2])
@pytest.mark.parametrize(
    "options", [{"shifts": 0}, {"shifts": 0, "overlap": 0.5}, {"shifts": 0, "segment": 0.7}]
)
def test_stems_are_what_the_stock_separator_gives(fill_hub, options, num_models):
    fill_hub("htdemucs_ft", num_models)
    separator = load_separator(config(model="htdemucs_ft", **options))
    assert_as_stock(separator, noise() + 0.1, options)


def test_a_shifted_track_gives_what_the_stock_separator_gives(fill_hub):
    fill_hub("htdemucs")
    random.seed(0)
    assert_as_stock(load_separator(config(shifts=1)), noise() + 0.1, {"shifts": 1})


def assert_as_stock(separator, waveform, options):
    separator.demucs.update_parameter(device="cpu", **options)
    _, stock = separator.demucs.separate_tensor(torch.from_numpy(waveform.T.copy()), RATE)
    mono = waveform.mean(axis=1)
    sounds = separate(separator, waveform, Level(float(mono.mean()), float(mono.std(ddof=1))))
    for sound, expected in zip(sounds, stock.values(), strict=True):
        np.testing.assert_allclose(sound, expected.T.numpy(), atol=2e-6)


def test_the_same_waveform_gives_the_same_stems(fill_hub):
    """Demucs shifts it at random, by Python's own generator, which is left as it was."""
    fill_hub("htdemucs")
    separator, sounds = load_separator(config()), []
    state = random.getstate()
    for seed in (1, 2):
        random.seed(seed)
        sounds.append(separate(separator, noise()))
        assert random.getstate() == random.Random(seed).getstate()
    random.setstate(state)
    np.testing.assert_array_equal(*sounds)


def test_threads_of_demucs_do_not_change_the_stems(fill_hub):
    fill_hub("htdemucs")
    separator = load_separator(config())
    threaded = replace(separator, config=config(jobs=3))
    np.testing.assert_allclose(separate(threaded, noise()), separate(separator, noise()), atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"shifts": 0}, {"shifts": 2}, {"jobs": 2}, {"overlap": 0.0}])
@pytest.mark.parametrize("num_models", [1, 2])
def test_progress_grows_with_every_segment_and_ends_at_one(fill_hub, options, num_models):
    fill_hub("htdemucs_ft", num_models=num_models)
    shares = []
    separator = load_separator(config(model="htdemucs_ft", **options))
    separate(separator, noise(4.0), progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert 0 < shares[0] < 0.5
    assert len(shares) >= 4 * num_models * max(1, options.get("shifts", 1))


def test_a_failure_of_demucs_is_told_with_a_remedy(fill_hub, monkeypatch):
    fill_hub("htdemucs")
    separator = load_separator(config())
    monkeypatch.setattr(
        "demucs.htdemucs.HTDemucs.forward",
        lambda model, mixture: (_ for _ in ()).throw(RuntimeError("no memory")),
    )
    with pytest.raises(SeparationError, match=r"Demucs failed \(no memory\).*separation\.device=cpu"):
        separate(separator, noise())


def test_damaged_weights_are_told(fill_hub):
    (fill_hub("htdemucs") / "tiny0.safetensors").write_bytes(b"not weights")
    with pytest.raises(SeparationError, match=r"'htdemucs' cannot be loaded .*fetch them again"):
        load_separator(config())


def test_a_program_that_demucs_would_end_goes_on(fill_hub, monkeypatch):
    """Demucs calls sys.exit on some errors."""
    fill_hub("htdemucs")
    monkeypatch.setattr("demucs.api.get_model", lambda **options: sys.exit("gone"))
    with pytest.raises(SeparationError, match=r"cannot be loaded \(gone\)"):
        load_separator(config())


def test_a_segment_longer_than_a_transformer_takes_is_refused_at_once(fill_hub):
    fill_hub("htdemucs")
    with pytest.raises(SeparationError, match=r"separation\.segment: found 1\.5, expected at most 1,"):
        load_separator(config(segment=1.5))


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "cuda:x"])
def test_a_device_that_is_not_there_is_told_before_anything_is_loaded(fill_hub, device):
    fill_hub("htdemucs")
    with pytest.raises(SeparationError, match=rf"separation\.device: .*{device}"):
        check_separator(config(device=device))


def test_missing_weights_are_told_before_anything_is_loaded():
    with pytest.raises(SeparationError, match="hf download adefossez/HTDemucs"):
        check_separator(config())


@pytest.mark.parametrize("model", ["htdemucs_ft", "mdx_extra_q", "955717e8"])
def test_pickled_weights_are_never_downloaded_in_their_place(model):
    with pytest.raises(SeparationError, match=model):
        load_separator(config(model=model))


def test_without_weights_the_error_comes_at_once(tmp_path):
    """In a process of its own, where nothing says that the hub's library is to be offline."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        env={**environment, "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert time.monotonic() - start < 15  # imports included; retries alone took 23
    assert done.stderr.splitlines()[-1].startswith(
        "wavenet.errors.SeparationError: Demucs model 'htdemucs': its weights are not in the hub cache "
        f"{tmp_path / 'hub'}; missing are htdemucs.yaml, 955717e8.safetensors of the hub's repository "
        "adefossez/HTDemucs."
    )
