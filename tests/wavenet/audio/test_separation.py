"""Separation drives the stock Demucs, offline, and changes nothing of what it computes."""

import os
import random
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
import torch
from huggingface_hub import constants

from wavenet.audio.io import level_db, write_audio
from wavenet.audio.separation import load_separator, separate_file
from wavenet.config import SeparationConfig
from wavenet.errors import SeparationError

STEMS = ["drums", "bass", "other", "vocals"]
RATE = 8000
LOAD = """
from wavenet.audio.separation import load_separator
from wavenet.config import SeparationConfig
load_separator(SeparationConfig(device="cpu"))
"""


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """An empty cache, offline, and Demucs' older server of pickled weights out of reach."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))

    def refuse(url, **options):
        pytest.fail(f"would have downloaded {url} and unpickled it")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)


@pytest.fixture
def separator(monkeypatch, tiny_demucs):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tiny_demucs))
    return load_separator(SeparationConfig(enabled=True, device="cpu"))


@pytest.fixture
def mixture(tmp_path):
    """Two seconds of stereo noise, louder than full scale, as working audio."""
    noise = np.random.default_rng(0).normal(0, 0.5, (2 * RATE, 2)).astype(np.float32)
    write_audio(tmp_path / "mixture.wav", noise, RATE)
    return tmp_path / "mixture.wav"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "stems").mkdir()
    return tmp_path / "stems"


def read(path):
    return soundfile.read(path, dtype="float32", always_2d=True)[0]


def test_every_stem_is_written_as_demucs_computed_it(separator, mixture, folder):
    stats, sample_rate, _ = separate_file(separator, mixture, folder)
    assert sample_rate == RATE
    assert list(stats) == STEMS
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{stem}.wav" for stem in STEMS)
    random.seed(0)
    _, computed = separator.separate_tensor(torch.from_numpy(read(mixture).T.copy()), RATE)
    for stem in STEMS:
        info = soundfile.info(folder / f"{stem}.wav")
        assert (info.subtype, info.frames, info.channels, info.samplerate) == ("FLOAT", 2 * RATE, 2, RATE)
        assert np.array_equal(read(folder / f"{stem}.wav"), computed[stem].T.numpy())


def test_stats_are_of_the_written_stems(separator, mixture, folder):
    stats, _, _ = separate_file(separator, mixture, folder)
    for stem in STEMS:
        samples = read(folder / f"{stem}.wav")
        assert stats[stem].num_samples == len(samples)
        assert stats[stem].peak == np.abs(samples).max()
        assert stats[stem].level_db == pytest.approx(level_db(np.square(samples, dtype=np.float64).mean()))


def test_the_residual_is_what_the_written_stems_do_not_explain(separator, mixture, folder):
    _, _, residual_db = separate_file(separator, mixture, folder)
    whole = read(mixture).astype(np.float64)
    rest = whole - sum(read(folder / f"{stem}.wav").astype(np.float64) for stem in STEMS)
    assert residual_db == pytest.approx(level_db(np.square(rest).mean() / np.square(whole).mean()), abs=1e-4)


def test_a_louder_track_has_louder_stems_by_as_much(separator, mixture, folder, tmp_path):
    """No stem is rescaled by itself, however loud."""
    write_audio(tmp_path / "loud.wav", 4 * read(mixture), RATE)
    stats, _, residual_db = separate_file(separator, mixture, folder)
    loud, _, loud_residual_db = separate_file(separator, tmp_path / "loud.wav", folder)
    for stem in STEMS:
        assert loud[stem].peak == pytest.approx(4 * stats[stem].peak, rel=1e-3)
    assert loud_residual_db == pytest.approx(residual_db, abs=0.01)


def test_the_same_track_gives_the_same_stems(separator, mixture, folder):
    """Demucs shifts the track at random, from Python's own generator."""
    state = random.getstate()
    digests = []
    for seed in (1, 2):
        random.seed(seed)
        stats, _, _ = separate_file(separator, mixture, folder)
        digests.append({stem: stat.source_digest for stem, stat in stats.items()})
        assert random.getstate() == random.Random(seed).getstate()  # left as it was
    random.setstate(state)
    assert digests[0] == digests[1]


def test_a_track_of_another_rate_is_resampled_to_the_models(separator, folder, tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.1, (RATE * 3 // 2, 2)).astype(np.float32)
    write_audio(tmp_path / "a.wav", noise, RATE * 3 // 2)
    stats, sample_rate, _ = separate_file(separator, tmp_path / "a.wav", folder)
    assert sample_rate == RATE
    assert {stat.num_samples for stat in stats.values()} == {RATE}


def test_silence_separates_into_silence_and_has_no_residual(separator, folder, tmp_path):
    write_audio(tmp_path / "a.wav", np.zeros((RATE, 2), np.float32), RATE)
    stats, _, residual_db = separate_file(separator, tmp_path / "a.wav", folder)
    assert residual_db is None
    assert all(stat.level_db < -100 for stat in stats.values())


def test_a_track_that_cannot_be_separated_is_named_with_a_remedy(monkeypatch, tiny_demucs, mixture, folder):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tiny_demucs))
    separator = load_separator(SeparationConfig(device="cuda:99"))
    with pytest.raises(SeparationError, match=r"(?s)^mixture\.wav: Demucs failed .*separation\.device=cpu"):
        separate_file(separator, mixture, folder)
    assert not list(folder.iterdir())


def test_without_weights_the_error_is_quick_and_names_the_remedy(tmp_path):
    """In a process of its own: the hub's library reads its settings when it is imported."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        env={**environment, "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert time.monotonic() - start < 15  # imports included; without the setting the lookup alone takes 23
    message = done.stderr.splitlines()[-1].removeprefix("wavenet.errors.SeparationError: ")
    assert message.startswith("Demucs model 'htdemucs' cannot be loaded")
    assert "Separator('hf://htdemucs')" in message
    assert "separation.repo" in message


@pytest.mark.parametrize("model", ["htdemucs_ft", "mdx_extra_q", "955717e8", "no such model"])
def test_pickled_weights_are_never_downloaded_in_their_place(model):
    with pytest.raises(SeparationError, match=model):
        load_separator(SeparationConfig(model=model, device="cpu"))


def test_a_model_may_be_named_with_its_place_on_the_hub(monkeypatch, tiny_demucs):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tiny_demucs))
    for name in ("htdemucs", "hf://htdemucs", "hf://adefossez/htdemucs"):
        assert load_separator(SeparationConfig(model=name, device="cpu")).samplerate == RATE


def test_a_missing_folder_of_models_is_named(tmp_path):
    with pytest.raises(SeparationError, match=r"separation\.repo: .*/nowhere is no folder"):
        load_separator(SeparationConfig(repo=tmp_path / "nowhere"))


def test_a_folder_without_the_model_says_what_was_expected_there(tmp_path):
    with pytest.raises(SeparationError, match=r"expected htdemucs\.yaml or htdemucs\.th"):
        load_separator(SeparationConfig(repo=tmp_path))


def test_a_program_that_demucs_would_end_goes_on(monkeypatch, tmp_path):
    """Demucs calls sys.exit where its folder of models vanishes."""
    monkeypatch.setattr("pathlib.Path.is_dir", iter([True, False]).__next__)
    with pytest.raises(SeparationError):
        load_separator(SeparationConfig(repo=tmp_path))
