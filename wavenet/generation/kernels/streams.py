"""What the next samples of some streams depend on: queues, positions, what is told, and room to work in.

Knows nothing of seeds or files. The invariants: a state carries all that the next samples depend on, so
blocks of any size give the same codes; after a context it is what the compiled steps make of it, so it
depends on the codes alone.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from wavenet.generation.kernels.choice import make_room
from wavenet.generation.kernels.matrices import Floats, Rows, make_rows
from wavenet.generation.kernels.network import Network, pad
from wavenet.generation.kernels.steps import hear_codes
from wavenet.generation.telling import Told

SPAN_ROWS = 16
"""Rows of past taps, steps times streams, that share one reading of a layer's weights: more gain nothing."""


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
    gates: Floats  # (sum of spans * streams, 2 * gate), each layer's in the steps of its span
    gate_starts: NDArray[np.int64]  # (layers + 1,), the step of `gates` with which each layer's begin
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


def begin_streams(
    network: Network, precision: str, contexts: NDArray[np.integer], told: Sequence[Told], reach: int
) -> Streams:
    """The state after contexts, (streams, reach) codes or more, which the kernel itself takes, one by one.

    told: of each stream, its frame_index from the context's first code on. reach: the receptive field;
    earlier codes do not count. So the state depends on the last codes alone, to the bit, and a take that
    goes on from its own end plays what it would have played.
    """
    count, columns = len(contexts), network.dilated.num_columns
    width, head = network.hidden.num_inputs, network.hidden.num_columns
    heard, spare = contexts[:, -reach:].astype(np.int64), contexts.shape[1] - reach
    lengths = (network.num_taps - 1) * network.dilations + 1
    queue_starts, gate_starts = _begins(lengths), _begins(plan_spans(network.dilations, count))

    def rows(places: int, width: int) -> Rows:
        return make_rows(places, count, width, precision)

    activated, skips = rows(2, network.num_gates), rows(1, width)
    streams = Streams(
        queues=rows(int(queue_starts[-1]), network.dilated.num_inputs),
        queue_starts=queue_starts,
        position=np.zeros(1, np.int64),
        outputs=_zeros(count, network.logits.num_columns),
        encoded=np.stack(_pad_last([pad(each.encoded[0].t()) for each in told])),
        frame_index=np.stack(_pad_last([_index_from(each, spare) for each in told])),
        frame=np.full(count, -1),
        told=_zeros(count, len(lengths), columns),
        heard=make_rows(1, 1, network.condition.num_inputs, "fp32"),
        gates=_zeros(int(gate_starts[-1]) * count, columns),
        gate_starts=gate_starts,
        opened=_zeros(count, activated.values.shape[2]),
        activated=activated,
        sums=_zeros(count, network.residual.num_columns),
        skipped=_zeros(count, network.skip.num_columns),
        rectified=_zeros(count, skips.values.shape[2]),
        skips=skips,
        head=_zeros(count, network.hidden.num_columns),
        hidden=rows(1, head),
        guided=_zeros(network.num_outputs),
        room=make_room(network.num_outputs),
    )
    hear_codes(network, streams, heard)
    return streams


def plan_spans(dilations: NDArray[np.int64], num_streams: int) -> list[int]:
    """For how many steps at once each layer looks back, (layers,): not further than its taps are known."""
    return [min(int(dilation), max(1, SPAN_ROWS // num_streams)) for dilation in dilations]


def _begins(lengths: Iterable[int]) -> NDArray[np.int64]:
    """Where each of some pieces begins, and the last one's end."""
    return np.cumsum([0, *lengths], dtype=np.int64)


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
