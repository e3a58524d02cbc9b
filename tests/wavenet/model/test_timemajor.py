"""The fast path is the plain network: same outputs, same gradients, for every kind there is."""

import pytest
import torch

from tests.wavenet.model.variants import VARIANTS, Windows, make_variant, make_windows
from wavenet.model import rows as pieces
from wavenet.model.gates import close_gates, open_gates
from wavenet.model.outputs import negative_log_likelihood
from wavenet.model.timemajor import forward_rows


def plain_loss(model, windows: Windows) -> torch.Tensor:
    outputs = model(windows.codes[:, :-1], windows.condition, windows.masks)
    targets = windows.codes[:, -outputs.shape[2] :]
    nats = negative_log_likelihood(
        outputs.transpose(1, 2), targets, model.config, model.quantization_channels
    )
    return nats.mean()


def fast_loss(model, windows: Windows, dtype=torch.float32) -> torch.Tensor:
    rows = forward_rows(model, windows.codes[:, :-1], windows.condition, windows.masks, dtype).float()
    targets = windows.codes[:, model.receptive_field :].t().flatten()
    return negative_log_likelihood(rows, targets, model.config, model.quantization_channels).mean()


def gradients_of(model, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return {
        name: torch.zeros_like(parameter) if gradient is None else gradient
        for name, parameter, gradient in zip(names, parameters, found, strict=True)
    }


@pytest.fixture(params=VARIANTS)
def model(request):
    return make_variant(request.param)


@torch.no_grad()
def test_rows_are_the_plain_networks_outputs(model):
    windows = make_windows(model)
    plain = model(windows.codes[:, :-1], windows.condition, windows.masks)
    rows = forward_rows(model, windows.codes[:, :-1], windows.condition, windows.masks)
    torch.testing.assert_close(
        rows.view(plain.shape[2], len(plain), -1).permute(1, 2, 0), plain, rtol=0, atol=1e-5
    )


def test_every_gradient_equals_the_plain_networks(model):
    windows = make_windows(model)
    plain, fast = plain_loss(model, windows), fast_loss(model, windows)
    expected, found = gradients_of(model, plain), gradients_of(model, fast)
    assert float(fast.detach()) == pytest.approx(float(plain.detach()), abs=1e-5)
    reached = 0
    for name, gradient in expected.items():
        torch.testing.assert_close(
            found[name], gradient, rtol=1e-5, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}"
        )
        reached += bool(gradient.abs().max() > 1e-4)
    assert reached > len(expected) // 2  # they are gradients to speak of


@pytest.mark.parametrize("rows", [1, 7, 1 << 20])
def test_gradients_do_not_depend_on_how_many_rows_are_taken_at_a_time(monkeypatch, rows):
    model = make_variant("all at once")
    windows = make_windows(model)
    expected = gradients_of(model, fast_loss(model, windows))
    monkeypatch.setattr(pieces, "CACHED_BYTES", rows * 2 * model.config.gate_channels * 4)
    for name, gradient in gradients_of(model, fast_loss(model, windows)).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-5, atol=1e-6)


def test_bfloat16_gives_nearly_the_same_loss_and_the_same_direction(model):
    windows = make_windows(model)
    exact, rough = fast_loss(model, windows), fast_loss(model, windows, torch.bfloat16)
    assert float(rough.detach()) == pytest.approx(float(exact.detach()), rel=0.02)
    flat = [
        torch.cat([g.flatten().float() for g in gradients_of(model, loss).values()])
        for loss in (exact, rough)
    ]
    assert float(torch.cosine_similarity(*flat, dim=0)) > 0.98


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.bfloat16, 0.02)])
@pytest.mark.parametrize("mask", [None, torch.tensor([[0.0, 1.5, 2.0], [1.0, 0.0, 0.5]])])
def test_compiled_gates_equal_the_torch_lines(monkeypatch, mask, dtype, tolerance):
    generator = torch.Generator().manual_seed(1)
    before, slope = 4 * torch.randn(10, 6, generator=generator), torch.randn(10, 3, generator=generator)
    before, slope, mask = before.to(dtype), slope.to(dtype), None if mask is None else mask.to(dtype)
    bias = torch.randn(6, generator=generator)
    results = []
    for compiled in (True, False):
        monkeypatch.setattr("wavenet.model.gates._compiled", lambda gates, compiled=compiled: compiled)
        gates, activated, again = before.clone(), torch.empty_like(slope), torch.empty_like(slope)
        d_gates, d_bias = torch.empty_like(before), torch.ones(6)
        open_gates(gates, bias, mask, activated)
        close_gates(gates, mask, slope.clone(), again, d_gates, d_bias)
        torch.testing.assert_close(again, activated, rtol=0, atol=tolerance)
        results.append((gates, activated, d_gates, d_bias))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance)


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_two_gradients_lie_in_the_same_memory(variant):
    model = make_variant(variant)
    gradients = gradients_of(model, fast_loss(model, make_windows(model)))
    for name, gradient in gradients.items():
        gradient.fill_(1)  # as clipping and adding do: in place
        others = [other for key, other in gradients.items() if key != name]
        assert all(bool((other != 1).any()) for other in others), name
        gradient.fill_(2)
