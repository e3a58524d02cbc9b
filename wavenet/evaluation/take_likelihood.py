"""How likely a network finds sound, second by second: takes that it played, and held-out audio beside them.

Knows networks and codes; nothing of files but shards. The invariants: each sample is told what the network
was told when it played; memory is that of `PIECE` samples of one stream, however long a take is; and held-out
audio and takes are measured alike, in float32, untempered, over stretches of the same length.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from wavenet.data.shards.format import read_manifest
from wavenet.errors import IncompatibleDataError
from wavenet.evaluation.ranges import Spread, spread
from wavenet.model.conditioning import FRAME_REACH, Condition
from wavenet.model.wavenet import WaveNet
from wavenet.training.likelihood import fast_loss
from wavenet.training.windows import HeldoutWindows, Windows

PIECE = 8192
"""Samples scored at a time; each piece hears its context again, some thousand samples."""
STRETCH_SECONDS = 1.0
MOST_STRETCHES = 48
"""Of held-out audio, spread evenly: less than a minute of it."""
LEAST_SHARE = 0.5
"""Of a stretch, or it is too short to compare."""
LEAST_WIDTH_NATS = 0.1
"""A sample."""


def measure_nats(
    model: WaveNet,
    context: NDArray[np.integer],
    codes: NDArray[np.integer],
    condition: Condition | None,
    sample_rate: int,
) -> NDArray[np.float64]:
    """Mean nats a sample of each second of codes, (streams, seconds); the last may be shorter.

    context: (streams, receptive_field) codes or more, what each stream went on from; codes: (streams,
    samples), what it played. condition: as for `generate`: frame_index of each code of both but the last;
    None tells nothing. Raises ValueError on a context that is too short, and where nothing was played.
    """
    if context.shape[1] < model.receptive_field or not codes.shape[1]:
        raise ValueError(
            f"a context of {context.shape[1]} codes and {codes.shape[1]} played; expected "
            f"{model.receptive_field} or more, and 1 or more"
        )
    stretch = max(1, round(STRETCH_SECONDS * sample_rate))
    begin, end = context.shape[1], context.shape[1] + codes.shape[1]
    nats = np.empty((len(codes), -(-codes.shape[1] // stretch)))
    for stream, row in enumerate(np.concatenate([context, codes], axis=1)):
        told = condition and condition.select(slice(stream, stream + 1))
        for number, start in enumerate(range(begin, end, stretch)):
            nats[stream, number] = _mean_nats(model, row, told, start, min(end, start + stretch))
    return nats


def measure_heldout_nats(model: WaveNet, shards: Path) -> Spread:
    """The spread of a network's nats a sample over seconds of held-out audio, told all that is known of it.

    Raises IncompatibleDataError where held-out audio has no sample with its whole context.
    """
    sample_rate = read_manifest(shards).sample_rate
    stretch = max(1, round(STRETCH_SECONDS * sample_rate))
    heldout = HeldoutWindows(shards, model.receptive_field, stretch, model.form)
    past = model.receptive_field
    long = [tile for tile in heldout.tiles if tile.length - past >= LEAST_SHARE * stretch]
    heldout.tiles = long or heldout.tiles
    nats = [
        _mean_nats(model, window.codes[0].numpy(), window.condition, past, window.codes.shape[1])
        for window in heldout.batches(1, MOST_STRETCHES)
    ]
    if not nats:
        raise IncompatibleDataError(f"{shards}: no held-out audio; prepare the shards with some held out")
    return spread(nats, LEAST_WIDTH_NATS)


def _mean_nats(
    model: WaveNet, codes: NDArray[np.integer], told: Condition | None, start: int, end: int
) -> float:
    """Nats a sample of codes start to end of one stream, (time,)."""
    total = 0.0
    for first in range(start, end, PIECE):
        last = min(end, first + PIECE)
        window = _cut_piece(codes, told, first - model.receptive_field, last)
        with torch.no_grad():
            nats = fast_loss(model, window.to(next(model.parameters()).device))
        total += float(nats) * (last - first)
    return total / (end - start)


def _cut_piece(codes: NDArray[np.integer], told: Condition | None, first: int, last: int) -> Windows:
    """Codes first to last, with the frames that they lie in and no others."""
    piece = torch.from_numpy(codes[None, first:last].astype(np.int64))
    if told is None:
        return Windows(piece, None)
    index = told.frame_index[:, first : last - 1]
    low, high = int(index.min()), int(index.max())
    frames = told.frames[:, low : high + 1 + 2 * FRAME_REACH]
    return Windows(piece, Condition(told.labels, frames, index - low))
