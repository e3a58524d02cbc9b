"""The head and the softmax's loss in one, some rows at a time, with a backward by hand.

Logits, what leads to them and their gradients are the widest matrices of a network: taken some rows at a
time, none of them exists whole, and a piece stays in a processor's cache. So the gradient is made in the same
pass as the loss, where there is to be one, and scaled once it is known by what. Knows nothing of layers or
mixtures. The invariant: loss and gradients are those of the head as it reads and of
`outputs.negative_log_likelihood`.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from wavenet.model.rows import count_cached_rows


class HeadWeights(NamedTuple):
    """skip_bias: (skip_width,), of all layers; hidden: (skip_width, head_width); logits: (head_width,
    levels). Biases are None where there are none."""

    skip_bias: Tensor | None
    hidden: Tensor
    hidden_bias: Tensor | None
    logits: Tensor
    logits_bias: Tensor | None


class HeadGradients(NamedTuple):
    """Of `HeadWeights`; None where nobody wants it."""

    skip_bias: Tensor | None
    hidden: Tensor | None
    hidden_bias: Tensor | None
    logits: Tensor | None
    logits_bias: Tensor | None


def mean_softmax_nats(skips: Tensor, targets: Tensor, weights: HeadWeights) -> Tensor:
    """Mean nats of targets, (rows,) integers, after skips without their bias, (rows, skip_width).

    All float32 or all bfloat16; the loss itself is float32. Skips are used up: their memory becomes that of
    their gradient.
    """
    return _SoftmaxLoss.apply(skips, targets, torch.is_grad_enabled(), *weights)


class _SoftmaxLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, skips: Tensor, targets: Tensor, learns: bool, *matrices: Tensor | None) -> Tensor:
        weights = HeadWeights(*matrices)  # type: ignore[arg-type]
        wanted = [learns and needed for needed in ctx.needs_input_grad]
        gradients = HeadGradients(*(
            torch.zeros_like(matrix) if matrix is not None and need else None
            for matrix, need in zip(matrices, wanted[3:], strict=True)
        ))  # fmt: skip
        nats = torch.zeros((), device=skips.device)
        step = count_cached_rows(max(skips.shape[1], *weights.logits.shape), skips)
        for some, told in zip(skips.split(step), targets.split(step), strict=True):
            nats += _take_rows(some, told, weights, gradients, any(wanted))
        ctx.count = len(skips)
        ctx.save_for_backward(skips.detach() if any(wanted) else None, *gradients)
        return nats / len(skips)

    @staticmethod
    def backward(ctx: Any, *scales: Tensor) -> tuple[Tensor | None, ...]:
        scale = scales[0] / ctx.count
        # in place, which torch notices where it is asked for twice
        d_skips, *gradients = (saved if saved is None else saved.mul_(scale) for saved in ctx.saved_tensors)
        return d_skips, None, None, *gradients


def _take_rows(
    skips: Tensor, targets: Tensor, weights: HeadWeights, gradients: HeadGradients, learns: bool
) -> Tensor:
    """The sum of their nats; and, if it learns, skips become their gradient, and weights' gradients grow."""
    if weights.skip_bias is not None:
        skips.add_(weights.skip_bias)
    hidden = _product(skips.relu_(), weights.hidden, weights.hidden_bias).relu_()
    log_shares = _product(hidden, weights.logits, weights.logits_bias).float().log_softmax(dim=1)
    nats = -log_shares.gather(1, targets[:, None]).sum()
    if learns:
        d_logits = log_shares.exp_()
        d_logits[torch.arange(len(targets), device=targets.device), targets] -= 1
        d_logits = d_logits.to(skips.dtype)
        _add_gradients(hidden, d_logits, gradients.logits, gradients.logits_bias)
        d_hidden = _return_through(hidden, d_logits, weights.logits)
        _add_gradients(skips, d_hidden, gradients.hidden, gradients.hidden_bias)
        d_skips = _return_through(skips, d_hidden, weights.hidden)
        if gradients.skip_bias is not None:
            gradients.skip_bias.add_(d_skips.sum(0))
    return nats


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return x @ weight if bias is None else torch.addmm(bias, x, weight)


def _add_gradients(x: Tensor, d_out: Tensor, d_weight: Tensor | None, d_bias: Tensor | None) -> None:
    if d_weight is not None:
        d_weight.addmm_(x.t(), d_out)
    if d_bias is not None:
        d_bias.add_(d_out.sum(0))


def _return_through(x: Tensor, d_out: Tensor, weight: Tensor) -> Tensor:
    """The gradient of what x was before its ReLU, in the memory of x."""
    d_x = d_out @ weight.t()
    return torch.ops.aten.threshold_backward.grad_input(d_x, x, 0, grad_input=x)
