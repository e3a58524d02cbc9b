"""Cached generation in plain torch: the oracle that every faster backend is tested against.

A layer of dilation d needs its own input d samples ago (kernel 2); a queue a layer keeps those, so
a new sample costs one column of each matrix and no receptive field is ever recomputed. Knows
nothing of files. The invariant: fed with the same codes, its logits are those of the whole forward.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from wavenet.generation.sampling import choose_codes
from wavenet.model.wavenet import WaveNet


class CachedWaveNet:
    """A WaveNet that takes one sample a step, for several streams at once."""

    @torch.no_grad()
    def __init__(self, model: WaveNet, context: NDArray[np.integer]) -> None:
        """context: (streams, receptive_field) codes at least: what was played before.

        `self.logits`, (streams, levels), is for the sample that follows.
        """
        self.model = model
        codes = torch.from_numpy(context[:, -model.receptive_field :].astype(np.int64))
        x = model.input(codes)
        self.table = model.input.table()
        self.queues: list[Tensor] = []
        reach = model.config.kernel_size - 1
        self.past_taps = [range(0, reach * d, d) for d in model.config.dilations]  # from the oldest
        skips = torch.zeros(())
        for layer in model.layers:
            self.queues.append(x[:, :, -layer.shrinkage :].permute(2, 0, 1).contiguous())
            x, skip = layer(x, 1)
            skips = skips + skip
        self.logits = model.head(skips)[:, :, 0].numpy()
        self.position = 0

    @torch.no_grad()
    def step(self, codes: NDArray[np.integer]) -> NDArray[np.float32]:
        """Take the next sample of each stream, (streams,). Returns logits for the one after."""
        model = self.model
        x = F.embedding(torch.from_numpy(codes.astype(np.int64)), self.table)
        skips = torch.zeros(())
        for layer, queue, past_taps in zip(model.layers, self.queues, self.past_taps, strict=True):
            taps = [queue[(self.position + tap) % len(queue)] for tap in past_taps]
            weight = layer.dilated.weight
            gates = F.linear(x, weight[:, :, -1], layer.dilated.bias)
            for tap, column in zip(taps, weight.unbind(2)[:-1], strict=True):
                gates = gates + F.linear(tap, column)
            filtered, gate = gates.chunk(2, dim=1)
            activated = torch.tanh(filtered) * torch.sigmoid(gate)
            queue[self.position % len(queue)] = x
            x = x + F.linear(activated, layer.residual.weight[:, :, 0], layer.residual.bias)
            skips = skips + F.linear(activated, layer.skip.weight[:, :, 0], layer.skip.bias)
        self.position += 1
        self.logits = model.head(skips[:, :, None])[:, :, 0].numpy()
        return self.logits


def generate_codes(
    model: WaveNet, context: NDArray[np.integer], uniforms: NDArray[np.float64], temperature: float = 1.0
) -> Iterator[NDArray[np.int64]]:
    """Yield the codes of each sample, (streams,), one for each row of uniforms (samples, streams).

    context: (streams, receptive_field) codes or more, the sound to go on from.
    """
    cache = CachedWaveNet(model, context)
    for row in uniforms:
        codes = choose_codes(cache.logits, row, temperature)
        yield codes
        cache.step(codes)
