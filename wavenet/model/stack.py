"""All residual layers at once, on rows in time-major order, with a backward by hand.

Row t * batch + b holds sample t of window b, so the sample d steps ago is d * batch rows up: a dilated
convolution is one matrix product a tap over a contiguous slice, and nothing is copied. Besides:

- All layers' rows end at the same last sample; what lies outside the scored samples' cone has no rows.
- Rows are taken some at a time, so that what one product makes is still in the processor's cache when the
  next takes it, there and back.
- Kept for the backward are each layer's input and its open gates; all else is made again on the way. Where
  there will be none, nothing is kept.
- The gradient of the residual stream is one buffer, added to in place from the last layer to the first.

Knows nothing of embeddings, heads or losses. The invariant: outputs and gradients are those of
`layers.ResidualLayer`, which a test holds for every kind of network.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wavenet.model.gates import close_gates, open_gates
from wavenet.model.rows import Rows, count_cached_rows


class StackWeights(NamedTuple):
    """All layers' weights. dilated: (layers, taps, residual, 2 gate), taps from the oldest; dilated_bias:
    (layers, 2 gate); residual: (layers, gate, residual); skip: (layers, gate, skip)."""

    dilated: Tensor
    dilated_bias: Tensor
    residual: Tensor
    skip: Tensor


@dataclass(frozen=True)
class StackShape:
    """dilations: a layer each. batch: windows side by side. num_scored: rows at the end that are wanted.
    concat: whether skips come side by side, or summed."""

    dilations: Sequence[int]
    batch: int
    num_scored: int
    concat: bool


def run_stack(
    x: Tensor,
    weights: StackWeights,
    shape: StackShape,
    told: Tensor | None = None,
    index: Tensor | None = None,
    masks: Tensor | None = None,
) -> Tensor:
    """From embedded rows to the skips of the scored ones, without their biases.

    x: (rows, residual). told: (layers, frames, 2 gate), what is added to the gates; index: (rows,), the
    frame of each row. masks: (layers, batch, gate). All float32 or all bfloat16. Returns (num_scored, skip)
    or, side by side, (num_scored, layers * skip).
    """
    return _Stack.apply(x, *weights, told, shape, index, masks, torch.is_grad_enabled())


class _Stack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *arguments: Any) -> Tensor:
        weights, (told, shape, index, masks, learns) = StackWeights(*arguments[:4]), arguments[4:]
        layers, width = len(shape.dilations), weights.skip.shape[2]
        skips = x.new_zeros(shape.num_scored, width * (layers if shape.concat else 1))
        counts = _count_outputs(len(x), weights, shape)
        streams = x.new_empty(sum(counts[:-1]) if learns else 2 * counts[0], x.shape[1])
        gates = x.new_empty(sum(counts) if learns else counts[0], weights.dilated.shape[3])
        inputs, opened = (_each_layers if learns else _each_layers_in_turn)(counts, x, streams, gates)
        for i in range(layers):
            mine = skips[:, i * width : (i + 1) * width] if shape.concat else skips
            outputs = inputs[i + 1] if i + 1 < layers else None
            _run_layer(i, inputs[i], weights, shape, told, index, masks, mine, opened[i], outputs)
        if learns:
            ctx.save_for_backward(*weights, told, index, masks, x, streams, gates)
            ctx.shape = shape
        return skips

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        shape, layers = ctx.shape, len(ctx.shape.dilations)
        weights, (told, index, masks) = StackWeights(*ctx.saved_tensors[:4]), ctx.saved_tensors[4:7]
        x, streams, gates = ctx.saved_tensors[7:]
        inputs, opened = _each_layers(_count_outputs(len(x), weights, shape), x, streams, gates)
        (d_skips,), width = gradients, weights.skip.shape[2]
        d_weights = StackWeights(*(torch.zeros_like(weight) for weight in weights))
        d_told = None if told is None else torch.zeros_like(told)
        d_stream = torch.zeros_like(x)
        for i in reversed(range(layers)):
            mine = d_skips[:, i * width : (i + 1) * width] if shape.concat else d_skips
            _return_through_layer(
                i, inputs[i], opened[i], weights, shape, index, masks, mine, d_stream, d_weights, d_told
            )
        return d_stream, *d_weights, d_told, None, None, None, None


def _run_layer(
    i: int,
    x: Tensor,
    weights: StackWeights,
    shape: StackShape,
    told: Tensor | None,
    index: Tensor | None,
    masks: Tensor | None,
    skips: Tensor,
    gates: Tensor,
    outputs: Tensor | None,
) -> None:
    """Fill the open gates and, unless it is the last, the next layer's input; add what is said to skips."""
    width = weights.residual.shape[1]
    step = _chunk_rows(shape, width, len(gates), x)
    room = x.new_empty(step, width)
    for rows in _chunks(len(gates), step, i, weights, shape):
        z, activated = gates[rows.start : rows.end], room[: len(rows)]
        torch.mm(rows.newest(x), weights.dilated[i, -1], out=z)
        for tap in range(rows.taps - 1):
            z.addmm_(rows.tap(x, tap), weights.dilated[i, tap])
        if told is not None and index is not None:
            z.add_(told[i].index_select(0, rows.at_end(index)))
        open_gates(z, weights.dilated_bias[i], None if masks is None else masks[i], activated)
        if outputs is not None:
            torch.addmm(rows.newest(x), activated, weights.residual[i], out=outputs[rows.start : rows.end])
        rows.scored(skips).addmm_(activated[rows.unscored :], weights.skip[i])


def _return_through_layer(
    i: int,
    x: Tensor,
    gates: Tensor,
    weights: StackWeights,
    shape: StackShape,
    index: Tensor | None,
    masks: Tensor | None,
    d_skips: Tensor,
    d_stream: Tensor,
    d_weights: StackWeights,
    d_told: Tensor | None,
) -> None:
    """Add a layer's gradients to those of its weights, and of its inputs to the stream's.

    On entering, the stream holds the gradient of the layer's outputs at the rows that its newest tap reads:
    residual and input are one stream. From the first rows to the last, since other taps add to rows before
    their own, which nobody reads again.
    """
    width, last = weights.residual.shape[1], i + 1 == len(shape.dilations)
    d_x = d_stream[len(d_stream) - len(x) :]
    step = _chunk_rows(shape, width, len(gates), x)
    room = [x.new_empty(step, columns) for columns in (width, width, 2 * width)]
    d_bias = x.new_zeros(2 * width, dtype=torch.float32)
    for rows in _chunks(len(gates), step, i, weights, shape):
        activated, d_activated, dz = (buffer[: len(rows)] for buffer in room)
        d_out, said, d_said = rows.newest(d_x), slice(rows.unscored, None), rows.scored(d_skips)
        if last:
            d_activated.zero_()
        else:
            torch.mm(d_out, weights.residual[i].t(), out=d_activated)
        d_activated[said].addmm_(d_said, weights.skip[i].t())
        mask = None if masks is None else masks[i]
        close_gates(gates[rows.start : rows.end], mask, d_activated, activated, dz, d_bias)
        d_weights.skip[i].addmm_(activated[said].t(), d_said)
        if not last:
            d_weights.residual[i].addmm_(activated.t(), d_out)
        if d_told is not None and index is not None:
            d_told[i].index_add_(0, rows.at_end(index), dz)
        for tap in range(rows.taps):
            d_weights.dilated[i, tap].addmm_(rows.tap(x, tap).t(), dz)
            rows.tap(d_x, tap).addmm_(dz, weights.dilated[i, tap].t())
    d_weights.dilated_bias[i] = d_bias


def _count_outputs(num_rows: int, weights: StackWeights, shape: StackShape) -> list[int]:
    """Rows of each layer's outputs. All layers' are kept in one piece of memory: many pieces of two threads,
    come and gone in turns, would leave holes between them."""
    reach = (weights.dilated.shape[1] - 1) * shape.batch
    return [num_rows - reach * passed for passed in accumulate(shape.dilations)]


def _each_layers(
    counts: list[int], x: Tensor, streams: Tensor, gates: Tensor
) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Of what is kept in one piece: the rows that go into each layer, and its open gates; views."""
    return [x, *streams.split(counts[:-1])], gates.split(counts)


def _each_layers_in_turn(
    counts: list[int], x: Tensor, streams: Tensor, gates: Tensor
) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """As `_each_layers` where nothing is kept: a layer's gates lie where those of the one before did, and of
    two streams one is read and one filled."""
    halves = streams.split(counts[0])
    inputs = [x, *(halves[i % 2][:count] for i, count in enumerate(counts[:-1]))]
    return inputs, [gates[:count] for count in counts]


def _chunks(num_outputs: int, step: int, i: int, weights: StackWeights, shape: StackShape) -> Iterator[Rows]:
    taps = weights.dilated.shape[1]
    for start in range(0, num_outputs, step):
        end = min(start + step, num_outputs)
        yield Rows(start, end, num_outputs, shape.dilations[i] * shape.batch, taps, shape.num_scored)


def _chunk_rows(shape: StackShape, width: int, num_outputs: int, x: Tensor) -> int:
    """Rows worked on at a time: whole samples of all windows; all there are where there is no such cache."""
    if x.device.type != "cpu":
        return num_outputs
    return min(num_outputs, shape.batch * max(1, count_cached_rows(2 * width, x) // shape.batch))
