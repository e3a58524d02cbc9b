"""Cached generation in plain loops, compiled by numba: one stream, one sample a step, float32.

Does what `wavenet.generation.reference` does, from packed copies of the weights. Knows nothing of
files, seeds or threads: uniforms come in, codes go out, and the GIL is released meanwhile. The
invariants: a state carries all that the next sample depends on, so blocks of any size give the same
codes; and nothing is read or written out of bounds, even where weights are NaN.

All of the kernel but `compiled` is in this file on purpose: numba's disk cache notices a change in the
file of the function that is called, and in no other.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from wavenet.compiled import FUSED, compile_loop, sigmoid, tanh
from wavenet.generation.reference import CachedWaveNet
from wavenet.model.wavenet import WaveNet

Floats = NDArray[np.float32]

UNROLLED = 4  # inputs that accumulate_product takes at once; 8 and 16 were slower on Zen 5
ZERO = np.float32(0)


class PackedWeights(NamedTuple):
    """A network's weights, contiguous float32: a row an input, so that inner loops run over outputs.

    Rows are padded with zeros to a multiple of UNROLLED. A tuple, because numba takes it as it is.
    """

    embedding: Floats  # (levels, residual)
    dilated: Floats  # (layers, taps * residual, 2 * gate), taps from the oldest
    dilated_bias: Floats  # (layers, 2 * gate)
    outward: Floats  # (layers, gate, residual + skip), both 1x1 convolutions side by side
    outward_bias: Floats  # (layers, residual + skip)
    hidden: Floats  # (skip, skip)
    hidden_bias: Floats  # (skip,)
    logits: Floats  # (skip, levels)
    logits_bias: Floats  # (levels,)
    dilations: NDArray[np.int64]  # (layers,)


class StreamState(NamedTuple):
    """What one stream's next sample depends on, and room to work in. The kernel changes it in place."""

    queues: Floats  # (sum of shrinkages, residual), each layer's past inputs: a ring a layer
    queue_starts: NDArray[np.int64]  # (layers + 1,), where in `queues` each ring begins
    position: NDArray[np.int64]  # (1,), samples taken so far
    logits: Floats  # (levels,), for the sample that follows
    taps: Floats  # (taps * residual, padded)
    gates: Floats  # (2 * gate,)
    activated: Floats  # (gate, padded)
    sums: Floats  # (residual + skip,), the next layer's input, then the skips so far
    rectified: Floats  # (skip, padded)
    hidden: Floats  # (skip, padded)
    cumulative: NDArray[np.float64]  # (levels,)


def pack_weights(model: WaveNet) -> PackedWeights:
    """The kernel's copy of a model's weights. Later changes of the model do not reach it."""
    weights = model.state_dict()

    def stack_layers(name: str) -> Tensor:
        return torch.stack([weights[f"layers.{i}.{name}"] for i in range(len(model.layers))])

    outward = [stack_layers("residual.weight"), stack_layers("skip.weight")]
    outward_bias = [stack_layers("residual.bias"), stack_layers("skip.bias")]
    return PackedWeights(
        embedding=_copy_aligned(model.input.table().detach()),
        dilated=_copy_aligned(_to_rows(stack_layers("dilated.weight"))),
        dilated_bias=_copy_aligned(stack_layers("dilated.bias")),
        outward=_copy_aligned(_to_rows(torch.cat(outward, dim=1))),
        outward_bias=_copy_aligned(torch.cat(outward_bias, dim=1)),
        hidden=_copy_aligned(_to_rows(weights["head.hidden.weight"])),
        hidden_bias=_copy_aligned(weights["head.hidden.bias"]),
        logits=_copy_aligned(_to_rows(weights["head.logits.weight"])),
        logits_bias=_copy_aligned(weights["head.logits.bias"]),
        dilations=np.array(model.config.dilations, dtype=np.int64),
    )


def _to_rows(weight: Tensor) -> Tensor:
    """(..., outputs, inputs, taps) to (..., taps * inputs and padding, outputs)."""
    rows = weight.movedim((-1, -2), (-3, -2)).flatten(-3, -2)
    return F.pad(rows, (0, 0, 0, -rows.shape[-2] % UNROLLED))


def _copy_aligned(tensor: Tensor) -> Floats:
    # torch allocates at multiples of 64 bytes, numpy of 16: vectors that straddle cache lines cost a quarter
    return tensor.to("cpu", torch.float32, copy=True, memory_format=torch.contiguous_format).numpy()


def begin_stream(model: WaveNet, weights: PackedWeights, context: NDArray[np.integer]) -> StreamState:
    """The state after context, (receptive_field,) codes or more, by one plain forward of the model."""
    cache = CachedWaveNet(model, context[None])
    queues = torch.cat([queue[:, 0] for queue in cache.queues])
    return StreamState(
        queues=_copy_aligned(queues),
        queue_starts=np.cumsum([0] + [len(queue) for queue in cache.queues], dtype=np.int64),
        position=np.zeros(1, np.int64),
        logits=_copy_aligned(torch.from_numpy(cache.logits[0])),
        taps=_make_zeros(weights.dilated.shape[1]),
        gates=_make_zeros(weights.dilated.shape[2]),
        activated=_make_zeros(weights.outward.shape[1]),
        sums=_make_zeros(weights.outward.shape[2]),
        rectified=_make_zeros(weights.hidden.shape[0]),
        hidden=_make_zeros(weights.logits.shape[0]),
        cumulative=np.zeros(len(weights.logits_bias)),
    )


def _make_zeros(length: int) -> Floats:
    return torch.zeros(length).numpy()


@compile_loop()
def generate_block(
    weights: PackedWeights,
    state: StreamState,
    uniforms: NDArray[np.float64],
    temperature: float,
    codes: NDArray[np.int64],
) -> None:
    """Go on by one sample a uniform and write the codes. Goes on where the last block ended."""
    for t in range(len(uniforms)):
        codes[t] = choose_code(state.logits, uniforms[t], temperature, state.cumulative)
        take_sample(weights, state, codes[t])


@compile_loop()
def choose_code(logits: Floats, uniform: float, temperature: float, cumulative: NDArray[np.float64]) -> int:
    """`sampling.choose_codes` for one stream, in float64 as there. cumulative: (levels,), overwritten."""
    highest = logits[0]
    for level in range(len(logits)):
        highest = max(highest, logits[level])
    total = 0.0
    for level in range(len(logits)):
        total += math.exp(logits[level] / temperature - highest / temperature)
        cumulative[level] = total
    code = 0
    while code < len(logits) - 1 and cumulative[code] <= uniform * total:
        code += 1
    return code


@compile_loop(FUSED)
def take_sample(weights: PackedWeights, state: StreamState, code: int) -> None:
    """Take the next sample and leave in `state.logits` those for the one after."""
    residual_channels = weights.embedding.shape[1]
    gate_channels = weights.dilated_bias.shape[1] // 2
    queues, taps, gates, activated, sums = state.queues, state.taps, state.gates, state.activated, state.sums

    for i in range(len(sums)):
        sums[i] = weights.embedding[code, i] if i < residual_channels else 0

    position = state.position[0]
    state.position[0] += 1
    for layer in range(len(weights.dilations)):
        start, dilation = state.queue_starts[layer], weights.dilations[layer]
        length = state.queue_starts[layer + 1] - start
        newest = length // dilation * residual_channels  # where the taps from the queue end
        for tap in range(length // dilation):
            row = start + (position + tap * dilation) % length
            for i in range(residual_channels):
                taps[tap * residual_channels + i] = queues[row, i]
        oldest = start + position % length
        for i in range(residual_channels):
            taps[newest + i] = queues[oldest, i] = sums[i]

        for i in range(2 * gate_channels):
            gates[i] = weights.dilated_bias[layer, i]
        accumulate_product(gates, weights.dilated[layer], taps)
        for i in range(gate_channels):
            activated[i] = tanh(gates[i]) * sigmoid(gates[gate_channels + i])

        for i in range(len(sums)):
            sums[i] += weights.outward_bias[layer, i]
        accumulate_product(sums, weights.outward[layer], activated)

    for i in range(len(weights.hidden_bias)):
        state.rectified[i] = max(sums[residual_channels + i], ZERO)
        state.hidden[i] = weights.hidden_bias[i]
    accumulate_product(state.hidden, weights.hidden, state.rectified)
    for i in range(len(weights.hidden_bias)):
        state.hidden[i] = max(state.hidden[i], ZERO)
    for i in range(len(weights.logits_bias)):
        state.logits[i] = weights.logits_bias[i]
    accumulate_product(state.logits, weights.logits, state.hidden)


@compile_loop(FUSED)
def accumulate_product(outputs: Floats, matrix: Floats, inputs: Floats) -> None:
    """Add inputs @ matrix to outputs."""
    for k in range(0, matrix.shape[0], UNROLLED):
        x0, x1, x2, x3 = inputs[k], inputs[k + 1], inputs[k + 2], inputs[k + 3]
        for j in range(matrix.shape[1]):
            first = x0 * matrix[k, j] + x1 * matrix[k + 1, j]
            second = x2 * matrix[k + 2, j] + x3 * matrix[k + 3, j]
            outputs[j] += first + second
