"""Weights are found where Demucs will look, or the message says all that is needed to get them."""

import shutil

import pytest
from huggingface_hub import constants

from wavenet.audio.weights import STOCK, digest_weights, find_weights
from wavenet.config import SeparationConfig
from wavenet.errors import SeparationError

pytestmark = pytest.mark.usefixtures("no_network")


def config(model="htdemucs", **options):
    return SeparationConfig(model=model, **options)


def message(settings):
    with pytest.raises(SeparationError) as raised:
        find_weights(settings)
    return str(raised.value)


def test_files_are_found_in_the_order_of_the_bag(fill_hub):
    snapshot = fill_hub("htdemucs_ft", num_models=2)
    names = ["htdemucs_ft.yaml", "tiny0.safetensors", "tiny1.safetensors"]
    assert find_weights(config("htdemucs_ft")) == [snapshot / name for name in names]


@pytest.mark.parametrize("name", ["htdemucs", "hf://htdemucs", "hf://adefossez/htdemucs"])
def test_a_model_may_be_named_with_its_place_on_the_hub(fill_hub, name):
    snapshot = fill_hub("htdemucs")
    assert find_weights(config(name))[0].parent == snapshot


def test_missing_weights_are_named_with_repository_files_cache_and_command(no_network):
    told = message(config("htdemucs_ft"))
    assert "adefossez/HTDemucs-ft" in told
    for file in ("htdemucs_ft.yaml", "f7e0c4bc", "d12395a8", "92cfc3b6", "04573f0d.safetensors"):
        assert file in told
    assert f"hf download adefossez/HTDemucs-ft --cache-dir '{no_network}'" in told
    assert "models--adefossez--HTDemucs-ft" in told
    assert "separation.repo" in told


def test_only_what_is_missing_is_named(fill_hub):
    (fill_hub("htdemucs_ft", num_models=3) / "tiny1.safetensors").unlink()
    assert "missing are tiny1.safetensors of" in message(config("htdemucs_ft"))


def test_a_link_to_a_file_that_is_gone_is_missing(fill_hub, tmp_path):
    snapshot = fill_hub("htdemucs")
    (snapshot / "tiny0.safetensors").unlink()
    (snapshot / "tiny0.safetensors").symlink_to(tmp_path / "no such blob")
    assert "missing are tiny0.safetensors of" in message(config())


def test_of_an_unknown_model_the_definition_is_missing_and_what_it_names():
    told = message(config("someone/mydemucs"))
    assert "missing are mydemucs.yaml, the .safetensors files that it names of" in told
    assert "someone/Demucs-mydemucs" in told


@pytest.mark.parametrize("name", ["no such model", "a/b/c", "../htdemucs", ""])
def test_what_cannot_be_a_name_is_told_so(name):
    assert f"'{name}' is no name of a Demucs model; expected one such as {STOCK}" in message(config(name))


def test_a_broken_definition_is_told(fill_hub):
    (fill_hub("htdemucs") / "htdemucs.yaml").write_text("segment: 3")
    assert "htdemucs.yaml: is no definition of a Demucs model" in message(config())


def test_without_demucs_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("wavenet.audio.weights.find_spec", lambda name: None)
    assert "pip install 'waveband[separate]'" in message(config())


def test_a_model_of_a_folder_is_one_file_or_a_bag(fill_folder):
    folder = fill_folder("one", "two-1a2b3c4d", bag=["one", "two"])
    assert find_weights(config("one", repo=folder)) == [folder / "one.th"]
    names = ["bag.yaml", "one.th", "two-1a2b3c4d.th"]
    assert find_weights(config("bag", repo=folder)) == [folder / name for name in names]


def test_a_missing_folder_of_models_is_named(tmp_path):
    assert "separation.repo: " in message(config(repo=tmp_path / "nowhere"))
    assert "/nowhere is no folder" in message(config(repo=tmp_path / "nowhere"))


def test_a_folder_without_the_model_says_what_was_expected_and_what_is_there(fill_folder):
    told = message(config("mine", repo=fill_folder("one", bag=["one"])))
    assert "expected mine.yaml or mine.th" in told
    assert "models there: bag, one" in told


def test_a_bag_without_its_models_names_them(fill_folder):
    assert "bag.yaml names models that are not there; expected two.th in" in message(
        config("bag", repo=fill_folder("one", bag=["one", "two"]))
    )


def test_two_files_of_one_model_are_told(fill_folder):
    told = message(config("one", repo=fill_folder("one", "one-12345678")))
    assert told.startswith("separation.repo: ")
    assert "one" in told


def test_the_digest_is_of_the_content_and_not_of_the_place(fill_hub, monkeypatch, tmp_path):
    fill_hub("htdemucs")
    here = digest_weights(config())
    shutil.move(constants.HF_HUB_CACHE, tmp_path / "elsewhere")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "elsewhere"))
    assert digest_weights(config()) == here
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    fill_hub("htdemucs", seed=5)
    assert digest_weights(config()) != here


def test_the_digest_changes_with_the_weights_of_a_bag(fill_hub):
    fill_hub("htdemucs_ft", num_models=2)
    before = digest_weights(config("htdemucs_ft"))
    fill_hub("htdemucs_ft", num_models=2, definition={"weights": [[1, 1, 0, 0], [0, 0, 1, 1]]})
    assert digest_weights(config("htdemucs_ft")) != before


def test_other_models_in_the_folder_do_not_change_the_digest(fill_folder):
    before = digest_weights(config("one", repo=fill_folder("one")))
    fill_folder("one", "two", bag=["two"])
    assert digest_weights(config("one", repo=fill_folder("one"))) == before
    fill_folder("zero", "one")  # other weights under that name
    assert digest_weights(config("one", repo=fill_folder())) != before
