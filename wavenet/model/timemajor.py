"""The same network, several times faster to train: its weights as `stack` and `head` take them.

Knows nothing of optimisers or files. The invariant: outputs and gradients are those of `WaveNet.forward`.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from wavenet.model.conditioning import Condition
from wavenet.model.head import HeadWeights
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
    return _head(head_weights(model, dtype), skip_rows(model, codes, condition, masks, dtype))


def skip_rows(
    model: WaveNet,
    codes: Tensor,
    condition: Condition | None = None,
    masks: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """What goes into the head, without its biases, in rows as of `forward_rows`: (rows, skip_width)."""
    batch, time = codes.shape
    x = F.embedding(codes.t().flatten(), model.input.table()).to(dtype)
    weights = StackWeights(*(weight.to(dtype) for weight in _stack_weights(model)))
    shape = StackShape(
        model.config.dilations, batch, (time - model.receptive_field + 1) * batch,
        model.config.skip == "concat",
    )  # fmt: skip
    told, index = _tell(model, codes, condition, dtype)
    mask_rows = None if masks is None else masks.transpose(0, 1).contiguous().to(dtype)
    return run_stack(x, weights, shape, told, index, mask_rows)


def head_weights(model: WaveNet, dtype: torch.dtype) -> HeadWeights:
    """Weights as the head takes them, in dtype, by differentiable steps."""
    hidden, logits = model.head.hidden, model.head.logits
    biases = (_skip_bias(model), hidden.bias, logits.bias)
    skip_bias, hidden_bias, logits_bias = (bias if bias is None else bias.to(dtype) for bias in biases)
    into_hidden, into_logits = (layer.weight[:, :, 0].t().to(dtype) for layer in (hidden, logits))
    return HeadWeights(skip_bias, into_hidden, hidden_bias, into_logits, logits_bias)


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


def _skip_bias(model: WaveNet) -> Tensor | None:
    if not model.config.bias:
        return None
    biases = torch.stack([_bias(layer.skip) for layer in model.layers])
    if model.config.skip == "concat":
        return biases.flatten()
    # no sum(0): its gradient is one row of memory for all layers, which what adds to it or clips it changes
    # as many times as there are layers
    return biases.cumsum(0)[-1]


def _head(weights: HeadWeights, skips: Tensor) -> Tensor:
    """Logits, or what else the last layer says, of skips, which are overwritten: they are large."""
    x = skips if weights.skip_bias is None else skips.add_(weights.skip_bias)
    for weight, bias in ((weights.hidden, weights.hidden_bias), (weights.logits, weights.logits_bias)):
        x = F.relu_(x)
        x = x @ weight if bias is None else torch.addmm(bias, x, weight)
    return x
