"""All that a stem's takes are held against, and from codes that were played to their scores.

Knows networks and codes; nothing of files. The invariant: a take is scored as what it was played by and told:
the same network, context and condition.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wavenet.audio.quantization import Quantizer
from wavenet.evaluation.memorization import TrainingPrints, find_memory
from wavenet.evaluation.ranges import Ranges, Spread
from wavenet.evaluation.take_scores import LikelihoodScore, TakeScore, score_likelihood, score_take

if TYPE_CHECKING:
    from wavenet.model.conditioning import Condition
    from wavenet.model.wavenet import WaveNet


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

    def score(
        self,
        codes: NDArray[np.integer],
        model: "WaveNet | None" = None,
        context: NDArray[np.integer] | None = None,
        condition: "Condition | None" = None,
    ) -> list[TakeScore]:
        """The score of each stream. codes: (streams, samples) that were played.

        model, context, condition: as `generate` was given them, context (streams, receptive_field) or more.
        Where model or context is None, likelihood is not judged.
        """
        likelihoods: list[LikelihoodScore | None] = [None] * len(codes)
        if model is not None and context is not None and self.heldout is not None:
            likelihoods = list(self._score_likelihoods(codes, model, context, condition, self.heldout))
        return [self._score(row, one) for row, one in zip(codes, likelihoods, strict=True)]

    def _score(self, codes: NDArray[np.integer], likelihood: LikelihoodScore | None) -> TakeScore:
        waveform = self.quantizer.decode(codes)
        rate = self.ranges.sample_rate
        memory = None if self.training is None else find_memory(waveform, rate, self.training)
        return score_take(waveform, self.ranges, likelihood, memory)

    def _score_likelihoods(
        self,
        codes: NDArray[np.integer],
        model: "WaveNet",
        context: NDArray[np.integer],
        condition: "Condition | None",
        heldout: Spread,
    ) -> list[LikelihoodScore]:
        from wavenet.evaluation.take_likelihood import measure_nats  # torch takes seconds to import

        rate, num_samples = self.ranges.sample_rate, codes.shape[1]
        nats = measure_nats(model, context, codes, condition, rate)
        return [score_likelihood(row, num_samples, rate, heldout) for row in nats]
