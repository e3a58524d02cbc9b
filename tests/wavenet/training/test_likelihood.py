"""The fast loss is the plain one, gradients and all, though its head is taken in pieces."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.wavenet.model.variants import VARIANTS, make_variant, make_windows
from wavenet.model import rows as pieces
from wavenet.training.likelihood import fast_loss, plain_loss
from wavenet.training.windows import Windows


def make_work(variant):
    model = make_variant(variant)
    fed = make_windows(model)
    return model, Windows(fed.codes, fed.condition), fed.masks


def gradients_of(loss, model, scale=1.0):
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    found = torch.autograd.grad(scale * loss, list(trained.values()), allow_unused=True)
    return {name: gradient for name, gradient in zip(trained, found, strict=True) if gradient is not None}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("num_bytes", [1, 1000, 1 << 21])
def test_loss_and_gradients_are_the_plain_ones_however_many_rows_are_taken(monkeypatch, variant, num_bytes):
    monkeypatch.setattr(pieces, "CACHED_BYTES", num_bytes)
    work = make_work(variant)
    plain, fast = plain_loss(*work), fast_loss(*work)
    assert float(fast.detach()) == pytest.approx(float(plain.detach()), abs=1e-5)
    expected, found = gradients_of(plain, work[0], 3.0), gradients_of(fast, work[0], 3.0)
    assert found.keys() >= expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(
            found[name], gradient, rtol=1e-5, atol=3e-5, msg=lambda text, n=name: f"{n}: {text}"
        )


@pytest.mark.parametrize("variant", VARIANTS)
def test_bfloat16_has_nearly_the_loss_and_the_gradients_direction(variant):
    work = make_work(variant)
    exact, rough = fast_loss(*work), fast_loss(*work, torch.bfloat16)
    assert rough.dtype == torch.float32
    assert float(rough.detach()) == pytest.approx(float(exact.detach()), rel=0.02)
    flat = [torch.cat([g.flatten() for g in gradients_of(loss, work[0]).values()]) for loss in (exact, rough)]
    assert float(torch.cosine_similarity(*flat, dim=0)) > 0.98


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_two_gradients_lie_in_the_same_memory(variant):
    work = make_work(variant)
    gradients = gradients_of(fast_loss(*work), work[0])
    for name, gradient in gradients.items():
        gradient.fill_(1)  # as clipping and adding do: in place
        others = [other for key, other in gradients.items() if key != name]
        assert all(bool((other != 1).any()) for other in others), name
        gradient.fill_(2)


@pytest.mark.parametrize("frozen", ["head", "layers", "head.logits", "head.hidden", "input"])
def test_what_is_frozen_gets_no_gradient_and_the_rest_its_own(frozen):
    work = make_work("paper")
    expected = gradients_of(fast_loss(*work), work[0])
    for name, parameter in work[0].named_parameters():
        parameter.requires_grad_(not name.startswith(frozen))
    found = gradients_of(fast_loss(*work), work[0])
    assert found.keys() == {name for name in expected if not name.startswith(frozen)}
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-5, atol=1e-6)


def test_gradients_are_not_handed_out_twice():
    work = make_work("paper")
    loss = fast_loss(*work)
    torch.autograd.grad(loss, list(work[0].parameters()), retain_graph=True, allow_unused=True)
    with pytest.raises(RuntimeError, match="inplace operation"):
        torch.autograd.grad(loss, list(work[0].parameters()), allow_unused=True)


def test_scoring_makes_no_gradient(monkeypatch):
    work = make_work("paper")
    expected = float(fast_loss(*work).detach())
    monkeypatch.setattr("wavenet.model.head._add_gradients", None)
    monkeypatch.setattr("wavenet.model.head._return_through", None)
    with torch.no_grad():
        assert float(fast_loss(*work)) == pytest.approx(expected, rel=1e-6)


class CountRows(TorchDispatchMode):
    """Rows of so many columns that room is made for."""

    def __init__(self, columns):
        super().__init__()
        self.columns, self.rows = columns, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if function.overloadpacket.__name__ == "new_empty" and made.shape[1:] == (self.columns,):
            self.rows += len(made)
        return made


def test_scoring_keeps_one_layers_gates_and_two_streams():
    model, windows, masks = make_work("paper")
    num_rows, gates, stream = windows.codes[:, 1:].numel(), 2 * model.config.gate_channels, 8
    found = {}
    for learns in (False, True):
        with torch.set_grad_enabled(learns), CountRows(gates) as opened, CountRows(stream) as streams:
            fast_loss(model, windows, masks)
        found[learns] = (opened.rows, streams.rows)
    assert found[False][0] < num_rows
    assert found[False][1] < 2 * num_rows
    assert found[True][0] > 5 * num_rows
    assert found[True][1] > 5 * num_rows
