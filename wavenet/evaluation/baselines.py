"""The simplest models of a stem's codes, measured on the very samples that its network is scored on.

Knows shards and no network. The invariant: a baseline is fitted on training codes alone, and scored on
each held-out sample that has the network's whole context, and on no other.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from wavenet.audio.quantization import Quantizer
from wavenet.data.dataset import load_runs, scored_codes
from wavenet.data.shards.format import read_manifest
from wavenet.evaluation.context_models import context_bits
from wavenet.evaluation.metrics import uniform_bits, unigram_bits, unresolved_bits


class Baselines(BaseModel):
    """Bits per sample of held-out audio.

    uniform: knowing nothing. unigram: how often each level occurs. order2, order4: what follows the last
    two and four samples. unresolved: what the levels leave open of a 16-bit sample; added to any figure, it
    compares with figures of other levels and laws (see `unresolved_bits`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    uniform: float
    unigram: float
    order2: float
    order4: float
    unresolved: float

    @property
    def models(self) -> dict[str, float]:
        """Bits by the name of each model, the one that knows least first."""
        return self.model_dump(exclude={"unresolved"})

    @property
    def best(self) -> tuple[str, float]:
        """The name and the bits of the strongest."""
        return min(self.models.items(), key=lambda item: item[1])


def measure_baselines(shards: Path, receptive_field: int) -> Baselines:
    """Baselines of a shard set, for networks of a receptive field, in samples."""
    manifest = read_manifest(shards)
    levels = manifest.quantization_channels
    train, heldout = load_runs(shards, "train"), load_runs(shards, "heldout")
    scored = scored_codes(heldout, receptive_field)
    orders = context_bits(
        [run.codes for run in train], [run.codes for run in heldout], receptive_field, levels
    )
    return Baselines(
        uniform=uniform_bits(levels),
        unigram=unigram_bits(scored_codes(train, 0), scored, levels),
        order2=orders["order2_bits"],
        order4=orders["order4_bits"],
        unresolved=unresolved_bits(scored, Quantizer(manifest.law, levels)),
    )
