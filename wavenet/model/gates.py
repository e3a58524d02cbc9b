"""The gated activation (WaveNet 2.3) and its derivative, on rows, in one pass over memory.

`open_gates` and `close_gates` take any device and type; on a CPU they run compiled loops in float32 and
bfloat16, which a test holds to the torch lines beside them. Knows nothing of layers. The invariant: gates are
left open, filter and gate already squashed, since that is all that the derivative needs.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def open_gates(gates: Tensor, bias: Tensor, mask: Tensor | None, activated: Tensor) -> None:
    """Add the bias to gates, squash them, tanh left and sigmoid right, and fill activated with the product.

    gates: (rows, 2 * width); bias: (2 * width,), of any float type; activated: (rows, width). mask: (batch,
    width), rows in turn are of windows in turn: what each window hears of a channel.
    """
    if _compiled(gates):
        from wavenet.model.gate_loops import squash_and_multiply

        factors = _factors(mask, activated)
        squash_and_multiply(_values(gates), bias.float().numpy(), factors, _values(activated))
        return
    filtered, gate = gates.add_(bias).chunk(2, dim=1)
    torch.mul(torch.tanh_(filtered), torch.sigmoid_(gate), out=activated)
    _apply(mask, activated)


def close_gates(
    gates: Tensor,
    mask: Tensor | None,
    d_activated: Tensor,
    activated: Tensor,
    d_gates: Tensor,
    d_bias: Tensor,
) -> None:
    """From the gradient of what came out to that of what went in, and what came out once more.

    gates: (rows, 2 * width) as `open_gates` left them. d_activated: (rows, width). Fills activated, (rows,
    width), and d_gates, (rows, 2 * width), whose sum is added to d_bias, (2 * width,) float32; d_activated is
    overwritten.
    """
    if _compiled(gates):
        from wavenet.model.gate_loops import differentiate

        factors, rest = _factors(mask, activated), map(_values, (d_activated, activated, d_gates, d_bias))
        differentiate(_values(gates), factors, *rest)
        return
    filtered, gate = gates.chunk(2, dim=1)
    _apply(mask, d_activated)
    torch.mul(filtered, gate, out=activated)
    d_filtered, d_gate = d_gates.chunk(2, dim=1)
    torch.mul(d_activated, torch.addcmul(gate, activated, filtered, value=-1), out=d_filtered)
    torch.mul(d_activated, torch.addcmul(activated, activated, gate, value=-1), out=d_gate)
    d_bias += d_gates.sum(0, dtype=torch.float32)
    _apply(mask, activated)


def _compiled(gates: Tensor) -> bool:
    return gates.device.type == "cpu" and gates.dtype in (torch.float32, torch.bfloat16)


def _values(rows: Tensor) -> NDArray:
    """The memory of rows as `gate_loops` takes it."""
    return (rows if rows.dtype == torch.float32 else rows.view(torch.int16)).numpy()


def _factors(mask: Tensor | None, activated: Tensor) -> NDArray[np.float32]:
    return np.ones((1, activated.shape[1]), np.float32) if mask is None else mask.float().numpy()


def _apply(mask: Tensor | None, activated: Tensor) -> None:
    if mask is not None:
        activated.view(-1, *mask.shape).mul_(mask)
