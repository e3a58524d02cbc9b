"""Multiply-adds as they are counted are those that the cached network does."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.wavenet.model.variants import LEVELS, TOLD, VARIANTS, make_condition, make_variant
from wavenet.config import ModelConfig
from wavenet.generation.reference import CachedWaveNet
from wavenet.model.conditioning import ConditionForm
from wavenet.model.cost import count_multiply_adds, count_products

SMALL = ModelConfig(num_cycles=2, residual_channels=32, gate_channels=32, skip_channels=128)
STANDARD = ModelConfig(num_cycles=3, residual_channels=64, gate_channels=64, skip_channels=256)


class CountMultiplyAdds(TorchDispatchMode):
    """Multiply-adds of all matrix products and convolutions."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name, out = function.overloadpacket.__name__, function(*args, **(kwargs or {}))
        if name in ("mm", "addmm"):
            left, right = args[-2:]
            self.count += left.shape[0] * left.shape[1] * right.shape[1]
        elif name == "convolution":
            weight = args[1]
            self.count += out.shape[0] * out.shape[2] * weight.numel()
        return out


def count_step(model):
    """Of one sample of one stream, whatever its frame is told left out."""
    form, length = model.form, model.receptive_field
    generator = torch.Generator().manual_seed(0)
    condition = make_condition(form, 1, length + 1, generator) if form else None
    network = CachedWaveNet(model, np.zeros((1, length), np.int64), condition)
    with CountMultiplyAdds() as counter:
        network.step(np.zeros(1, np.int64))
    return counter.count


@pytest.mark.parametrize("name", VARIANTS)
def test_a_sample_costs_what_the_cached_network_does_for_it(name):
    model = make_variant(name)
    config, form = model.config, model.form
    width = model.encoder.width if model.encoder else 0
    telling = len(config.dilations) * width * 2 * config.gate_channels  # which the oracle does each sample
    told = count_products(config, LEVELS, form).frame / form.hop_length
    expected = count_multiply_adds(config, LEVELS, form) - told + telling
    assert count_step(model) == expected


def test_what_is_told_of_a_frame_is_what_the_encoder_and_all_layers_do_for_it():
    model = make_variant("labels and features")
    generator = torch.Generator().manual_seed(0)
    condition = make_condition(TOLD, 1, 50, generator)
    with CountMultiplyAdds() as counter, torch.no_grad():
        encoded = model.encoder(condition)
        for layer in model.layers:
            layer.condition(encoded)
    frames = encoded.shape[2]
    assert counter.count == frames * count_products(model.config, LEVELS, TOLD).frame


def test_known_networks_cost_what_is_known_of_them():
    assert count_multiply_adds(SMALL, 256) == pytest.approx(0.233e6, abs=0.5e3)
    assert count_multiply_adds(STANDARD, 256) == pytest.approx(1.237e6, abs=0.5e3)


def test_frames_are_shared_by_their_samples_and_labels_alone_cost_nothing_a_sample():
    plain = count_multiply_adds(STANDARD, 256)
    labels = {"artist": ["Ann"]}
    assert count_multiply_adds(STANDARD, 256, ConditionForm(labels=labels)) == plain
    short, long = (
        count_multiply_adds(STANDARD, 256, ConditionForm(features={"energy": 1}, hop_length=hop)) - plain
        for hop in (80, 160)
    )
    assert short == pytest.approx(2 * long)
    assert long > 0
