"""What is timed in a process of its own: samples played, each way; memory read.

Each is held by a `harness.Apart`, and has `run()`, which does it once and returns the seconds.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from benchmarks.harness import seconds_of
from wavenet.audio.quantization import Quantizer
from wavenet.config import ModelConfig
from wavenet.generation.engine import BLOCK, Player, generate_blocks
from wavenet.model.wavenet import WaveNet, create_model

LEVELS = 256
SPREAD = 3.0
"""Standard deviation of the logits: some levels are likely, as in a trained network."""


def make_network(config: ModelConfig) -> WaveNet:
    """Random weights, with something to choose from."""
    model = create_model(config, LEVELS, seed=0).eval()
    with torch.no_grad():
        codes = torch.from_numpy(make_context(model, 1, spare=100).astype(np.int64))
        model.head.logits.weight *= SPREAD / model(codes).std()
    return model


def make_context(model: WaveNet, num_streams: int, spare: int = 0) -> NDArray[np.integer]:
    shape = (num_streams, model.receptive_field + spare)
    return np.random.default_rng(0).integers(0, LEVELS, shape).astype(np.uint8)


class PlainTorch:
    """A cached loop as one would write it in torch: a queue a layer, a product a matrix, one stream."""

    @torch.no_grad()
    def __init__(self, config: ModelConfig, num_samples: int) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        model, self.num_samples, self.step = make_network(config), num_samples, 0
        self.embedding = model.input.table()
        self.layers = [
            (
                torch.cat(layer.dilated.weight.unbind(2), 1).t().contiguous(), layer.dilated.bias,
                torch.cat([layer.residual.weight, layer.skip.weight])[:, :, 0].t().contiguous(),
                torch.cat([layer.residual.bias, layer.skip.bias]),
            )
            for layer in model.layers
        ]  # fmt: skip
        self.queues = [torch.zeros(dilation, 1, config.residual_channels) for dilation in config.dilations]
        self.head = [
            (part.weight[:, :, 0].t().contiguous(), part.bias)
            for part in (model.head.hidden, model.head.logits)
        ]
        self.residual = config.residual_channels
        self.code = torch.full((1,), LEVELS // 2)

    def run(self) -> float:
        """Seconds of so many samples."""
        return seconds_of(self._play)

    @torch.no_grad()
    def _play(self) -> None:
        for _ in range(self.num_samples):
            self.code = torch.multinomial(torch.softmax(self._next(), 1), 1)[:, 0]

    def _next(self) -> torch.Tensor:
        x, skips = F.embedding(self.code, self.embedding), None
        for (dilated, bias, outward, outward_bias), queue in zip(self.layers, self.queues, strict=True):
            place = self.step % len(queue)
            gates = torch.addmm(bias, torch.cat([queue[place], x], 1), dilated)
            queue[place] = x
            filtered, gate = gates.chunk(2, 1)
            both = torch.addmm(outward_bias, torch.tanh(filtered) * torch.sigmoid(gate), outward)
            x = x + both[:, : self.residual]
            skips = both[:, self.residual :] if skips is None else skips + both[:, self.residual :]
        self.step += 1
        for weight, bias in self.head:
            skips = torch.addmm(bias, torch.relu(skips), weight)
        return skips


class Compiled:
    """Streams of a compiled network, so many samples of each a run, on from where they are."""

    def __init__(
        self, config: ModelConfig, num_samples: int, precision: str, num_streams: int, threads: int
    ) -> None:
        torch.set_num_threads(threads)
        model = make_network(config)
        player = Player(precision=precision, threads=threads)
        self.blocks = generate_blocks(
            model, make_context(model, num_streams), 1 << 30, player=player, block=num_samples
        )
        next(self.blocks)

    def run(self) -> float:
        """Seconds of a block."""
        return seconds_of(lambda: next(self.blocks))


class Band:
    """Several networks of one form, a stream of each, side by side on some threads, to a mix in memory."""

    def __init__(
        self, config: ModelConfig, num_samples: int, precision: str, num_stems: int, threads: int
    ) -> None:
        torch.set_num_threads(1)
        self.pool, player = ThreadPoolExecutor(threads), Player(precision=precision, threads=1)
        self.table = Quantizer("mu-law", LEVELS).table
        self.num_blocks = max(1, num_samples // BLOCK)
        self.stems = []
        for seed in range(num_stems):
            model = make_network(config)
            context = make_context(model, 1)
            self.stems.append(generate_blocks(model, context, 1 << 30, player=player, seed=seed))
        self._mix(1)

    def run(self) -> float:
        """Seconds of so many samples of the mix."""
        return seconds_of(lambda: self._mix(self.num_blocks))

    def _mix(self, num_blocks: int) -> NDArray[np.float32]:
        def play(stem: Iterator[NDArray[np.integer]]) -> NDArray[np.float32]:
            return np.concatenate([self.table[next(stem)[0]] for _ in range(num_blocks)])

        return np.sum(list(self.pool.map(play, self.stems)), axis=0, dtype=np.float32)


class Reading:
    """Memory of a size read again and again: what the cache that it fits into gives."""

    def __init__(self, num_bytes: int, times: int) -> None:
        self.values, self.times = np.ones(num_bytes // 4, np.float32), times
        self.run()

    def run(self) -> float:
        """Seconds of reading it so many times."""
        from benchmarks.reading import read_again

        return seconds_of(lambda: read_again(self.values, self.times))
