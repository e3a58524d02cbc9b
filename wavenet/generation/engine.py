"""Generation: a model, contexts, conditions and a seed in, blocks of codes out.

Chooses the backend and draws the uniforms; knows nothing of files or waveforms. The invariant: a
stream's codes depend on the model, its context, what it is told, the seed, its number, the temperature
and the guidance; not on the size of blocks, the number of streams or the threads they run in.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from wavenet.audio.mulaw import Codes, code_dtype
from wavenet.errors import ConfigError, IncompatibleDataError
from wavenet.generation.kernels import cpu
from wavenet.generation.reference import GuidedWaveNet
from wavenet.generation.sampling import choose_next
from wavenet.generation.telling import check_condition, check_guidance, list_tellings
from wavenet.model.conditioning import Condition
from wavenet.model.wavenet import WaveNet

# From uniforms, (streams, samples), to codes of the same shape; goes on where the last call ended.
Advance = Callable[[NDArray[np.float64]], NDArray[np.int64]]
Start = Callable[[WaveNet, NDArray[np.integer], Condition | None, float, float], Advance]


def generate(
    model: WaveNet,
    context: NDArray[np.integer],
    num_samples: int,
    *,
    condition: Condition | None = None,
    guidance: float = 1.0,
    seed: int = 0,
    temperature: float = 1.0,
    backend: str = "auto",
    block: int = 4096,
) -> Iterator[Codes]:
    """Yield what the model plays after context, in blocks of codes, (streams, block) or fewer at the end.

    context: (streams, receptive_field) codes or more, what each stream goes on from. condition: what each
    stream is told, nothing if None; its frame_index is (streams, codes of the context + num_samples - 1): for
    each code but the last, the frame of the sample after it. guidance: 0 or more; 1 as told, 0 as if told
    nothing, above 1 more than told (see `GuidedWaveNet`); it takes twice the time unless it is 0 or 1.
    temperature: above 0; below 1 plays it safer. backend: numba (auto takes it), or reference, the plain
    torch one. The uniforms are those of `sampling.draw_uniforms(num_samples, streams, seed)`.
    Raises ConfigError on an unknown backend, a bad temperature or guidance, IncompatibleDataError on a
    context that is too short or a condition that does not fit; at once, not at the first block.
    """
    if backend not in BACKENDS:
        raise ConfigError(f"backend '{backend}' is unknown; expected {', '.join(BACKENDS)}")
    if not temperature > 0:
        raise ConfigError(f"temperature is {temperature}; expected a number above 0")
    check_guidance(guidance)
    _check_context(model, context)
    if condition is not None:
        check_condition(model, condition, len(context), context.shape[1] + num_samples - 1)
    advance = BACKENDS[backend](model, context, condition, guidance, temperature)
    streams = [np.random.default_rng([seed, stream]) for stream in range(len(context))]
    return _generate_blocks(advance, streams, num_samples, block, code_dtype(model.quantization_channels))


def _check_context(model: WaveNet, context: NDArray[np.integer]) -> None:
    if context.ndim != 2 or context.shape[1] < model.receptive_field:
        raise IncompatibleDataError(
            f"the context has shape {context.shape}; expected (streams, codes) with at least "
            f"{model.receptive_field} codes, the model's receptive field; put silence before a shorter one"
        )


def _generate_blocks(
    advance: Advance, streams: list[np.random.Generator], num_samples: int, block: int, dtype: np.dtype
) -> Iterator[Codes]:
    for start in range(0, num_samples, block):
        length = min(block, num_samples - start)
        uniforms = np.stack([stream.random(length) for stream in streams])
        yield advance(uniforms).astype(dtype)


def start_numba(
    model: WaveNet,
    context: NDArray[np.integer],
    condition: Condition | None,
    guidance: float,
    temperature: float,
) -> Advance:
    """The compiled kernel, streams side by side in as many threads as torch may use."""
    weights = cpu.pack_weights(model)
    streams = [
        tuple(
            cpu.begin_stream(model, weights, past, _of_stream(telling, i))
            for telling in list_tellings(condition, guidance)
        )
        for i, past in enumerate(context)
    ]
    num_threads = min(len(streams), torch.get_num_threads())

    def advance(uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
        codes = np.empty(uniforms.shape, np.int64)

        def advance_stream(i: int) -> None:
            cpu.generate_block(weights, streams[i], float(guidance), uniforms[i], temperature, codes[i])

        with ThreadPoolExecutor(num_threads) as pool:
            list(pool.map(advance_stream, range(len(streams))))
        return codes

    return advance


def start_reference(
    model: WaveNet,
    context: NDArray[np.integer],
    condition: Condition | None,
    guidance: float,
    temperature: float,
) -> Advance:
    """Plain torch, one stream after the other: batched, their number would change the rounding."""
    networks = [
        GuidedWaveNet(model, past[None], _of_stream(condition, i), guidance) for i, past in enumerate(context)
    ]

    def advance(uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
        codes = np.empty(uniforms.shape, np.int64)
        for i, network in enumerate(networks):
            for t, uniform in enumerate(uniforms[i]):
                codes[i, t] = choose_next(model, network.outputs, np.array([uniform]), temperature)[0]
                network.step(codes[i, t : t + 1])
        return codes

    return advance


def _of_stream(condition: Condition | None, stream: int) -> Condition | None:
    return condition and condition.select(slice(stream, stream + 1))


BACKENDS: dict[str, Start] = {
    "auto": start_numba,
    "numba": start_numba,
    "reference": start_reference,
}
