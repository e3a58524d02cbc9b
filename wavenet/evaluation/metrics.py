"""What a model's held-out bits are measured against, and how much of a signal is in an estimate of it.

Knows codes and waveforms only. The invariant: a baseline sees what the model sees: it is fitted on training
codes and scored on exactly the held-out samples that the model was scored on.
"""

import math

import numpy as np
from numpy.typing import NDArray

from wavenet.audio.quantization import Quantizer

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


def unresolved_bits(codes: NDArray[np.integer], quantizer: Quantizer) -> float:
    """What levels leave open of a sample of 16 bits, in bits per sample, on the average of codes.

    A level as wide as 2^k steps of 16-bit audio leaves k bits open, if all amplitudes in it are alike. Bits
    of codes and these together are the price of the 16-bit sample, whatever the levels and the law: the
    differential entropy of the waveform, plus 15. Below zero where levels are finer than 16 bits.
    """
    borders = (quantizer.table[1:].astype(np.float64) + quantizer.table[:-1]) / 2
    widths = np.diff(np.concatenate([[-1.0], borders, [1.0]]))
    occurs = np.bincount(codes.ravel(), minlength=len(widths)) / codes.size
    return float(occurs @ (np.log2(np.maximum(widths, 2.0**-40)) + 15))


def si_sdr(reference: NDArray[np.floating], estimate: NDArray[np.floating]) -> float:
    """Scale-invariant signal-to-distortion ratio of an estimate, dB; higher is better.

    reference, estimate: (time,) or (time, channels), all channels scaled by one factor; means are removed
    from each channel. An estimate that is the reference at any level has infinity, one that has nothing of
    it minus infinity. Raises ValueError on different shapes and on a reference that is constant. Le Roux et
    al., "SDR - half-baked or well done?", ICASSP 2019.
    """
    if reference.shape != estimate.shape:
        raise ValueError(f"a reference of shape {reference.shape} and an estimate of {estimate.shape}")
    if not np.ptp(reference, axis=0).max() > 0:
        raise ValueError("the reference is silent or constant: nothing can be like it")
    target, guess = (signal.astype(np.float64) - signal.mean(axis=0) for signal in (reference, estimate))
    projection = (guess * target).sum() / np.square(target).sum() * target
    kept, rest = np.square(projection).sum(), np.square(guess - projection).sum()
    if not kept > 0:
        return -math.inf
    return 10 * math.log10(kept / rest) if rest > 0 else math.inf
