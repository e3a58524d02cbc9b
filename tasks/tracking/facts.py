"""What of a stem's records is told: its data set, its figures, its model.

Pure. The invariant: what is told depends on the records alone.
"""

import json
from pathlib import Path

from tasks.records import BaselinesRecord, ModelRecord, ShardsRecord
from tasks.tracking.entries import Data, Model
from tasks.tracking.words import heldout_digest
from wavenet.data.shards.format import Manifest
from wavenet.data.splits import SPLITS
from wavenet.model import CARD, WEIGHTS


def data_of(stem: str, shards: ShardsRecord, manifest: Manifest, folder: Path) -> Data:
    """A shard set as the data set of a run."""
    form = manifest.model_dump(include={"sample_rate", "quantization_channels", "segment_length"})
    profile = {split: manifest.num_samples(split) for split in SPLITS}
    source = {"uri": folder.as_uri() if isinstance(folder, Path) else str(folder)}
    return Data(
        name=f"{stem}-shards",
        digest=shards.digest,
        source=json.dumps(source),
        form=json.dumps(form),
        profile=json.dumps(profile),
    )


def final_figures(model: ModelRecord, baselines: BaselinesRecord) -> dict[str, float | None]:
    """A training's figures beside the baselines', but for those that its metrics end with."""
    return {
        "num_parameters": model.num_parameters,
        "seconds": model.seconds,
        **{f"{name}_bits": bits for name, bits in baselines.bits.models.items()},
        "best_simple_bits": baselines.bits.best[1],
        "bits_per_16_bit_sample": model.heldout_bits + baselines.bits.unresolved,
    }


def model_of(manifest: Manifest, model: ModelRecord, promote: bool) -> Model:
    """A stem's model as a version in the registry: the weights and their card."""
    facts = manifest.model_dump(include={"sample_rate", "quantization_channels", "law"})
    facts |= {"shards_digest": manifest.digest, "heldout_digest": heldout_digest(manifest)}
    told = {name: str(value) for name, value in facts.items()}
    return Model(
        stem=model.stem,
        digest=model.digest,
        folder=model.folder,
        files=[WEIGHTS, CARD],
        bits=model.heldout_bits,
        facts=told,
        params={"num_parameters": str(model.num_parameters), **told},
        promote=promote,
    )
