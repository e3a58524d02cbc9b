"""Cached generation in plain torch: the oracle that every faster backend is tested against.

A layer of dilation d needs its own input d samples ago (kernel 2); a queue a layer keeps those, so
a new sample costs one column of each matrix and no receptive field is ever recomputed. Knows
nothing of files. The invariant: fed with the same codes, its outputs are those of the whole forward.
"""

from collections.abc import Iterator
from functools import reduce
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from wavenet.generation.sampling import PLAINLY, Choice, choose_next
from wavenet.generation.telling import list_tellings, tell
from wavenet.model.conditioning import Condition
from wavenet.model.layers import ResidualLayer
from wavenet.model.wavenet import WaveNet


class LayerWeights(NamedTuple):
    """One layer's matrices, (outputs, inputs), and biases; made once, since weight norm makes them anew."""

    taps: tuple[Tensor, ...]  # from the oldest
    bias: Tensor | None
    condition: Tensor | None
    residual: Tensor
    residual_bias: Tensor | None
    skip: Tensor
    skip_bias: Tensor | None

    @classmethod
    def of(cls, layer: ResidualLayer) -> "LayerWeights":
        """Those of a layer as it is now."""
        return cls(
            layer.dilated.weight.unbind(2), layer.dilated.bias,
            None if layer.condition is None else layer.condition.weight[:, :, 0],
            layer.residual.weight[:, :, 0], layer.residual.bias,
            layer.skip.weight[:, :, 0], layer.skip.bias,
        )  # fmt: skip

    def activate(self, taps: list[Tensor], told: Tensor) -> Tensor:
        """(streams, gate), gated. taps: (streams, residual) each, told: (streams, condition)."""
        gates = F.linear(taps[-1], self.taps[-1], self.bias)
        for tap, weight in zip(taps[:-1], self.taps[:-1], strict=True):
            gates = gates + F.linear(tap, weight)
        if self.condition is not None:
            gates = gates + F.linear(told, self.condition)
        filtered, gate = gates.chunk(2, dim=1)
        return torch.tanh(filtered) * torch.sigmoid(gate)


class CachedWaveNet:
    """A WaveNet that takes one sample a step, for several streams at once."""

    @torch.no_grad()
    def __init__(
        self, model: WaveNet, context: NDArray[np.integer], condition: Condition | None = None
    ) -> None:
        """context: (streams, receptive_field) codes at least: what was played before. condition: what the
        streams are told, its frame_index with a column for each code of the context and each to be taken;
        nothing if None.

        `self.outputs`, (streams, outputs), is for the sample that follows: logits of levels or parameters of
        logistics.
        """
        self.model, self.num_taken = model, context.shape[1]
        self.told = tell(model, condition, len(context))
        self.table = model.input.table()
        self.layers = [LayerWeights.of(layer) for layer in model.layers]
        reach = model.config.kernel_size - 1
        self.past_taps = [range(0, reach * d, d) for d in model.config.dilations]  # from the oldest
        self.position = 0
        self._hear(torch.from_numpy(context[:, -model.receptive_field :].astype(np.int64)))

    def _hear(self, codes: Tensor) -> None:
        """Fill each layer's queue from the context, (streams, receptive_field)."""
        told = self.told.after(torch.arange(self.num_taken - codes.shape[1], self.num_taken))
        x, skips = self.model.input(codes), []
        self.queues: list[Tensor] = []
        for layer in self.model.layers:
            self.queues.append(x[:, :, -layer.shrinkage :].permute(2, 0, 1).contiguous())
            x, skip = layer(x, 1, told[:, :, layer.shrinkage - x.shape[2] :])
            skips.append(skip)
        self.outputs = self._conclude(skips)

    @torch.no_grad()
    def step(self, codes: NDArray[np.integer]) -> NDArray[np.float32]:
        """Take the next sample of each stream, (streams,). Returns outputs for the one after."""
        x = F.embedding(torch.from_numpy(codes.astype(np.int64)), self.table)
        told, skips = self.told.after(torch.tensor([self.num_taken]))[:, :, 0], []
        for layer, queue, past_taps in zip(self.layers, self.queues, self.past_taps, strict=True):
            taps = [queue[(self.position + tap) % len(queue)] for tap in past_taps]
            activated = layer.activate([*taps, x], told)
            queue[self.position % len(queue)] = x  # where the oldest tap was
            x = x + F.linear(activated, layer.residual, layer.residual_bias)
            skips.append(F.linear(activated, layer.skip, layer.skip_bias)[:, :, None])
        self.position += 1
        self.num_taken += 1
        self.outputs = self._conclude(skips)
        return self.outputs

    def _conclude(self, skips: list[Tensor]) -> NDArray[np.float32]:
        """From the layers' skips, (streams, skip, 1) each, to outputs."""
        joined = torch.cat(skips, dim=1) if self.model.config.skip == "concat" else reduce(torch.add, skips)
        return self.model.head(joined)[:, :, 0].numpy()


class GuidedWaveNet:
    """A cached network that is told and one that is told nothing, fed the same codes.

    Their outputs come together as nothing + guidance * (told - nothing): Ho and Salimans, Classifier-Free
    Diffusion Guidance (2022), on logits of levels; on all parameters (logits of weights, means and logs of
    scales) of a mixture of logistics. One network does where guidance is 1 or 0, or there is no condition.
    """

    def __init__(
        self,
        model: WaveNet,
        context: NDArray[np.integer],
        condition: Condition | None = None,
        guidance: float = 1.0,
    ) -> None:
        """Arguments as for `CachedWaveNet`."""
        self.guidance = np.float32(guidance)
        tellings = list_tellings(condition, guidance)
        self.networks = [CachedWaveNet(model, context, telling) for telling in tellings]

    @property
    def outputs(self) -> NDArray[np.float32]:
        """(streams, outputs), for the sample that follows."""
        told, nothing = self.networks[0].outputs, self.networks[-1].outputs
        return nothing + self.guidance * (told - nothing)

    def step(self, codes: NDArray[np.integer]) -> None:
        """Take the next sample of each stream, (streams,)."""
        for network in self.networks:
            network.step(codes)


def generate_codes(
    model: WaveNet,
    context: NDArray[np.integer],
    uniforms: NDArray[np.float64],
    choice: Choice = PLAINLY,
    condition: Condition | None = None,
    guidance: float = 1.0,
) -> Iterator[NDArray[np.int64]]:
    """Yield the codes of each sample, (streams,), one for each row of uniforms (samples, streams).

    context: (streams, receptive_field) codes or more, the sound to go on from. condition: what the streams
    are told, frame_index (streams, codes of the context + samples - 1); nothing if None. guidance: 1 as
    told, 0 as if told nothing, above 1 more than told.
    """
    network = GuidedWaveNet(model, context, condition, guidance)
    for row in uniforms:
        codes = choose_next(model, network.outputs, row, choice)
        yield codes
        network.step(codes)
