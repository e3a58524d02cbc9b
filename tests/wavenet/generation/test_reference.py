"""Cached generation is the whole forward, one sample at a time."""

import numpy as np
import pytest
import torch

from wavenet.config import ModelConfig
from wavenet.generation.reference import CachedWaveNet, generate_codes
from wavenet.generation.sampling import draw_uniforms
from wavenet.training.loop import create_model

CONFIGS = [
    ModelConfig(dilation_cycle=5, num_cycles=2, residual_channels=8, gate_channels=8, skip_channels=16),
    ModelConfig(
        kernel_size=3, dilation_cycle=4, num_cycles=2, residual_channels=6, gate_channels=5, skip_channels=4
    ),
]


@pytest.mark.parametrize("config", CONFIGS, ids=["kernel 2", "kernel 3"])
@torch.no_grad()
def test_cached_logits_equal_the_whole_forward(config):
    model = create_model(config, 32, seed=2).eval()
    length = config.receptive_field + 3 * max(config.dilations)  # every queue goes round
    codes = np.random.default_rng(0).integers(32, size=(3, length))
    cache = CachedWaveNet(model, codes[:, : config.receptive_field])
    logits = [cache.logits, *(cache.step(codes[:, t]) for t in range(config.receptive_field, length))]
    whole = model(torch.from_numpy(codes)).numpy()
    np.testing.assert_allclose(np.stack(logits, axis=2), whole, atol=1e-5)


def test_only_the_receptive_field_of_a_context_matters():
    model = create_model(CONFIGS[0], 32, seed=2).eval()
    context = np.random.default_rng(1).integers(32, size=(1, model.receptive_field + 50))
    uniforms = draw_uniforms(40, 1, seed=0)
    whole = list(generate_codes(model, context, uniforms))
    tail = list(generate_codes(model, context[:, -model.receptive_field :], uniforms))
    assert np.array_equal(whole, tail)
