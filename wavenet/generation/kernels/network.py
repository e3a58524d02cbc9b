"""A network's weights as the compiled steps take them, packed once.

Knows nothing of streams or steps. The invariant: a copy is as it was made, whatever becomes of the model.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from wavenet.config import ModelConfig
from wavenet.generation.kernels.matrices import LEAST_BLOCK, Floats, Matrices, align, pack_matrices
from wavenet.model.layers import ResidualLayer, is_mixture
from wavenet.model.wavenet import WaveNet


class Network(NamedTuple):
    """A network's weights, packed. Biases that it lacks are zeros; columns are padded as matrices are."""

    embedding: Floats  # (levels, residual)
    dilated: Matrices  # layers * taps of residual to 2 * gate, taps from the oldest
    dilated_bias: Floats  # (layers, 2 * gate)
    condition: Matrices  # layers of condition to 2 * gate; no inputs for a network that is told nothing
    residual: Matrices  # layers of gate to residual
    residual_bias: Floats  # (layers, residual)
    skip: Matrices  # layers of gate to skip, apart: the next layer does not wait for it
    skip_bias: Floats  # (slots, skip), of all layers that are summed for a slot
    hidden: Matrices  # skip width to head
    hidden_bias: Floats  # (1, head)
    logits: Matrices  # head to outputs
    logits_bias: Floats  # (1, outputs)
    dilations: NDArray[np.int64]  # (layers,)
    slots: NDArray[np.int64]  # (layers,), the place where the head hears the skips so far; -1: not yet
    num_taps: int
    num_gates: int
    num_skips: int  # channels that each layer gives to the head
    num_outputs: int
    num_mixtures: int  # 0 for a softmax


def pack_network(model: WaveNet, precision: str, plain: bool = False) -> Network:
    """The kernel's copy of a model's weights. Later changes of the model do not reach it.

    precision: fp32, bf16 or int8, of all matrices but those that the condition goes through.
    """
    layers, head, config = model.layers, model.head, model.config

    def pack(weights: Sequence[Tensor]) -> Matrices:
        return pack_matrices(torch.stack(list(weights)), precision, plain)

    taps = [tap.t() for layer in layers for tap in layer.dilated.weight.unbind(2)]
    skip_bias = torch.stack([_bias(layer.skip) for layer in layers])
    told = torch.stack([_condition_weight(layer) for layer in layers])
    return Network(
        embedding=pad(model.input.table()),
        dilated=pack(taps),
        dilated_bias=pad(torch.stack([_bias(layer.dilated) for layer in layers])),
        condition=pack_matrices(told, "fp32", plain),
        residual=pack([layer.residual.weight[:, :, 0].t() for layer in layers]),
        residual_bias=pad(torch.stack([_bias(layer.residual) for layer in layers])),
        skip=pack([layer.skip.weight[:, :, 0].t() for layer in layers]),
        skip_bias=pad(skip_bias if config.skip == "concat" else skip_bias.sum(0, keepdim=True)),
        hidden=pack([head.hidden.weight[:, :, 0].t()]),
        hidden_bias=pad(_bias(head.hidden)[None]),
        logits=pack([head.logits.weight[:, :, 0].t()]),
        logits_bias=pad(_bias(head.logits)[None]),
        dilations=np.array(config.dilations, dtype=np.int64),
        slots=_find_slots(config),
        num_taps=config.kernel_size,
        num_gates=config.gate_channels,
        num_skips=config.skip_channels,
        num_outputs=head.logits.out_channels,
        num_mixtures=config.num_mixtures if is_mixture(config) else 0,
    )


def pad(values: Tensor) -> Floats:
    """A copy with as many columns as products have, which is whole vectors."""
    return align(F.pad(values, (0, -values.shape[-1] % LEAST_BLOCK)))


def _bias(layer: nn.Conv1d) -> Tensor:
    return torch.zeros(layer.out_channels) if layer.bias is None else layer.bias.detach()


def _condition_weight(layer: ResidualLayer) -> Tensor:
    """(condition, 2 * gate); no rows where nothing is told."""
    weight = layer.dilated.weight[:, :0] if layer.condition is None else layer.condition.weight
    return weight[:, :, 0].t()


def _find_slots(config: ModelConfig) -> NDArray[np.int64]:
    """`Network.slots`: one place for all layers, or one for each."""
    if config.skip == "concat":
        return np.arange(len(config.dilations))
    return np.append(np.full(len(config.dilations) - 1, -1), 0)  # the last layer's sums are of all
