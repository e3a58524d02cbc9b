"""Evaluation: what a stem's network makes of audio that it was trained on, and of audio that it was not."""

from pathlib import Path
from typing import TYPE_CHECKING

from tasks.caching import cached_task
from tasks.records import EvaluationRecord, ShardsRecord, WeightsRecord
from tasks.workspace import Workspace
from wavenet.data.shards.format import read_manifest
from wavenet.data.splits import Split
from wavenet.files import digest_json, write_json

if TYPE_CHECKING:
    from wavenet.model.wavenet import WaveNet

FIGURES = "evaluation.json"
SCORED_LENGTH = 8192
MOST_TRAINING_WINDOWS = 64
"""Of what it was trained on, spread evenly: some minutes of audio, compared with all that is held out."""
TOLD_NOTHING = "_told_nothing"


@cached_task(version="1", run_name="evaluate-{stem}")
def evaluate(workspace: Workspace, stem: str, model: WeightsRecord, shards: ShardsRecord) -> EvaluationRecord:
    """Measure a stem's network anew, from its weights, on each split of its shards."""
    from wavenet.model.saved import load_model  # torch takes seconds to import

    network, _ = load_model(workspace.path(model.folder))
    folder = workspace.path(shards.folder)
    bits: dict[str, float] = {}
    for split in ("heldout", "test", "train"):
        if read_manifest(folder).num_segments(split):
            bits |= score_split(network, folder, split)
    with workspace.new_folder("evaluations") as made:
        write_json(made / FIGURES, bits)
        digest = digest_json(bits)
        return EvaluationRecord(digest=digest, folder=workspace.publish(made, digest, stem), bits=bits)


def score_split(network: "WaveNet", shards: Path, split: Split) -> dict[str, float]:
    """Bits per sample of a split by its name; and told nothing, where the network can be told something."""
    from wavenet.training.likelihood import score_windows
    from wavenet.training.windows import HeldoutWindows

    windows = HeldoutWindows(shards, network.receptive_field, SCORED_LENGTH, network.form, split)
    count = MOST_TRAINING_WINDOWS if split == "train" else None
    bits = {split: score_windows(network, windows.batches(1, count))}
    if network.form:
        untold = (window.untold() for window in windows.batches(1, count))
        bits[split + TOLD_NOTHING] = score_windows(network, untold)
    return bits
