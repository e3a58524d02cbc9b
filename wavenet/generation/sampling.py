"""From what the network says and uniforms to codes. Randomness is drawn here and nowhere deeper.

The invariant: one uniform a sample and stream, drawn ahead, so that every way of computing outputs
makes the same choice from the same numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from wavenet.errors import ConfigError
from wavenet.model.layers import is_mixture
from wavenet.model.outputs import LEAST_LOG_SCALE, PARAMETERS_A_LOGISTIC
from wavenet.model.wavenet import WaveNet


@dataclass(frozen=True)
class Choice:
    """How a code is chosen from a distribution over levels.

    temperature: above 0; logits are divided by it, so that below 1 likely levels become likelier. top_k: the
    likeliest levels that may be chosen, all if 0. top_p: of these, the likeliest that together have this
    share of the probability at the temperature, at least one (nucleus sampling: Holtzman et al. 2020). Of
    levels as likely as each other the lower comes first. Raises ConfigError on values out of range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ConfigError(f"temperature is {self.temperature}; expected a number above 0")
        if self.top_k < 0:
            raise ConfigError(f"top_k is {self.top_k}; expected 0, for all levels, or how many may be chosen")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p is {self.top_p}; expected a share of the probability, above 0 up to 1")

    @property
    def narrows(self) -> bool:
        """Whether some levels may not be chosen."""
        return self.top_k > 0 or self.top_p < 1

    def check_model(self, model: WaveNet) -> None:
        """Raises ConfigError where a model's outputs know no single levels to leave out."""
        if self.narrows and is_mixture(model.config):
            raise ConfigError(
                "top_k and top_p leave out levels, which a mixture of logistics has not one by one; lower "
                "the temperature instead, or train with model.output=softmax"
            )


PLAINLY = Choice()


def draw_uniforms(num_samples: int, num_streams: int, seed: int) -> NDArray[np.float64]:
    """(num_samples, num_streams) in [0, 1). A stream's numbers do not depend on how many there are."""
    return np.stack([source.random(num_samples) for source in make_sources(range(num_streams), seed)], axis=1)


def make_sources(
    numbers: Sequence[int], seed: int, passed: Sequence[int] | None = None
) -> list[np.random.Generator]:
    """What the uniforms of these streams are drawn from. passed: draws of each to pass over."""
    sources = []
    for number, count in zip(numbers, passed or [0] * len(numbers), strict=True):
        bits = np.random.PCG64([seed, number])
        bits.advance(count)  # one step a uniform
        sources.append(np.random.Generator(bits))
    return sources


def choose_next(
    model: WaveNet, outputs: NDArray[np.floating], uniforms: NDArray[np.float64], choice: Choice = PLAINLY
) -> NDArray[np.int64]:
    """Codes, (streams,), from a model's outputs, (streams, outputs), whatever kind they are."""
    if is_mixture(model.config):
        return choose_logistic_codes(outputs, uniforms, model.quantization_channels, choice.temperature)
    return choose_codes(outputs, uniforms, choice)


def choose_codes(
    logits: NDArray[np.floating], uniforms: NDArray[np.float64], choice: Choice = PLAINLY
) -> NDArray[np.int64]:
    """Invert the cumulative distribution at each uniform.

    logits: (streams, levels); uniforms: (streams,) in [0, 1). Returns (streams,) codes: the first
    whose cumulative probability exceeds the uniform.
    """
    scaled = logits.astype(np.float64) / choice.temperature
    weights = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    if choice.narrows:
        weights = np.stack([narrow(row, choice.top_k, choice.top_p) for row in weights])
    cumulative = np.cumsum(weights, axis=1)
    chosen = (cumulative <= uniforms[:, None] * cumulative[:, -1:]).sum(axis=1)
    return np.minimum(chosen, logits.shape[1] - 1)


def narrow(weights: NDArray[np.float64], top_k: int, top_p: float) -> NDArray[np.float64]:
    """Weights of levels, (levels,), with those at 0 that `Choice` leaves out."""
    order = np.argsort(-weights, kind="stable")[: top_k or len(weights)]
    before = np.cumsum(weights[order]) - weights[order]
    kept = order[before < top_p * weights[order].sum()]
    narrowed = np.zeros_like(weights)
    narrowed[kept] = weights[kept]
    return narrowed


def choose_logistic_codes(
    outputs: NDArray[np.floating],
    uniforms: NDArray[np.float64],
    quantization_channels: int,
    temperature: float = 1.0,
) -> NDArray[np.int64]:
    """`choose_codes` for the mixture of `outputs.logistics_log_likelihood`: bisection over levels.

    outputs: (streams, 3 * mixtures); uniforms: (streams,) in [0, 1). Temperature divides the logits of the
    weights and multiplies the scales: weights are those of a softmax at this temperature, and each logistic's
    tails fall as those of its density to the power of 1 / temperature do. At 1 the distribution is exactly
    the model's.
    """
    logits, means, log_scales = np.split(outputs.astype(np.float64), PARAMETERS_A_LOGISTIC, axis=1)
    weights = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
    sharpness = np.exp(-np.maximum(log_scales, LEAST_LOG_SCALE)) / temperature
    sought = uniforms * weights.sum(axis=1)
    low, high = np.zeros(len(outputs), np.int64), np.full(len(outputs), quantization_channels - 1)
    while (low < high).any():
        middle = (low + high) // 2
        upper = (2 * middle + 1) / (quantization_channels - 1) - 1  # the border to the next level
        below = (weights * expit(sharpness * (upper[:, None] - means))).sum(axis=1)
        exceeds = (below > sought) | (low == high)  # what is found stays
        low, high = np.where(exceeds, low, middle + 1), np.where(exceeds, middle, high)
    return low
