"""Cached generation, compiled: some streams side by side, one sample of each a step.

Does what `wavenet.generation.reference` does, from packed copies of the weights. Knows nothing of files,
seeds or threads: uniforms come in, codes go out, and the GIL is released meanwhile. The invariants: a
state carries all that the next samples depend on, so blocks of any size give the same codes; a stream's
samples do not depend on what streams lie beside it; nothing is read or written out of bounds, even where
weights are NaN.

numba's disk cache notices a change in the file of the function that is called, here, and in no other: after
a change in the modules beside this one, touch it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from wavenet.compiled import FUSED, compile_loop, compile_part, sigmoid, tanh
from wavenet.config import ModelConfig
from wavenet.generation.kernels.choice import choose_code, choose_logistic_code, make_room
from wavenet.generation.kernels.matrices import (
    LEAST_BLOCK,
    Matrices,
    Rows,
    align,
    make_rows,
    multiply,
    pack_matrices,
    store,
)
from wavenet.generation.kernels.vectors import add_floats, copy_floats, fetch, floats_at, rectify_floats
from wavenet.generation.telling import Told
from wavenet.model.layers import ResidualLayer, is_mixture
from wavenet.model.wavenet import WaveNet

Floats = NDArray[np.float32]
ZERO = np.float32(0)
import os
BLOCK_ROWS = int(os.environ.get('BR','16'))
PF=int(os.environ.get('PF','0'))


class Network(NamedTuple):
    """A network's weights, packed. Biases that it lacks are zeros; columns are padded as matrices are."""

    embedding: Floats  # (levels, residual)
    dilated: Matrices  # layers * taps of residual to 2 * gate, taps from the oldest
    dilated_bias: Floats  # (layers, 2 * gate)
    condition: Matrices  # layers of condition to 2 * gate; no inputs for a network that is told nothing
    residual: Matrices  # layers of gate to residual
    residual_bias: Floats  # (layers, residual)
    skip: Matrices  # layers of gate to skip
    skip_bias: Floats  # (slots, skip), of all layers that a slot sums
    hidden: Matrices  # skip width to head
    hidden_bias: Floats
    logits: Matrices  # head to outputs
    logits_bias: Floats
    dilations: NDArray[np.int64]  # (layers,)
    slots: NDArray[np.int64]  # (layers,), where the head hears the skips so far; -1: not before a later layer
    num_taps: int
    num_gates: int
    num_skips: int  # channels that each layer gives to the head
    num_residual: int
    num_head: int
    num_outputs: int
    num_mixtures: int  # 0 for a softmax


class Streams(NamedTuple):
    """What the next samples of some streams depend on, and room to work in; changed in place."""

    queues: Rows  # (sum of lengths, streams, residual), each layer's inputs so far: a ring a layer
    queue_starts: NDArray[np.int64]  # (layers + 1,), where in `queues` each ring begins
    position: NDArray[np.int64]  # (1,), samples taken so far
    outputs: Floats  # (streams, outputs), for the sample that follows
    encoded: Floats  # (streams, frames, condition), what is told
    frame_index: NDArray[np.int64]  # (streams, codes), for each taken the frame of the sample after it
    frame: NDArray[np.int64]  # (streams,), the frame that `told` is of; -1: none yet
    told: Floats  # (streams, layers, 2 * gate), what is added to gates: their bias and what the frame adds
    heard: Rows  # (1, 1, condition)
    gates: Floats  # (sum of blocks * streams, 2 * gate), each layer's of the steps of its block
    gate_starts: NDArray[np.int64]  # (layers + 1,), where in `gates` each layer's begin, in steps
    opened: Floats  # (streams, gate)
    activated: Rows  # (2, streams, gate), of a layer and the one before
    sums: Floats  # (streams, residual), the next layer's input
    skipped: Floats  # (streams, skip), the skips so far
    rectified: Floats  # (streams, skip width)
    skips: Rows  # (1, streams, skip width)
    head: Floats  # (streams, head)
    hidden: Rows  # (1, streams, head)
    guided: Floats  # (outputs,)
    room: NDArray[np.float64]  # (outputs,), to choose a code in


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
        embedding=_pad(model.input.table()),
        dilated=pack(taps),
        dilated_bias=_pad(torch.stack([_bias(layer.dilated) for layer in layers])),
        condition=pack_matrices(told, "fp32", plain),
        residual=pack([layer.residual.weight[:, :, 0].t() for layer in layers]),
        residual_bias=_pad(torch.stack([_bias(layer.residual) for layer in layers])),
        skip=pack([layer.skip.weight[:, :, 0].t() for layer in layers]),
        skip_bias=_pad(skip_bias if config.skip == "concat" else skip_bias.sum(0, keepdim=True)),
        hidden=pack([head.hidden.weight[:, :, 0].t()]),
        hidden_bias=_pad(_bias(head.hidden)[None]),
        logits=pack([head.logits.weight[:, :, 0].t()]),
        logits_bias=_pad(_bias(head.logits)[None]),
        dilations=np.array(config.dilations, dtype=np.int64),
        slots=_find_slots(config),
        num_taps=config.kernel_size,
        num_gates=config.gate_channels,
        num_skips=config.skip_channels,
        num_residual=config.residual_channels,
        num_head=head.hidden.out_channels,
        num_outputs=head.logits.out_channels,
        num_mixtures=config.num_mixtures if is_mixture(config) else 0,
    )


def _pad(values: Tensor) -> Floats:
    """As many columns as products have."""
    return align(F.pad(values, (0, -values.shape[-1] % LEAST_BLOCK)))


def _padded(width: int) -> int:
    return width + -width % LEAST_BLOCK


def _bias(layer: nn.Conv1d) -> Tensor:
    return torch.zeros(layer.out_channels) if layer.bias is None else layer.bias.detach()


def _condition_weight(layer: ResidualLayer) -> Tensor:
    """(condition, 2 * gate); no rows where nothing is told."""
    weight = layer.dilated.weight[:, :0] if layer.condition is None else layer.condition.weight
    return weight[:, :, 0].t()


def _find_slots(config: ModelConfig) -> NDArray[np.int64]:
    if config.skip == "concat":
        return np.arange(len(config.dilations))
    return np.append(np.full(len(config.dilations) - 1, -1), 0)  # the last layer's sums are of all


def begin_streams(
    network: Network, precision: str, contexts: NDArray[np.integer], told: Sequence[Told], reach: int
) -> Streams:
    """The state after contexts, (streams, reach) codes or more, which the kernel itself takes, one by one.

    told: of each stream, its frame_index from the context's first code on. reach: the receptive field;
    earlier codes do not count. So the state depends on the last codes alone, to the bit, and a take that
    goes on from its own end plays what it would have played.
    """
    count, columns = len(contexts), network.dilated.num_columns
    heard, spare = contexts[:, -reach:].astype(np.int64), contexts.shape[1] - reach
    lengths = (network.num_taps - 1) * network.dilations + 1
    starts = np.cumsum([0, *lengths], dtype=np.int64)
    gate_starts = np.cumsum([0, *(min(BLOCK_ROWS // count or 1, d) for d in network.dilations)], dtype=np.int64)
    width, head = network.hidden.num_inputs, network.num_head

    def rows(places: int, width: int) -> Rows:
        return make_rows(places, count, width, precision)

    streams = Streams(
        queues=rows(int(starts[-1]), network.dilated.num_inputs),
        queue_starts=starts,
        position=np.zeros(1, np.int64),
        outputs=_zeros(count, network.logits.num_columns),
        encoded=np.stack(_pad_last([_pad(each.encoded[0].t()) for each in told])),
        frame_index=np.stack(_pad_last([_index_from(each, spare) for each in told])),
        frame=np.full(count, -1),
        told=_zeros(count, len(lengths), columns),
        heard=make_rows(1, 1, network.condition.num_inputs, "fp32"),
        gates=_zeros(int(gate_starts[-1]) * count, columns),
        gate_starts=gate_starts,
        opened=_zeros(count, _padded(network.num_gates)),
        activated=rows(2, network.num_gates),
        sums=_zeros(count, network.residual.num_columns),
        skipped=_zeros(count, network.skip.num_columns),
        rectified=_zeros(count, _padded(width)),
        skips=rows(1, width),
        head=_zeros(count, network.hidden.num_columns),
        hidden=rows(1, head),
        guided=_zeros(network.num_outputs),
        room=make_room(network.num_outputs),
    )
    hear_codes(network, streams, heard)
    return streams


def _zeros(*shape: int) -> Floats:
    return torch.zeros(shape).numpy()


def _pad_last(arrays: Sequence[NDArray]) -> list[NDArray]:
    """All as long as the longest, by their last rows again."""
    longest = max(map(len, arrays))
    return [np.concatenate([each, np.repeat(each[-1:], longest - len(each), axis=0)]) for each in arrays]


def _index_from(told: Told, first: int) -> NDArray[np.int64]:
    """The frame index from a code of the context on; of the last code where there is none."""
    index = told.frame_index[0].numpy()
    return index[min(first, len(index) - 1) :]


@compile_loop()
def generate_block(  # type: ignore[no-untyped-def]
    network, streams, guidance, uniforms, temperature, top_k, top_p, codes
):
    """Go on by one sample a uniform and write the codes, both (streams, samples).

    Streams may be twice as many as uniforms: then the second half is told nothing, plays what the first
    plays, and guides it (`GuidedWaveNet`).
    """
    count, levels = len(uniforms), network.embedding.shape[0]
    chosen = np.zeros(len(streams.sums), np.int64)
    for t in range(uniforms.shape[1]):
        for row in range(count):
            guide(network, streams, row, count, guidance)
            if network.num_mixtures > 0:
                code = choose_logistic_code(
                    streams.guided, uniforms[row, t], levels, temperature, network.num_mixtures, streams.room
                )
            else:
                code = choose_code(
                    streams.guided, uniforms[row, t], temperature, top_k, top_p, levels, streams.room
                )
            codes[row, t] = chosen[row] = code
            if len(chosen) > count:
                chosen[count + row] = code
        take_samples(network, streams, chosen)


@compile_loop()
def score_block(network, streams, codes, outputs):  # type: ignore[no-untyped-def]
    """Take given codes, (streams, samples), and keep what was said of each, (samples, streams, outputs)."""
    taken = np.zeros(len(codes), np.int64)
    for t in range(codes.shape[1]):
        for row in range(len(codes)):
            taken[row] = codes[row, t]
            for i in range(network.num_outputs):
                outputs[t, row, i] = streams.outputs[row, i]
        take_samples(network, streams, taken)


@compile_loop()
def hear_codes(network, streams, codes):  # type: ignore[no-untyped-def]
    """Take given codes, (streams, samples)."""
    taken = np.zeros(len(codes), np.int64)
    for t in range(codes.shape[1]):
        for row in range(len(codes)):
            taken[row] = codes[row, t]
        take_samples(network, streams, taken)


@compile_part(inline=True)
def guide(network, streams, row, count, guidance):  # type: ignore[no-untyped-def]
    """Leave in `guided` the outputs of one stream: `GuidedWaveNet.outputs`."""
    guiding = row + len(streams.outputs) - count  # itself, where nobody guides
    for i in range(network.num_outputs):
        told, nothing = streams.outputs[row, i], streams.outputs[guiding, i]
        streams.guided[i] = nothing + guidance * (told - nothing)


@compile_part(inline=True)
def hear_condition(network, streams, row, frame):  # type: ignore[no-untyped-def]
    """Leave in `told` what all layers' gates of a stream begin with while samples lie in this frame."""
    store(streams.heard, 0, 0, streams.encoded[row], frame)
    for layer in range(len(network.dilations)):
        for i in range(network.dilated_bias.shape[1]):
            streams.told[row, layer, i] = network.dilated_bias[layer, i]
        multiply(network.condition, layer, streams.heard, 0, streams.told[row, layer : layer + 1])
    streams.frame[row] = frame


@compile_part(FUSED)
def open_gates(gates, told, opened, width):  # type: ignore[no-untyped-def]
    """tanh of the left half times sigmoid of the right. Addresses of rows."""
    values, more, activated = floats_at(gates), floats_at(told), floats_at(opened)
    for i in range(width):
        activated[i] = tanh(values[i] + more[i]) * sigmoid(values[width + i] + more[width + i])


@compile_part(inline=True)
def begin_sums(sums, row, biases, at):  # type: ignore[no-untyped-def]
    copy_floats(sums.ctypes.data + row * sums.strides[0], biases.ctypes.data + at * biases.strides[0], sums.shape[1])


@compile_part(inline=True)
def rectify(sums, row, target, to, width):  # type: ignore[no-untyped-def]
    for i in range(width):
        target[row, to + i] = max(sums[row, i], ZERO)


@compile_part()
def take_samples(network, streams, codes):  # type: ignore[no-untyped-def]
    """Take the next sample of each stream and leave in `outputs` what is said of the one after."""
    position, num_layers = streams.position[0], len(network.dilations)
    streams.position[0] += 1
    for row in range(len(codes)):
        enter(network, streams, row, codes[row], position)
    for layer in range(num_layers + 1):
        if layer < num_layers:
            activate(network, streams, layer, position)
        if layer > 0:
            give_skips(network, streams, layer - 1)
        if layer < num_layers:
            go_on(network, streams, layer)
    conclude(network, streams)


@compile_part(inline=True)
def enter(network, streams, row, code, position):  # type: ignore[no-untyped-def]
    """Begin a stream's sums with what its code becomes, and hear what is told from here on."""
    begin_sums(streams.sums, row, network.embedding, code)
    begin_sums(streams.skipped, row, network.skip_bias, 0)
    frame = streams.frame_index[row, min(position, streams.frame_index.shape[1] - 1)]
    if frame != streams.frame[row]:
        hear_condition(network, streams, row, frame)


@compile_part(inline=True)
def activate(network, streams, layer, position):  # type: ignore[no-untyped-def]
    """All streams through one layer: sums hold its inputs before and the next layer's after."""
    num_taps = network.num_taps
    sums, count = streams.sums, len(streams.sums)
    start, length = streams.queue_starts[layer], streams.queue_starts[layer + 1] - streams.queue_starts[layer]
    for row in range(count):
        store(streams.queues, start + position % length, row, sums, row)
    block = streams.gate_starts[layer + 1] - streams.gate_starts[layer]
    turn = position % block
    if turn == 0:
        look_back(network, streams, layer, position)
    first = (streams.gate_starts[layer] + turn) * count
    gates = streams.gates[first : first + count]
    multiply(network.dilated, layer * num_taps + num_taps - 1, streams.queues, start + position % length, gates)
    if PF > 0 and layer + 1 < len(network.dilations):
        then = streams.gate_starts[layer + 1]
        then = (then + position % (streams.gate_starts[layer + 2] - then)) * count
        fetch(streams.gates.ctypes.data + then * streams.gates.strides[0], gates.shape[1] // 16)
    for row in range(count):
        open_gates(
            gates.ctypes.data + row * gates.strides[0],
            streams.told.ctypes.data + row * streams.told.strides[0] + layer * streams.told.strides[1],
            streams.opened.ctypes.data + row * streams.opened.strides[0],
            network.num_gates,
        )
        store(streams.activated, layer % 2, row, streams.opened, row)


@compile_part(inline=True)
def go_on(network, streams, layer):  # type: ignore[no-untyped-def]
    sums = streams.sums
    for row in range(len(sums)):
        add_floats(
            sums.ctypes.data + row * sums.strides[0],
            network.residual_bias.ctypes.data + layer * network.residual_bias.strides[0],
            sums.shape[1],
        )
    multiply(network.residual, layer, streams.activated, layer % 2, sums)


@compile_part(inline=True)
def give_skips(network, streams, layer):  # type: ignore[no-untyped-def]
    multiply(network.skip, layer, streams.activated, layer % 2, streams.skipped)
    slot = network.slots[layer]
    if slot >= 0:
        for row in range(len(streams.skipped)):
            rectify(streams.skipped, row, streams.rectified, slot * network.num_skips, network.num_skips)
            if slot + 1 < len(network.skip_bias):
                begin_sums(streams.skipped, row, network.skip_bias, slot + 1)


@compile_part(inline=True)
def look_back(network, streams, layer, position):  # type: ignore[no-untyped-def]
    """Leave in a layer's gates what the taps of the past give them, in this step and the others of its block."""
    num_taps, count, dilation = network.num_taps, len(streams.sums), network.dilations[layer]
    start, length = streams.queue_starts[layer], streams.queue_starts[layer + 1] - streams.queue_starts[layer]
    first, last = streams.gate_starts[layer] * count, streams.gate_starts[layer + 1] * count
    for row in range(first, last):
        for i in range(streams.gates.shape[1]):
            streams.gates[row, i] = ZERO
    for tap in range(num_taps - 1):
        place = (position + length - (num_taps - 1 - tap) * dilation) % length
        border = min(last, first + (length - place) * count)  # there the ring begins again
        which = layer * num_taps + tap
        multiply(network.dilated, which, streams.queues, start + place, streams.gates[first:border])
        multiply(network.dilated, which, streams.queues, start, streams.gates[border:last])


@compile_part(inline=True)
def conclude(network, streams):  # type: ignore[no-untyped-def]
    """From the rectified skips of all streams to their outputs."""
    head, outputs, width = streams.head, streams.outputs, network.num_head
    for row in range(len(head)):
        store(streams.skips, 0, row, streams.rectified, row)
        begin_sums(head, row, network.hidden_bias, 0)
    multiply(network.hidden, 0, streams.skips, 0, head)
    for row in range(len(head)):
        rectify(head, row, head, 0, width)
        store(streams.hidden, 0, row, head, row)
        begin_sums(outputs, row, network.logits_bias, 0)
    multiply(network.logits, 0, streams.hidden, 0, outputs)
