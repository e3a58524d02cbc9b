"""The same network, several times faster to train: `stack` for its layers, plain products around it.

Knows nothing of optimisers or files. The invariant: outputs and gradients are those of `WaveNet.forward`.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from wavenet.model.conditioning import Condition
from wavenet.model.stack import StackShape, StackWeights, run_stack
from wavenet.model.wavenet import WaveNet


def forward_rows(
    model: WaveNet,
    codes: Tensor,
    condition: Condition | None = None,
    masks: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """What is expected after each full context, (outputs of time * batch, channels) in time-major rows.

    Arguments as for `WaveNet.forward`; dtype: of products and of what is kept for the backward, float32 or
    bfloat16. Row t * batch + b is `model(...)[b, :, t]`, in dtype.
    """
    batch, time = codes.shape
    x = F.embedding(codes.t().flatten(), model.input.table()).to(dtype)
    weights = StackWeights(*(weight.to(dtype) for weight in _stack_weights(model)))
    shape = StackShape(
        model.config.dilations, batch, (time - model.receptive_field + 1) * batch,
        model.config.skip == "concat",
    )  # fmt: skip
    told, index = _tell(model, codes, condition, dtype)
    mask_rows = None if masks is None else masks.transpose(0, 1).contiguous().to(dtype)
    skips = run_stack(x, weights, shape, told, index, mask_rows)
    return _head(model, _with_skip_biases(model, skips))


def _stack_weights(model: WaveNet) -> StackWeights:
    """Weights as the stack takes them, by differentiable steps, so that gradients find their way back.

    Residual biases are added nowhere: a layer's input is off by a constant, which its gates' bias takes in.
    """
    dilated = torch.stack([layer.dilated.weight.permute(2, 1, 0) for layer in model.layers])
    residual = torch.stack([layer.residual.weight[:, :, 0].t() for layer in model.layers])
    skip = torch.stack([layer.skip.weight[:, :, 0].t() for layer in model.layers])
    if not model.config.bias:
        return StackWeights(dilated, dilated.new_zeros(len(dilated), dilated.shape[3]), residual, skip)
    own = torch.stack([_bias(layer.dilated) for layer in model.layers])
    added = torch.stack([_bias(layer.residual) for layer in model.layers])
    before = added.cumsum(0) - added  # by the layers before this one
    return StackWeights(dilated, own + torch.einsum("lr,lkrg->lg", before, dilated), residual, skip)


def _bias(layer: torch.nn.Conv1d) -> Tensor:
    assert layer.bias is not None
    return layer.bias


def _tell(
    model: WaveNet, codes: Tensor, condition: Condition | None, dtype: torch.dtype
) -> tuple[Tensor | None, Tensor | None]:
    """Each layer's projection of each frame, (layers, batch * frames, 2 gate), and each row's frame.

    A frame's projection held over its samples is the projection of the held frame: so it is made once.
    """
    if model.encoder is None:
        return None, None
    condition = condition or model.encoder.nothing(codes)
    encoded = model.encoder(condition)
    projections = torch.cat([layer.condition.weight[:, :, 0] for layer in model.layers if layer.condition])
    told = encoded.transpose(1, 2).flatten(0, 1) @ projections.t()
    told = told.unflatten(1, (len(model.layers), -1)).transpose(0, 1).contiguous().to(dtype)
    index = model.encoder.index(condition, encoded.shape[2])
    windows = torch.arange(len(codes), device=codes.device)
    return told, (index + windows[:, None] * encoded.shape[2]).t().flatten()


def _with_skip_biases(model: WaveNet, skips: Tensor) -> Tensor:
    if not model.config.bias:
        return skips
    biases = torch.stack([_bias(layer.skip) for layer in model.layers])
    if model.config.skip == "concat":
        return skips.add_(biases.flatten().to(skips.dtype))
    # no sum(0): its gradient is one row of memory for all layers, which what adds to it or clips it changes
    # as many times as there are layers
    return skips.add_(biases.cumsum(0)[-1].to(skips.dtype))


def _head(model: WaveNet, x: Tensor) -> Tensor:
    """Logits of skips, which are overwritten: of all matrices these are the largest."""
    for layer in (model.head.hidden, model.head.logits):
        weight = layer.weight[:, :, 0].t().to(x.dtype)
        x = F.relu_(x)
        x = x @ weight if layer.bias is None else torch.addmm(layer.bias.to(x.dtype), x, weight)
    return x
