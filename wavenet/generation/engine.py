"""Generation: a model, contexts and a seed in, blocks of codes out.

Chooses the backend and draws the uniforms; knows nothing of files or waveforms. The invariant: a
stream's codes depend on the model, its context, the seed, its number and the temperature; not on
the size of blocks, the number of streams or the threads they run in.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from wavenet.audio.mulaw import Codes, code_dtype
from wavenet.errors import ConfigError, IncompatibleDataError
from wavenet.generation.kernels import cpu
from wavenet.generation.reference import CachedWaveNet
from wavenet.generation.sampling import choose_codes
from wavenet.model.wavenet import WaveNet

# From uniforms, (streams, samples), to codes of the same shape; goes on where the last call ended.
Advance = Callable[[NDArray[np.float64]], NDArray[np.int64]]


def generate(
    model: WaveNet,
    context: NDArray[np.integer],
    num_samples: int,
    *,
    seed: int = 0,
    temperature: float = 1.0,
    backend: str = "auto",
    block: int = 4096,
) -> Iterator[Codes]:
    """Yield what the model plays after context, in blocks of codes, (streams, block) or fewer at the end.

    context: (streams, receptive_field) codes or more, what each stream goes on from. temperature: above
    0; below 1 plays it safer. backend: numba (auto takes it), or reference, the plain torch one. The
    uniforms are those of `sampling.draw_uniforms(num_samples, streams, seed)`. Raises ConfigError on an
    unknown backend or a bad temperature, IncompatibleDataError on a context that is too short; at once,
    not at the first block.
    """
    if backend not in BACKENDS:
        raise ConfigError(f"backend '{backend}' is unknown; expected {', '.join(BACKENDS)}")
    if not temperature > 0:
        raise ConfigError(f"temperature is {temperature}; expected a number above 0")
    if context.ndim != 2 or context.shape[1] < model.receptive_field:
        raise IncompatibleDataError(
            f"the context has shape {context.shape}; expected (streams, codes) with at least "
            f"{model.receptive_field} codes, the model's receptive field; put silence before a shorter one"
        )
    advance = BACKENDS[backend](model, context, temperature)
    streams = [np.random.default_rng([seed, stream]) for stream in range(len(context))]
    return _generate_blocks(advance, streams, num_samples, block, code_dtype(model.quantization_channels))


def _generate_blocks(
    advance: Advance, streams: list[np.random.Generator], num_samples: int, block: int, dtype: np.dtype
) -> Iterator[Codes]:
    for start in range(0, num_samples, block):
        length = min(block, num_samples - start)
        uniforms = np.stack([stream.random(length) for stream in streams])
        yield advance(uniforms).astype(dtype)


def start_numba(model: WaveNet, context: NDArray[np.integer], temperature: float) -> Advance:
    """The compiled kernel, streams side by side in as many threads as torch may use."""
    weights = cpu.pack_weights(model)
    states = [cpu.begin_stream(model, weights, past) for past in context]
    num_threads = min(len(states), torch.get_num_threads())

    def advance(uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
        codes = np.empty(uniforms.shape, np.int64)

        def advance_stream(stream: int) -> None:
            cpu.generate_block(weights, states[stream], uniforms[stream], temperature, codes[stream])

        with ThreadPoolExecutor(num_threads) as pool:
            list(pool.map(advance_stream, range(len(states))))
        return codes

    return advance


def start_reference(model: WaveNet, context: NDArray[np.integer], temperature: float) -> Advance:
    """Plain torch, one stream after the other: batched, their number would change the rounding."""
    caches = [CachedWaveNet(model, past[None]) for past in context]

    def advance(uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
        codes = np.empty(uniforms.shape, np.int64)
        for stream, cache in enumerate(caches):
            for t, uniform in enumerate(uniforms[stream]):
                codes[stream, t] = choose_codes(cache.logits, np.array([uniform]), temperature)[0]
                cache.step(codes[stream, t : t + 1])
        return codes

    return advance


BACKENDS: dict[str, Callable[[WaveNet, NDArray[np.integer], float], Advance]] = {
    "auto": start_numba,
    "numba": start_numba,
    "reference": start_reference,
}
