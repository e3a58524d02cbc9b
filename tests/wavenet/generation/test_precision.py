"""Lower precision is measured on music before it is played, and refused where it would be heard."""

import math

import numpy as np
import pytest
import torch

from tests.wavenet.generation.test_engine import make_model, tell
from tests.wavenet.model.variants import VARIANTS, make_variant
from wavenet.config import ModelConfig
from wavenet.errors import ConfigError
from wavenet.generation import precision, processor
from wavenet.generation.precision import MOST_NATS, choose_precision, measure_move, score_codes
from wavenet.training.likelihood import plain_loss
from wavenet.training.windows import Windows


def make_codes(model, num_samples=600):
    return np.random.default_rng(1).integers(0, model.quantization_channels, (3, num_samples))


@pytest.fixture(scope="module")
def trained():
    """A network that has learnt a tone in noise: 300 steps on one second of it."""
    random = np.random.default_rng(0)
    tone = 0.5 + 0.4 * np.sin(np.arange(6000) * 0.05) + random.normal(0, 0.01, 6000)
    codes = torch.from_numpy((tone * 64).astype(np.int64))
    torch.manual_seed(0)
    config = ModelConfig(
        dilation_cycle=5, num_cycles=1, residual_channels=16, gate_channels=16, skip_channels=32
    )
    model = make_model(64, config).train()
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for step in range(300):
        start = (step * 97) % 3000
        optimizer.zero_grad()
        plain_loss(model, Windows(codes[None, start : start + 400], None)).backward()
        optimizer.step()
    return model.eval(), codes.numpy().reshape(3, -1)


@pytest.mark.parametrize("variant", VARIANTS)
def test_nats_are_those_of_the_whole_forward(variant):
    model = make_variant(variant).eval()
    codes = make_codes(model)
    told = tell(model, codes, 0)
    nats = score_codes(model, codes, told, "fp32")
    with torch.no_grad():
        expected = plain_loss(model, Windows(torch.from_numpy(codes), told))
    assert nats.shape == (3, 600 - model.receptive_field)
    assert nats.mean() == pytest.approx(float(expected), abs=1e-4)


def test_lower_precisions_hardly_move_the_loss_of_a_trained_model(trained):
    """This network is tiny, and its tone is known to a fraction of a level: music is easier on bytes."""
    model, codes = trained
    assert measure_move(model, codes, None, "fp32") == 0
    for name, most in (("bf16", 0.005), ("int8", 0.02)):
        if name in processor.list_precisions():
            assert abs(measure_move(model, codes, None, name)) <= most


def test_what_is_chosen_hardly_moves_the_loss(trained):
    model, codes = trained
    chosen = choose_precision(model, codes, None)
    assert chosen.name in processor.list_precisions()
    assert abs(measure_move(model, codes, None, chosen.name)) <= MOST_NATS
    passed_over = [nats for name, nats in chosen.moved.items() if name != chosen.name]
    assert all(abs(nats) > MOST_NATS for nats in passed_over)


def test_one_that_moves_the_loss_is_passed_over_and_refused_if_asked_for(trained, monkeypatch):
    model, codes = trained
    monkeypatch.setattr(processor, "list_precisions", lambda: ("int8", "bf16", "fp32"))
    moves = {"int8": 0.02, "bf16": -1e-4}
    monkeypatch.setattr(precision, "measure_move", lambda model, codes, condition, name: moves[name])
    assert choose_precision(model, codes, None).name == "bf16"
    with pytest.raises(ConfigError, match=r"int8, which moves the held-out loss by \+0\.0200 nats"):
        choose_precision(model, codes, None, "int8")
    moves["bf16"] = math.nan
    assert choose_precision(model, codes, None).name == "fp32"


def test_what_this_processor_lacks_is_refused_with_what_it_has(trained, monkeypatch):
    model, codes = trained
    monkeypatch.setenv("WAVEBAND_INSTRUCTIONS", "plain")
    with pytest.raises(ConfigError, match="this processor has fp32"):
        choose_precision(model, codes, None, "int8")
    assert choose_precision(model, codes, None).name == "fp32"
