"""Context models over codes: the price of knowing the last few samples and nothing else.

The bits of a code are predicted one after the other, highest first, so that neighbouring levels share what
was heard. In the model of order k, a bit that followed the same k codes and the same higher bits `alike`
times in training, and had this value `same` times, has the probability

    p_k = (same + STRENGTH * p_(k-1)) / (alike + STRENGTH)

where p_(k-1) is that of the next lower order; below order 0 all levels are equally likely. This is the
hierarchical Dirichlet model of MacKay and Peto (1995) on the binary tree of levels (a Polya tree: Lavine
1992). The invariants: the probabilities of all levels sum to 1 after every context; nothing is learnt from
the codes that are scored; no context crosses the beginning of a run.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from wavenet.audio.mulaw import Codes

ORDERS = (2, 4)
"""The orders whose bits are reported."""
STRENGTH = 32.0
"""What the lower order says counts like so many observations. On unseen songs 8 to 128 differ by 1 to 3%:
docs/experiments.md, 2026-11-25."""
MAX_GRAMS = 1 << 26
"""Places in training codes that are counted, 70 minutes at 16 kHz: half a gigabyte, about a minute."""
CONTEXT_BITS = 10
"""Of each code of a context, its upper ones: all up to 1024 levels. Four and a 16-bit code make one gram."""
PART = 1 << 22


def context_bits(
    train: Sequence[Codes], heldout: Sequence[Codes], receptive_field: int, quantization_channels: int
) -> dict[str, float]:
    """Bits per sample of the models of ORDERS, as `order2_bits` and so on.

    train, heldout: runs of codes, (time,) each. Of each held-out run, what comes after its first
    receptive_field samples is scored, and those samples are context: just what the network is scored on.
    See `price_codes` for what is bounded. Raises ValueError where nothing is left to score.
    """
    if not any(len(run) > receptive_field for run in heldout):
        raise ValueError(f"no held-out run is longer than its context of {receptive_field} samples")
    prices = price_codes(train, heldout, receptive_field, quantization_channels, max(ORDERS))
    means = [float(bits.mean()) for bits in prices]
    return {f"order{order}_bits": means[order] for order in ORDERS}


def price_codes(
    train: Sequence[Codes],
    heldout: Sequence[Codes],
    receptive_field: int,
    quantization_channels: int,
    highest_order: int,
) -> Iterator[NDArray[np.float64]]:
    """The bits of each scored code, (scored,), by the models of order 0, 1, ... highest_order.

    Where a run has fewer codes before a scored one than an order looks at, that order says what the one
    below it says. Of more than MAX_GRAMS training codes every second, third ... is counted, each after its
    whole context, so that all of the music has its share. Above 1024 levels, contexts are the upper 10 bits
    of codes. Memory: 8 bytes a training code that is counted, 4 a bit of each scored one.
    """
    from wavenet.evaluation.context_loops import refine_chances, sum_prices  # numba takes seconds to load

    scored = np.concatenate([run[receptive_field:] for run in heldout])
    chances = uniform_chances(quantization_channels)[scored]
    stride = -(-sum(map(len, train)) // MAX_GRAMS) or 1
    for order in range(highest_order + 1):
        known = _gather_grams(train, order, stride, order, chances.shape[1])
        known.sort()
        grams = _gather_grams(heldout, max(receptive_field, order), 1, order, chances.shape[1])
        places = _places(heldout, receptive_field, order)
        for begin in range(0, len(grams), PART):
            part = grams[begin : begin + PART]
            ascending = np.argsort(part)
            own = places[begin : begin + PART]
            refine_chances(known, part[ascending], own[ascending], STRENGTH, chances)
        prices = np.empty(len(scored))
        sum_prices(chances, prices)
        yield prices


def uniform_chances(quantization_channels: int) -> NDArray[np.float32]:
    """The probability of each bit of each level where all levels are equally likely, (levels, bits).

    Half where the levels are a power of two; else the share of levels on that side. Highest bit first.
    """
    bits = (quantization_channels - 1).bit_length()
    levels = np.arange(quantization_channels)[:, None]
    widths = 1 << np.arange(bits, -1, -1)  # levels that agree in the upper 0, 1, ... bits, were all there
    begins = levels // widths * widths
    there = np.minimum(begins + widths, quantization_channels) - begins
    return (there[:, 1:] / there[:, :-1]).astype(np.float32)


def _gather_grams(
    runs: Sequence[Codes], first: int, stride: int, order: int, bits: int
) -> NDArray[np.uint64]:
    """The grams that end at first, first + stride, ... of each run, joined."""
    from wavenet.evaluation.context_loops import fill_grams

    width = min(bits, CONTEXT_BITS)
    counts = [len(range(first, len(run), stride)) for run in runs]
    grams = np.empty(sum(counts), np.uint64)
    ends = np.cumsum(counts)
    for run, count, end in zip(runs, counts, ends, strict=True):
        fill_grams(run, first, stride, order, width, bits, grams[end - count : end])
    return grams


def _places(heldout: Sequence[Codes], receptive_field: int, order: int) -> NDArray[np.int64]:
    """Which of the scored codes have `order` codes before them in their run."""
    lengths = (max(0, len(run) - receptive_field) for run in heldout)
    return np.flatnonzero(
        np.concatenate([np.arange(length) >= order - receptive_field for length in lengths])
    )
