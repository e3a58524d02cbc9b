"""The network is the paper's: causal, with the receptive field that is computed, and it learns."""

import math

import pytest
import torch

from wavenet.config import ModelConfig
from wavenet.model.inputs import ordered_embedding
from wavenet.model.wavenet import create_model
from wavenet.training.likelihood import plain_loss
from wavenet.training.windows import Windows

CONFIGS = [
    ModelConfig(dilation_cycle=4, num_cycles=1, residual_channels=8, gate_channels=8, skip_channels=16),
    ModelConfig(dilation_cycle=3, num_cycles=2, residual_channels=6, gate_channels=10, skip_channels=24),
    ModelConfig(
        kernel_size=3, dilation_cycle=3, num_cycles=2, residual_channels=8, gate_channels=4, skip_channels=24
    ),
]


@pytest.fixture(params=CONFIGS, ids=lambda c: f"kernel{c.kernel_size}-{c.dilation_cycle}x{c.num_cycles}")
def model(request):
    return create_model(request.param, quantization_channels=32, seed=1).eval()


def random_codes(*shape: int, levels: int = 32) -> torch.Tensor:
    return torch.randint(levels, shape, generator=torch.Generator().manual_seed(7))


@torch.no_grad()
def test_future_samples_do_not_change_past_logits(model):
    codes = random_codes(2, model.receptive_field + 40)
    changed = codes.clone()
    changed[:, model.receptive_field + 10] = (changed[:, model.receptive_field + 10] + 1) % 32
    before, after = model(codes), model(changed)
    assert torch.equal(before[:, :, :11], after[:, :, :11])
    assert not torch.equal(before[:, :, 11], after[:, :, 11])


def test_receptive_field_found_by_gradient_equals_the_computed_one(model):
    """Which inputs the last output depends on, found through the embedding's output."""
    codes = random_codes(1, model.receptive_field + 20)
    seen = {}

    def keep_gradient(module, inputs, output):
        output.retain_grad()
        seen["embedded"] = output

    hook = model.input.register_forward_hook(keep_gradient)
    model(codes)[0, :, -1].sum().backward()
    hook.remove()
    reached = seen["embedded"].grad[0].abs().sum(dim=0).nonzero()[:, 0]
    assert len(codes[0]) - int(reached.min()) == model.receptive_field
    assert int(reached.max()) == len(codes[0]) - 1


def test_receptive_field_formula_of_the_paper():
    """2.1: dilations 1 to 512 with kernel 2 have a receptive field of 1024."""
    assert ModelConfig(dilation_cycle=10, num_cycles=1).receptive_field == 1024


@torch.no_grad()
def test_one_output_for_each_full_context(model):
    assert model(random_codes(3, model.receptive_field)).shape == (3, 32, 1)
    assert model(random_codes(3, model.receptive_field + 5)).shape == (3, 32, 6)


def test_too_short_a_context_is_refused(model):
    with pytest.raises(ValueError, match=f"needs {model.receptive_field}"):
        model(random_codes(1, model.receptive_field - 1))


@pytest.mark.parametrize("levels", [64, 256, 1024])
@pytest.mark.parametrize("seed", [0, 1, 2])
@torch.no_grad()
def test_loss_at_start_is_ln_of_levels_within_two_percent(levels, seed):
    model = create_model(ModelConfig(dilation_cycle=6), levels, seed)
    windows = Windows(random_codes(4, model.receptive_field + 512, levels=levels), None)
    loss = plain_loss(model, windows)
    assert float(loss) == pytest.approx(math.log(levels), rel=0.02)


def test_one_batch_overfits_below_a_tenth_of_a_bit():
    config = ModelConfig(
        dilation_cycle=5, num_cycles=2, residual_channels=32, gate_channels=32, skip_channels=64
    )
    model = create_model(config, 64, seed=0)
    windows = Windows(random_codes(2, model.receptive_field + 64, levels=64), None)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(300):
        optimizer.zero_grad()
        loss = plain_loss(model, windows)
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) / math.log(2) < 0.1


def test_the_same_seed_creates_the_same_weights_and_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, second = (create_model(CONFIGS[0], 32, seed=5) for _ in range(2))
    assert torch.equal(torch.rand(1), expected)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(("levels", "channels"), [(16, 1), (64, 7), (256, 32), (1024, 64)])
def test_the_embedding_starts_with_neighbouring_levels_closest(levels, channels):
    table = ordered_embedding(levels, channels)
    assert table.shape == (levels, channels)
    if channels > 1:
        distances = torch.cdist(table, table) + torch.eye(levels) * 99
        nearest = distances.argmin(dim=1)
        assert ((nearest - torch.arange(levels)).abs() == 1).all()
