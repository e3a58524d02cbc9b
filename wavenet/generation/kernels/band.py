"""Some streams of one model, each thread's apart: what lies between the engine and the compiled network.

Knows no seeds and no files. The invariant: all parts share one copy of the weights, and no part touches
another's state.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from wavenet.generation import processor
from wavenet.generation.kernels.network import Network, pack_network
from wavenet.generation.kernels.steps import generate_block, score_block
from wavenet.generation.kernels.streams import Streams, begin_streams
from wavenet.generation.sampling import Choice
from wavenet.generation.telling import Told, list_tellings, tell
from wavenet.model.conditioning import Condition
from wavenet.model.wavenet import WaveNet


@dataclass(frozen=True)
class Part:
    """A thread's streams. rows: which they are of all."""

    network: Network
    streams: Streams
    rows: slice
    guidance: float

    def play(self, uniforms: NDArray[np.float64], choice: Choice, codes: NDArray[np.int64]) -> None:
        """Go on by one sample a uniform, both (streams, samples), and fill codes."""
        generate_block(
            self.network, self.streams, np.float32(self.guidance), uniforms, float(choice.temperature),
            choice.top_k, float(choice.top_p), codes,
        )  # fmt: skip

    def score(self, codes: NDArray[np.integer]) -> NDArray[np.float32]:
        """Take given codes, (streams, samples); what was said of each, (samples, streams, outputs)."""
        outputs = np.empty((codes.shape[1], len(codes), self.network.num_outputs), np.float32)
        score_block(self.network, self.streams, codes.astype(np.int64), outputs)
        return outputs


def begin_band(
    model: WaveNet,
    contexts: NDArray[np.integer],
    condition: Condition | None,
    guidance: float,
    precision: str,
    num_parts: int,
) -> list[Part]:
    """Streams after contexts, (streams, receptive_field) codes or more, in parts of about one size."""
    network = pack_network(model, precision, plain=processor.instructions() == "plain")
    borders = [len(contexts) * i // num_parts for i in range(num_parts + 1)]
    parts = []
    for first, last in pairwise(borders):
        rows = slice(first, last)
        told, twice = _tell_all(model, condition and condition.select(rows), guidance, last - first)
        heard = np.concatenate([contexts[rows]] * twice)
        streams = begin_streams(network, precision, heard, told, model.receptive_field)
        parts.append(Part(network, streams, rows, guidance))
    return parts


def _tell_all(
    model: WaveNet, condition: Condition | None, guidance: float, count: int
) -> tuple[Sequence[Told], int]:
    """What each stream is told, and after all of them what each is that guides, where some do."""
    tellings = list_tellings(condition, guidance)
    told: list[Told] = []
    for telling in tellings:
        whole = tell(model, telling, count)
        told += [Told(whole.encoded[i : i + 1], whole.frame_index[i : i + 1]) for i in range(count)]
    return told, len(tellings)
