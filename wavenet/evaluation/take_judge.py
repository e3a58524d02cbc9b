"""All that a stem's takes are held against, and from what was played to a score.

Knows networks and codes; nothing of files. The invariants: a take is scored as what it was played by and
told: the same network, context and condition; and no more than two minutes of a take are looked at, so that
time and memory are bounded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wavenet.audio.mulaw import Codes
from wavenet.audio.quantization import Quantizer
from wavenet.evaluation.memorization import Memory, TrainingPrints, find_memory, join_memories
from wavenet.evaluation.ranges import Ranges, Spread
from wavenet.evaluation.sound import WINDOW_SECONDS
from wavenet.evaluation.take_scores import LikelihoodScore, TakeScore, score_likelihood, score_take

if TYPE_CHECKING:
    from wavenet.model.conditioning import Condition
    from wavenet.model.wavenet import WaveNet

MOST_PIECES = 30
"""Of a long take, each of one window: two minutes."""


@dataclass(frozen=True)
class Piece:
    """Some of a take, from sample `start` on.

    codes: (samples,) that were played; context: (receptive_field,) or more, what they went on from.
    condition: of one stream, as for `generate`: what they were told.
    """

    start: int
    codes: Codes
    context: Codes
    condition: "Condition | None" = None


def spread_pieces(num_samples: int, sample_rate: int) -> list[range]:
    """What of a take is scored: all of it up to two minutes, else 30 windows, spread from start to end."""
    length = round(WINDOW_SECONDS * sample_rate)
    if num_samples <= MOST_PIECES * length:
        return [range(num_samples)]
    last = num_samples - length
    starts = [i * last // (MOST_PIECES - 1) for i in range(MOST_PIECES)]
    return [range(start, start + length) for start in starts]


@dataclass(frozen=True)
class TakeJudge:
    """What a stem's training audio is like, and how likely its network finds held-out audio.

    heldout: as `measure_heldout_nats`. training: as `fingerprint_training`. Either may be None: that is then
    not judged.
    """

    quantizer: Quantizer
    ranges: Ranges
    heldout: Spread | None = None
    training: Sequence[TrainingPrints] | None = None

    def score(self, pieces: Sequence[Piece], num_samples: int, model: "WaveNet | None" = None) -> TakeScore:
        """The score of a take of so many samples, of which there are pieces, as `spread_pieces` has them.

        Where model is None, likelihood is not judged.
        """
        waveforms = [self.quantizer.decode(piece.codes) for piece in pieces]
        likelihood = None
        if model is not None and self.heldout is not None:
            likelihood = self._score_likelihood(pieces, model, self.heldout)
        memory = None if self.training is None else self._remember(pieces, waveforms, self.training)
        return score_take(waveforms, self.ranges, likelihood, memory, num_samples)

    def _score_likelihood(
        self, pieces: Sequence[Piece], model: "WaveNet", heldout: Spread
    ) -> LikelihoodScore:
        from wavenet.evaluation.take_likelihood import measure_nats  # torch takes seconds to import

        rate = self.ranges.sample_rate
        nats = [
            measure_nats(model, piece.context[None], piece.codes[None], piece.condition, rate)[0]
            for piece in pieces
        ]
        num_samples = sum(len(piece.codes) for piece in pieces)
        return score_likelihood(np.concatenate(nats), num_samples, rate, heldout)

    def _remember(
        self,
        pieces: Sequence[Piece],
        waveforms: Sequence[NDArray[np.float32]],
        training: Sequence[TrainingPrints],
    ) -> Memory:
        rate = self.ranges.sample_rate
        found = [find_memory(waveform, rate, training) for waveform in waveforms]
        if len(found) == 1:
            return found[0]
        return join_memories([piece.start / rate for piece in pieces], found)
