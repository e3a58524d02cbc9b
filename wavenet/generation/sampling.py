"""From what the network says and uniforms to codes. Randomness is drawn here and nowhere deeper.

The invariant: one uniform a sample and stream, drawn ahead, so that every way of computing outputs
makes the same choice from the same numbers.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from wavenet.model.layers import is_mixture
from wavenet.model.outputs import LEAST_LOG_SCALE, PARAMETERS_A_LOGISTIC
from wavenet.model.wavenet import WaveNet


def draw_uniforms(num_samples: int, num_streams: int, seed: int) -> NDArray[np.float64]:
    """(num_samples, num_streams) in [0, 1). A stream's numbers do not depend on how many there are."""
    streams = [np.random.default_rng([seed, stream]).random(num_samples) for stream in range(num_streams)]
    return np.stack(streams, axis=1)


def choose_next(
    model: WaveNet, outputs: NDArray[np.floating], uniforms: NDArray[np.float64], temperature: float = 1.0
) -> NDArray[np.int64]:
    """Codes, (streams,), from a model's outputs, (streams, outputs), whatever kind they are."""
    if is_mixture(model.config):
        return choose_logistic_codes(outputs, uniforms, model.quantization_channels, temperature)
    return choose_codes(outputs, uniforms, temperature)


def choose_codes(
    logits: NDArray[np.floating], uniforms: NDArray[np.float64], temperature: float = 1.0
) -> NDArray[np.int64]:
    """Invert the cumulative distribution at each uniform.

    logits: (streams, levels); uniforms: (streams,) in [0, 1). Returns (streams,) codes: the first
    whose cumulative probability exceeds the uniform.
    """
    scaled = logits.astype(np.float64) / temperature
    weights = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    cumulative = np.cumsum(weights, axis=1)
    chosen = (cumulative <= uniforms[:, None] * cumulative[:, -1:]).sum(axis=1)
    return np.minimum(chosen, logits.shape[1] - 1)


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
