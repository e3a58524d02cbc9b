"""From logits and uniforms to codes. Randomness is drawn here and nowhere deeper.

The invariant: one uniform a sample and stream, drawn ahead, so that every way of computing logits
makes the same choice from the same numbers.
"""

import numpy as np
from numpy.typing import NDArray


def draw_uniforms(num_samples: int, num_streams: int, seed: int) -> NDArray[np.float64]:
    """(num_samples, num_streams) in [0, 1). A stream's numbers do not depend on how many there are."""
    streams = [np.random.default_rng([seed, stream]).random(num_samples) for stream in range(num_streams)]
    return np.stack(streams, axis=1)


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
