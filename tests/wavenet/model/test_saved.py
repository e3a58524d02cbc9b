"""A saved model is weights and a card, and comes back as it was."""

import json
import pickletools

import pytest
import torch

from wavenet.config import ModelConfig
from wavenet.errors import IncompatibleCheckpointError
from wavenet.model.conditioning import ConditionForm
from wavenet.model.saved import CARD, WEIGHTS, SavedModel, load_model, save_model
from wavenet.model.wavenet import create_model

CONFIG = ModelConfig(dilation_cycle=3, num_cycles=1, residual_channels=4, gate_channels=4, skip_channels=4)


@pytest.fixture
def folder(tmp_path):
    card = SavedModel(
        stem="drums", sample_rate=8000, quantization_channels=32, shards_digest="ab", model=CONFIG
    )
    save_model(create_model(CONFIG, 32, seed=1), card, tmp_path)
    return tmp_path


@torch.no_grad()
def test_a_saved_model_gives_the_same_logits(folder):
    codes = torch.randint(32, (1, CONFIG.receptive_field + 3))
    model, card = load_model(folder)
    assert torch.equal(model(codes), create_model(CONFIG, 32, seed=1)(codes))
    assert (card.stem, card.sample_rate) == ("drums", 8000)


def test_nothing_that_is_saved_is_a_pickle(folder):
    for path in folder.iterdir():
        with pytest.raises(Exception, match=r".*"):  # no valid opcode stream
            list(pickletools.dis(path.read_bytes(), out=open("/dev/null", "w")))  # noqa: SIM115


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / WEIGHTS).unlink(),
        lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-8]),
        lambda folder: (folder / CARD).write_text("{"),
        lambda folder: _change_card(folder, version=99),
        lambda folder: _change_card(folder, quantization_channels=64),
        lambda folder: _change_card(folder, surprise=1),
    ],
    ids=["no weights", "truncated weights", "broken card", "future version", "other levels", "unknown key"],
)
def test_a_damaged_model_is_refused_by_name(folder, damage):
    damage(folder)
    with pytest.raises(IncompatibleCheckpointError, match=str(folder)):
        load_model(folder)


def _change_card(folder, **changes):
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps({**card, **changes}))


def test_features_and_labels_come_back_in_the_order_that_the_weights_were_trained_in(tmp_path):
    """JSON is written with sorted keys; frames have their channels in the model's order."""
    form = ConditionForm(labels={"b": ["x"], "a": ["y"]}, features={"notes": 5, "energy": 1}, hop_length=7)
    config = CONFIG.model_copy(update={"labels": ["b", "a"], "features": ["notes", "energy"]})
    card = SavedModel(
        stem="drums",
        sample_rate=8000,
        quantization_channels=32,
        shards_digest="d",
        model=config,
        condition=form,
    )
    save_model(create_model(config, 32, 1, form), card, tmp_path)
    model, _ = load_model(tmp_path)
    assert list(model.form.features) == ["notes", "energy"]
    assert list(model.form.labels) == ["b", "a"]
