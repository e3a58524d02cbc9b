"""A take's likelihood is the plain network's, told what it was told, however it is cut into pieces."""

import numpy as np
import pytest
import torch

from tests.wavenet.evaluation.played import RATE
from tests.wavenet.model.variants import VARIANTS, make_condition, make_variant
from wavenet.data.dataset import load_runs
from wavenet.evaluation import take_likelihood
from wavenet.evaluation.take_likelihood import measure_heldout_nats, measure_nats
from wavenet.generation.engine import generate
from wavenet.model.outputs import negative_log_likelihood

STREAMS, SECOND, SAMPLES = 2, 100, 250


def make_take(name, extra=0):
    """A network, contexts (some codes longer than it needs), what it played and was told."""
    model = make_variant(name)
    rng = np.random.default_rng(0)
    context = rng.integers(model.quantization_channels, size=(STREAMS, model.receptive_field + extra))
    time = context.shape[1] + SAMPLES - 1
    condition = None
    if model.form:
        condition = make_condition(model.form, STREAMS, time, torch.Generator().manual_seed(2))
    codes = generate(model, context, SAMPLES, condition=condition, seed=1)
    return model.eval(), context, codes, condition


def plain_nats(model, context, codes, condition):
    """By the network as the paper has it, all at once: (streams, samples)."""
    whole = torch.from_numpy(np.concatenate([context, codes], axis=1).astype(np.int64))
    with torch.no_grad():
        outputs = model(whole[:, :-1], condition).transpose(1, 2)
    targets = whole[:, model.receptive_field :]
    nats = negative_log_likelihood(outputs, targets, model.config, model.quantization_channels)
    return nats[:, -codes.shape[1] :].double().numpy()


@pytest.mark.parametrize("name", VARIANTS)
def test_each_second_is_what_the_plain_network_says(name, monkeypatch):
    monkeypatch.setattr(take_likelihood, "PIECE", 37)
    model, context, codes, condition = make_take(name, extra=11)
    nats = measure_nats(model, context, codes, condition, SECOND)
    expected = plain_nats(model, context, codes, condition)
    assert nats.shape == (STREAMS, 3)
    for second in range(3):
        part = expected[:, SECOND * second : SECOND * (second + 1)].mean(axis=1)
        np.testing.assert_allclose(nats[:, second], part, rtol=1e-4)


def test_what_is_told_changes_how_likely_a_take_is():
    model, context, codes, condition = make_take("labels and features")
    told, untold = (measure_nats(model, context, codes, one, SECOND) for one in (condition, None))
    assert np.abs(told - untold).max() > 0.01


def test_a_network_finds_its_own_take_likelier_than_noise():
    model, context, codes, _ = make_take("paper")
    noise = np.random.default_rng(1).integers(model.quantization_channels, size=codes.shape)
    own, other = (measure_nats(model, context, take, None, SECOND).mean() for take in (codes, noise))
    assert own < other - 0.1


def test_a_context_that_is_too_short_is_refused():
    model, context, codes, _ = make_take("paper")
    with pytest.raises(ValueError, match=str(model.receptive_field)):
        measure_nats(model, context[:, 1:], codes, None, SECOND)
    with pytest.raises(ValueError, match="0 played"):
        measure_nats(model, context, codes[:, :0], None, SECOND)


def test_held_out_audio_has_a_spread_over_its_seconds(music):
    model = make_variant("paper", 256)
    known = measure_heldout_nats(model, music)
    assert known.count == 12  # of 12 s; the last lacks only its share of the context
    assert 0 < known.p1 < known.p50 < known.p99
    (run,) = load_runs(music, "heldout")
    context, codes = run.codes[None, : model.receptive_field], run.codes[None, model.receptive_field :]
    each = measure_nats(model, context, codes, None, RATE)[0]
    assert known.p50 == pytest.approx(np.median(each), rel=1e-5)
