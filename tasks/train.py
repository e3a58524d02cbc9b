"""Training: from a stem's shards to its model, measured on held-out audio beside its baselines."""

import shutil
from pathlib import Path

from tasks.caching import cached_task
from tasks.progress import TrainingProgress
from tasks.records import ModelRecord, ShardsRecord
from tasks.tracking import metrics_mirror
from tasks.workspace import Workspace
from wavenet.config import ModelConfig, StemConfig, TrainingConfig
from wavenet.data.dataset import load_runs, scored_codes
from wavenet.data.shards.format import read_manifest
from wavenet.evaluation.metrics import uniform_bits, unigram_bits
from wavenet.evaluation.plots import plot_loss
from wavenet.files import digest_folder, write_json
from wavenet.training.metrics import read_metrics

FIGURES, LOSS_CURVE = "figures.json", "loss.png"


@cached_task(version="1", run_name="train-{stem}", ignore=["tracking_run"])
def train(
    workspace: Workspace,
    scratch: Path,
    stem: str,
    shards: ShardsRecord,
    model: ModelConfig,
    training: TrainingConfig,
    tracking_run: str | None,
) -> ModelRecord:
    """Train one stem's network, going on from the checkpoint of an interrupted run of the same key."""
    from wavenet.model.saved import CARD, WEIGHTS, SavedModel, save_model  # torch takes seconds
    from wavenet.model.wavenet import count_parameters
    from wavenet.training.loop import METRICS, train_model

    shard_folder = workspace.path(shards.folder)
    config = StemConfig(model=model, training=training)
    with metrics_mirror(workspace, tracking_run) as mirror:
        reporters = [TrainingProgress(stem, training.steps), mirror]
        network, heldout_bits, seconds = train_model(shard_folder, scratch, config, reporters)
    manifest = read_manifest(shard_folder)
    card = SavedModel(
        stem=stem,
        sample_rate=manifest.sample_rate,
        shards_digest=shards.digest,
        model=model,
        quantization_channels=manifest.quantization_channels,
        law=manifest.law,
    )
    figures = {
        "heldout_bits": heldout_bits,
        **measure_baselines(shard_folder, model.receptive_field),
        "num_parameters": count_parameters(network),
        "seconds": round(seconds, 1),
    }
    with workspace.new_folder("models") as folder:
        save_model(network, card, folder)
        digest = digest_folder(folder, [WEIGHTS, CARD])
        write_json(folder / FIGURES, {**figures, "training": training.model_dump()})
        shutil.copy(scratch / METRICS, folder / METRICS)
        name = digest_folder(folder, [WEIGHTS, CARD, METRICS])  # other metrics, another folder
        baselines = {kind: figures[f"{kind}_bits"] for kind in ("uniform", "unigram")}
        plot_loss(read_metrics(folder / METRICS), baselines, folder / LOSS_CURVE)
        return ModelRecord(digest=digest, folder=workspace.publish(folder, name, stem), stem=stem, **figures)


def measure_baselines(shards: Path, receptive_field: int) -> dict[str, float]:
    """Bits per sample of the simplest models, on the very samples that the network is scored on."""
    levels = read_manifest(shards).quantization_channels
    train_codes = scored_codes(load_runs(shards, "train"), 0)
    heldout_codes = scored_codes(load_runs(shards, "heldout"), receptive_field)
    return {
        "uniform_bits": uniform_bits(levels),
        "unigram_bits": unigram_bits(train_codes, heldout_codes, levels),
    }
