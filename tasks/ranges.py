"""What a stem's takes are held against: three tasks, since each depends on less than a take does.

Ranges and fingerprints are of the shards alone, the likelihood of held-out audio of shards and network: so
another seed, or another length of takes, measures none of them again.
"""

from tasks.caching import cached_task
from tasks.records import LikelihoodRecord, PrintsRecord, RangesRecord, ShardsRecord, WeightsRecord
from tasks.workspace import Workspace
from wavenet.audio.quantization import Quantizer
from wavenet.data.shards.format import read_manifest
from wavenet.evaluation.memorization import (
    INDEX,
    PRINTS,
    fingerprint_training,
    load_prints,
    save_prints,
)
from wavenet.evaluation.ranges import measure_ranges
from wavenet.evaluation.take_judge import TakeJudge
from wavenet.files import digest_folder, digest_json, write_json

RANGES, LIKELIHOOD = "ranges.json", "likelihood.json"


@cached_task(version="1", run_name="ranges-{stem}")
def ranges(workspace: Workspace, stem: str, shards: ShardsRecord) -> RangesRecord:
    """Measure how a stem's training audio sounds."""
    measured = measure_ranges(workspace.path(shards.folder))
    values = measured.model_dump()
    with workspace.new_folder("ranges") as folder:
        write_json(folder / RANGES, values)
        digest = digest_json(values)
        place = workspace.publish(folder, digest, stem)
        return RangesRecord(digest=digest, folder=place, ranges=measured)


@cached_task(version="1", run_name="prints-{stem}")
def prints(workspace: Workspace, stem: str, shards: ShardsRecord) -> PrintsRecord:
    """Take the fingerprints of a stem's training audio."""
    stretches = fingerprint_training(workspace.path(shards.folder))
    with workspace.new_folder("prints") as folder:
        save_prints(stretches, folder)
        digest = digest_folder(folder, [PRINTS, INDEX])
        place = workspace.publish(folder, digest, stem)
        return PrintsRecord(digest=digest, folder=place, num_stretches=len(stretches))


@cached_task(version="1", run_name="likelihood-{stem}")
def likelihood(
    workspace: Workspace, stem: str, model: WeightsRecord, shards: ShardsRecord
) -> LikelihoodRecord:
    """Measure how likely a stem's network finds its held-out audio, second by second."""
    from wavenet.evaluation.take_likelihood import measure_heldout_nats  # torch takes seconds to import
    from wavenet.model.saved import load_model

    network, _ = load_model(workspace.path(model.folder))
    nats = measure_heldout_nats(network, workspace.path(shards.folder))
    with workspace.new_folder("likelihoods") as folder:
        write_json(folder / LIKELIHOOD, nats.model_dump())
        digest = digest_json(nats.model_dump())
        place = workspace.publish(folder, digest, stem)
        return LikelihoodRecord(digest=digest, folder=place, nats=nats)


def load_judge(
    workspace: Workspace,
    shards: ShardsRecord,
    known: RangesRecord,
    training: PrintsRecord | None = None,
    heldout: LikelihoodRecord | None = None,
) -> TakeJudge:
    """What scores a stem's takes, from the records of the three tasks; what is None is not judged."""
    manifest = read_manifest(workspace.path(shards.folder))
    return TakeJudge(
        quantizer=Quantizer(manifest.law, manifest.quantization_channels),
        ranges=known.ranges,
        heldout=heldout and heldout.nats,
        training=training and load_prints(workspace.path(training.folder)),
    )
