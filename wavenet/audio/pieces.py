"""Long signals in overlapping pieces, and the pieces as one signal again.

Knows nothing of what is done to the pieces. The invariant: where pieces lie depends on lengths alone, and
they are weighted with what sums to one, so that a sum of signals is joined as each of them is.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Signals = NDArray[np.float32]


@dataclass(frozen=True)
class Overlap:
    """What two neighbours share, in samples: the margin of the later, a fade, the margin of the earlier.

    A margin is what had too little around it; it is heard from the other piece.
    """

    margin: int
    fade: int

    @property
    def length(self) -> int:
        return 2 * self.margin + self.fade


def cut_pieces(num_samples: int, hop_length: int, overlap: Overlap) -> list[range]:
    """The samples of each piece: one begins every hop_length, and all but the last overlap their next.

    hop_length is at least margin + fade, so that no more than two pieces are heard at once.
    """
    if hop_length < overlap.margin + overlap.fade:
        raise ValueError(f"hop_length {hop_length} is less than {overlap.margin} + {overlap.fade}")
    starts = range(0, max(1, num_samples - overlap.length), hop_length)
    return [range(start, min(num_samples, start + hop_length + overlap.length)) for start in starts]


def join_pieces(pieces: Iterable[Signals], overlap: Overlap) -> Iterator[Signals]:
    """What was cut as `cut_pieces` says, as parts from start to end, holding one piece.

    pieces, parts: (signals, time, channels).
    """
    margin, heard = overlap.margin, overlap.margin + overlap.fade
    rising = ((np.arange(overlap.fade, dtype=np.float32) + 0.5) / max(1, overlap.fade))[:, None]
    end: Signals | None = None  # of the piece before: what it shares with this one
    for piece in pieces:
        if end is not None:
            yield end[:, :margin]
            falling = end[:, margin:heard]
            yield falling + rising * (piece[:, margin:heard] - falling)
            piece = piece[:, heard:]
        alone = max(0, piece.shape[1] - overlap.length)
        yield piece[:, :alone]
        end = piece[:, alone:].copy()
        del piece  # or it would be held while the next is made
    if end is not None:
        yield end
