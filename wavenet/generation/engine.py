"""Generation: a model, contexts, conditions and a seed in, blocks of codes out.

Chooses the backend and draws the uniforms; knows nothing of files or waveforms. The invariant: a
stream's codes depend on the model, its context, what it is told, the seed, its number, how codes are
chosen, the guidance, backend and precision; not on the size of blocks, the number of streams or the
threads they run in. Played on from its own end, with the draws that were used passed over, it plays what it
would have played.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from wavenet.audio.mulaw import Codes, code_dtype
from wavenet.errors import ConfigError, IncompatibleDataError
from wavenet.generation import processor
from wavenet.generation.reference import GuidedWaveNet
from wavenet.generation.sampling import PLAINLY, Choice, choose_next, make_sources
from wavenet.generation.telling import check_condition, check_guidance
from wavenet.model.conditioning import Condition
from wavenet.model.wavenet import WaveNet

BLOCK = 4096
BACKENDS = ("auto", "compiled", "reference")
PRECISIONS = ("fp32", "bf16", "int8")

# From uniforms, (streams, samples), to codes of the same shape; goes on where the last call ended.
Advance = Callable[[NDArray[np.float64]], NDArray[np.int64]]


@dataclass(frozen=True)
class Player:
    """How streams are played. guidance: 1 as told, 0 as if told nothing, above 1 more than told.

    backend: compiled (auto takes it), or reference, the plain torch one. precision: of the compiled backend's
    weights. threads: as many as torch uses if None; streams are shared out among them.
    """

    choice: Choice = PLAINLY
    guidance: float = 1.0
    backend: str = "auto"
    precision: str = "fp32"
    threads: int | None = None

    def __post_init__(self) -> None:
        check_guidance(self.guidance)
        _expect_one("backend", self.backend, BACKENDS)
        _expect_one("precision", self.precision, PRECISIONS)
        if self.backend != "reference" and self.precision not in processor.list_precisions():
            raise ConfigError(
                f"precision {self.precision} has no fast instructions on this processor, or "
                f"{processor.SETTING} forbids them; use {' or '.join(processor.list_precisions())}"
            )


def _expect_one(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"{name} '{value}' is unknown; expected {', '.join(known)}")


PLAYER = Player()


def generate(model: WaveNet, context: NDArray[np.integer], num_samples: int, **options: object) -> Codes:
    """What the model plays after context, (streams, num_samples) codes. Options as for `generate_blocks`."""
    blocks = list(generate_blocks(model, context, num_samples, **options))  # type: ignore[arg-type]
    nothing = np.zeros((len(context), 0), code_dtype(model.quantization_channels))
    return np.concatenate([nothing, *blocks], axis=1)


def generate_blocks(
    model: WaveNet,
    context: NDArray[np.integer],
    num_samples: int,
    *,
    condition: Condition | None = None,
    seed: int = 0,
    player: Player = PLAYER,
    block: int = BLOCK,
    passed: int | Sequence[int] = 0,
    numbers: Sequence[int] | None = None,
) -> Iterator[Codes]:
    """Yield what the model plays after context, in blocks of codes, (streams, block) or fewer at the end.

    context: (streams, receptive_field) codes or more, what each stream goes on from. condition: what each
    stream is told, nothing if None; its frame_index is (streams, codes of the context + num_samples - 1): for
    each code but the last, the frame of the sample after it. The uniforms are those of
    `sampling.draw_uniforms(passed + num_samples, streams, seed)` after the first `passed`, which are of
    samples that were played before and lie in context: as many of all streams, or a number for each. numbers:
    which of the seed's streams they are; 0, 1, 2 ... if None. Raises ConfigError on options that do not fit
    the model, IncompatibleDataError on a context that is too short or a condition that does not fit; at once,
    not at the first block.
    """
    player.choice.check_model(model)
    _check_context(model, context)
    if condition is not None:
        check_condition(model, condition, len(context), context.shape[1] + num_samples - 1)
    start = _start_reference if player.backend == "reference" else _start_compiled
    advance = start(model, context, condition, player)
    streams = range(len(context)) if numbers is None else numbers
    counts = [passed] * len(streams) if isinstance(passed, int) else passed
    sources = make_sources(streams, seed, counts)
    return _advance_blocks(advance, sources, num_samples, block, code_dtype(model.quantization_channels))


def _check_context(model: WaveNet, context: NDArray[np.integer]) -> None:
    if context.ndim != 2 or context.shape[1] < model.receptive_field:
        raise IncompatibleDataError(
            f"the context has shape {context.shape}; expected (streams, codes) with at least "
            f"{model.receptive_field} codes, the model's receptive field; put silence before a shorter one"
        )


def _advance_blocks(
    advance: Advance, sources: list[np.random.Generator], num_samples: int, block: int, dtype: np.dtype
) -> Iterator[Codes]:
    for start in range(0, num_samples, block):
        length = min(block, num_samples - start)
        yield advance(np.stack([source.random(length) for source in sources])).astype(dtype)


def _start_compiled(
    model: WaveNet, context: NDArray[np.integer], condition: Condition | None, player: Player
) -> Advance:
    """Kernels, streams shared out among threads."""
    from wavenet.generation.kernels.band import begin_band  # numba takes seconds to load

    num_threads = min(len(context), player.threads or torch.get_num_threads())
    band = begin_band(model, context, condition, player.guidance, player.precision, num_threads)

    def advance(uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
        codes = np.empty(uniforms.shape, np.int64)
        with ThreadPoolExecutor(num_threads) as pool:
            list(pool.map(lambda part: part.play(uniforms[part.rows], player.choice, codes[part.rows]), band))
        return codes

    return advance


def _start_reference(
    model: WaveNet, context: NDArray[np.integer], condition: Condition | None, player: Player
) -> Advance:
    """Plain torch, one stream after the other: batched, their number would change the rounding."""
    networks = [
        GuidedWaveNet(model, past[None], condition and condition.select(slice(i, i + 1)), player.guidance)
        for i, past in enumerate(context)
    ]

    def advance(uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
        codes = np.empty(uniforms.shape, np.int64)
        for i, network in enumerate(networks):
            for t, uniform in enumerate(uniforms[i]):
                codes[i, t] = choose_next(model, network.outputs, np.array([uniform]), player.choice)[0]
                network.step(codes[i, t : t + 1])
        return codes

    return advance
