"""Cached generation in plain loops, compiled by numba: one stream, one sample a step, float32.

Does what `wavenet.generation.reference` does, from packed copies of the weights. Knows nothing of
files, seeds or threads: uniforms come in, codes go out, and the GIL is released meanwhile. The
invariants: a state carries all that the next sample depends on, so blocks of any size give the same
codes; and nothing is read or written out of bounds, even where weights are NaN.

All of the kernel but `compiled` and one constant of `outputs` is in this file on purpose: numba's disk
cache notices a change in the file of the function that is called, and in no other.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from wavenet.compiled import FUSED, compile_loop, sigmoid, tanh
from wavenet.config import ModelConfig
from wavenet.generation.reference import CachedWaveNet
from wavenet.generation.telling import Told
from wavenet.model.conditioning import Condition
from wavenet.model.layers import ResidualLayer, is_mixture
from wavenet.model.outputs import LEAST_LOG_SCALE, PARAMETERS_A_LOGISTIC
from wavenet.model.wavenet import WaveNet

Floats = NDArray[np.float32]

UNROLLED = 4  # inputs that accumulate_product takes at once; 8 and 16 were slower on Zen 5
ZERO = np.float32(0)


class PackedWeights(NamedTuple):
    """A network's weights, contiguous float32: a row an input, so that inner loops run over outputs.

    Rows are padded with zeros to a multiple of UNROLLED; biases that a network lacks are zeros. A tuple,
    because numba takes it as it is.
    """

    embedding: Floats  # (levels, residual)
    dilated: Floats  # (layers, taps * residual, 2 * gate), taps from the oldest
    dilated_bias: Floats  # (layers, 2 * gate)
    condition: Floats  # (layers, condition, 2 * gate), no rows for a network that is told nothing
    outward: Floats  # (layers, gate, residual + skip), both 1x1 convolutions side by side
    outward_bias: Floats  # (layers, residual + skip)
    hidden: Floats  # (skip width, head)
    hidden_bias: Floats  # (head,)
    logits: Floats  # (head, outputs)
    logits_bias: Floats  # (outputs,)
    dilations: NDArray[np.int64]  # (layers,)
    slots: NDArray[np.int64]  # (layers,), where the head hears the skips so far; -1: not before a later layer
    num_mixtures: int  # 0 for a softmax


class StreamState(NamedTuple):
    """What one stream's next sample depends on, and room to work in. The kernel changes it in place."""

    queues: Floats  # (sum of shrinkages, residual), each layer's past inputs: a ring a layer
    queue_starts: NDArray[np.int64]  # (layers + 1,), where in `queues` each ring begins
    position: NDArray[np.int64]  # (1,), samples taken so far
    outputs: Floats  # (outputs,), for the sample that follows
    encoded: Floats  # (frames, condition, padded), what is told
    frame_index: NDArray[np.int64]  # (codes,), for each to be taken the frame of the sample after it
    frame: NDArray[np.int64]  # (1,), the frame that `told` is of; -1: none yet
    told: Floats  # (layers, 2 * gate), what gates begin with: their bias and what the frame adds
    taps: Floats  # (taps * residual, padded)
    gates: Floats  # (2 * gate,)
    activated: Floats  # (gate, padded)
    sums: Floats  # (residual + skip,), the next layer's input, then the skips so far
    rectified: Floats  # (skip width, padded)
    hidden: Floats  # (head, padded)
    guided: Floats  # (outputs,)
    room: NDArray[np.float64]  # (outputs,), to choose a code in


def pack_weights(model: WaveNet) -> PackedWeights:
    """The kernel's copy of a model's weights. Later changes of the model do not reach it."""
    layers, head = model.layers, model.head
    outward = [_join(layer.residual, layer.skip) for layer in layers]
    return PackedWeights(
        embedding=_copy_aligned(model.input.table().detach()),
        dilated=_pack([layer.dilated.weight for layer in layers]),
        dilated_bias=_copy_aligned(torch.stack([_bias(layer.dilated) for layer in layers])),
        condition=_pack([_condition_weight(layer) for layer in layers]),
        outward=_pack([weight for weight, _ in outward]),
        outward_bias=_copy_aligned(torch.stack([bias for _, bias in outward])),
        hidden=_pack([head.hidden.weight])[0],
        hidden_bias=_copy_aligned(_bias(head.hidden)),
        logits=_pack([head.logits.weight])[0],
        logits_bias=_copy_aligned(_bias(head.logits)),
        dilations=np.array(model.config.dilations, dtype=np.int64),
        slots=_find_slots(model.config),
        num_mixtures=model.config.num_mixtures if is_mixture(model.config) else 0,
    )


def _join(one: nn.Conv1d, other: nn.Conv1d) -> tuple[Tensor, Tensor]:
    """Weight and bias of two convolutions of the same input, side by side."""
    return torch.cat([one.weight, other.weight]), torch.cat([_bias(one), _bias(other)])


def _bias(layer: nn.Conv1d) -> Tensor:
    return torch.zeros(layer.out_channels) if layer.bias is None else layer.bias.detach()


def _condition_weight(layer: ResidualLayer) -> Tensor:
    return layer.dilated.weight[:, :0, :1] if layer.condition is None else layer.condition.weight


def _find_slots(config: ModelConfig) -> NDArray[np.int64]:
    if config.skip == "concat":
        return np.arange(len(config.dilations)) * config.skip_channels
    return np.append(np.full(len(config.dilations) - 1, -1), 0)  # the last layer's sums are of all


def _pack(weights: list[Tensor]) -> Floats:
    return _copy_aligned(_to_rows(torch.stack(weights).detach()))


def _to_rows(weight: Tensor) -> Tensor:
    """(..., outputs, inputs, taps) to (..., taps * inputs and padding, outputs)."""
    rows = weight.movedim((-1, -2), (-3, -2)).flatten(-3, -2)
    return F.pad(rows, (0, 0, 0, -rows.shape[-2] % UNROLLED))


def _copy_aligned(tensor: Tensor) -> Floats:
    # torch allocates at multiples of 64 bytes, numpy of 16: vectors that straddle cache lines cost a quarter
    return tensor.to("cpu", torch.float32, copy=True, memory_format=torch.contiguous_format).numpy()


def begin_stream(
    model: WaveNet, weights: PackedWeights, context: NDArray[np.integer], condition: Condition | None = None
) -> StreamState:
    """The state after context, (receptive_field,) codes or more, by one plain forward of the model.

    condition: of this one stream, as for `CachedWaveNet`, and one that `check_condition` lets pass.
    """
    cache = CachedWaveNet(model, context[None], condition)
    encoded = cache.told.encoded[0].t()
    return StreamState(
        queues=_copy_aligned(torch.cat([queue[:, 0] for queue in cache.queues])),
        queue_starts=np.cumsum([0] + [len(queue) for queue in cache.queues], dtype=np.int64),
        position=np.zeros(1, np.int64),
        outputs=_copy_aligned(torch.from_numpy(cache.outputs[0])),
        encoded=_copy_aligned(F.pad(encoded, (0, -encoded.shape[1] % UNROLLED))),
        frame_index=_index_to_come(cache.told, len(context)),
        frame=np.full(1, -1),
        told=_make_zeros(*weights.dilated_bias.shape),
        taps=_make_zeros(weights.dilated.shape[1]),
        gates=_make_zeros(weights.dilated.shape[2]),
        activated=_make_zeros(weights.outward.shape[1]),
        sums=_make_zeros(weights.outward.shape[2]),
        rectified=_make_zeros(weights.hidden.shape[0]),
        hidden=_make_zeros(weights.logits.shape[0]),
        guided=_make_zeros(len(weights.logits_bias)),
        room=np.zeros(len(weights.logits_bias)),
    )


def _index_to_come(told: Told, num_taken: int) -> NDArray[np.int64]:
    """The frame index from the first code that is not yet taken; of the last code where there is none."""
    index = told.frame_index[0].numpy()
    return index[min(num_taken, len(index) - 1) :]


def _make_zeros(*shape: int) -> Floats:
    return torch.zeros(shape).numpy()


@compile_loop()
def generate_block(
    weights: PackedWeights,
    states: tuple[StreamState, ...],
    guidance: float,
    uniforms: NDArray[np.float64],
    temperature: float,
    codes: NDArray[np.int64],
) -> None:
    """Go on by one sample a uniform and write the codes. Goes on where the last block ended.

    states: of one stream, one for each of `list_tellings`.
    """
    levels = weights.embedding.shape[0]
    for t in range(len(uniforms)):
        outputs = guide(states[0], states[-1], np.float32(guidance))
        if weights.num_mixtures > 0:
            codes[t] = choose_logistic_code(outputs, uniforms[t], levels, temperature, states[0].room)
        else:
            codes[t] = choose_code(outputs, uniforms[t], temperature, states[0].room)
        take_sample(weights, states[0], codes[t])
        if len(states) > 1:  # a loop over states would copy each
            take_sample(weights, states[-1], codes[t])


@compile_loop()
def guide(told: StreamState, nothing: StreamState, guidance: np.float32) -> Floats:
    """`GuidedWaveNet.outputs` for one stream."""
    for i in range(len(told.outputs)):
        told.guided[i] = nothing.outputs[i] + guidance * (told.outputs[i] - nothing.outputs[i])
    return told.guided


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


@compile_loop()
def choose_logistic_code(
    outputs: Floats, uniform: float, levels: int, temperature: float, room: NDArray[np.float64]
) -> int:
    """`sampling.choose_logistic_codes` for one stream, in float64 as there. room: (outputs,), overwritten."""
    count = len(outputs) // PARAMETERS_A_LOGISTIC
    weights, means, sharpness = room[:count], room[count : 2 * count], room[2 * count :]
    highest = np.float64(outputs[0])
    for i in range(count):
        highest = max(highest, outputs[i])
    total = 0.0
    for i in range(count):
        weights[i] = math.exp((outputs[i] - highest) / temperature)
        means[i] = outputs[count + i]
        sharpness[i] = math.exp(-max(np.float64(outputs[2 * count + i]), LEAST_LOG_SCALE)) / temperature
        total += weights[i]
    low, high = 0, levels - 1
    while low < high:
        middle = (low + high) // 2
        upper = (2 * middle + 1) / (levels - 1) - 1
        below = 0.0
        for i in range(count):
            below += weights[i] / (1 + math.exp(-sharpness[i] * (upper - means[i])))
        if below > uniform * total:
            high = middle
        else:
            low = middle + 1
    return low


@compile_loop(FUSED)
def hear_condition(weights: PackedWeights, state: StreamState, frame: int) -> None:
    """Leave in `state.told` what all layers' gates begin with while samples lie in this frame."""
    for layer in range(len(weights.dilations)):
        for i in range(weights.dilated_bias.shape[1]):
            state.told[layer, i] = weights.dilated_bias[layer, i]
        accumulate_product(state.told[layer], weights.condition[layer], state.encoded[frame])
    state.frame[0] = frame


@compile_loop(FUSED)
def take_sample(weights: PackedWeights, state: StreamState, code: int) -> None:
    """Take the next sample and leave in `state.outputs` those for the one after."""
    residual_channels = weights.embedding.shape[1]
    gate_channels = weights.dilated_bias.shape[1] // 2
    queues, taps, gates, activated, sums = state.queues, state.taps, state.gates, state.activated, state.sums

    for i in range(len(sums)):
        sums[i] = weights.embedding[code, i] if i < residual_channels else 0

    position = state.position[0]
    state.position[0] += 1
    frame = state.frame_index[min(position, len(state.frame_index) - 1)]
    if frame != state.frame[0]:
        hear_condition(weights, state, frame)
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
            gates[i] = state.told[layer, i]
        accumulate_product(gates, weights.dilated[layer], taps)
        for i in range(gate_channels):
            activated[i] = tanh(gates[i]) * sigmoid(gates[gate_channels + i])

        for i in range(len(sums)):
            sums[i] += weights.outward_bias[layer, i]
        accumulate_product(sums, weights.outward[layer], activated)
        slot = weights.slots[layer]
        if slot >= 0:
            for i in range(len(sums) - residual_channels):
                state.rectified[slot + i] = max(sums[residual_channels + i], ZERO)
                sums[residual_channels + i] = 0

    for i in range(len(weights.hidden_bias)):
        state.hidden[i] = weights.hidden_bias[i]
    accumulate_product(state.hidden, weights.hidden, state.rectified)
    for i in range(len(weights.hidden_bias)):
        state.hidden[i] = max(state.hidden[i], ZERO)
    for i in range(len(weights.logits_bias)):
        state.outputs[i] = weights.logits_bias[i]
    accumulate_product(state.outputs, weights.logits, state.hidden)


@compile_loop(FUSED)
def accumulate_product(outputs: Floats, matrix: Floats, inputs: Floats) -> None:
    """Add inputs @ matrix to outputs."""
    for k in range(0, matrix.shape[0], UNROLLED):
        x0, x1, x2, x3 = inputs[k], inputs[k + 1], inputs[k + 2], inputs[k + 3]
        for j in range(matrix.shape[1]):
            first = x0 * matrix[k, j] + x1 * matrix[k + 1, j]
            second = x2 * matrix[k + 2, j] + x3 * matrix[k + 3, j]
            outputs[j] += first + second
