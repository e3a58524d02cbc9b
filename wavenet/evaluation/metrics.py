"""What a model's held-out bits are measured against.

Knows codes only. The invariant: a baseline sees what the model sees: it is fitted on training codes
and scored on exactly the held-out samples that the model was scored on.
"""

import math

import numpy as np
from numpy.typing import NDArray

PART = 1 << 20


def uniform_bits(quantization_channels: int) -> float:
    """Bits per sample of knowing nothing: log2 of the number of levels."""
    return math.log2(quantization_channels)


def unigram_bits(
    train: NDArray[np.integer], heldout: NDArray[np.integer], quantization_channels: int
) -> float:
    """Bits per sample of knowing how often each level occurs in training.

    train, heldout: (samples,) codes. Counts have one added (Laplace), so an unseen level has a price
    and not an infinite one.
    """
    counts = np.ones(quantization_channels, np.int64)
    for part in np.array_split(train, len(train) // PART + 1):  # bincount copies to int64
        counts += np.bincount(part, minlength=quantization_channels)
    bits = -np.log2(counts / counts.sum())
    return float(bits[heldout].mean())
