"""Training: from a stem's shards to its model, measured on held-out audio beside its baselines."""

import shutil
from pathlib import Path

from tasks.caching import cached_task
from tasks.progress import TrainingProgress
from tasks.records import ModelRecord, ShardsRecord, WeightsRecord
from tasks.session import run_session
from tasks.tracking import metrics_mirror
from tasks.workspace import Workspace
from wavenet.config import ModelConfig, StemConfig, TrainingConfig
from wavenet.data.dataset import load_runs, scored_codes
from wavenet.data.shards.format import read_manifest
from wavenet.evaluation.metrics import uniform_bits, unigram_bits
from wavenet.evaluation.plots import plot_loss
from wavenet.files import digest_folder, write_json
from wavenet.model import CARD, WEIGHTS
from wavenet.session.job import SAMPLES, Job
from wavenet.training.metrics import METRICS, read_metrics

FIGURES, LOSS_CURVE = "figures.json", "loss.png"


@cached_task(version="1", run_name="train-{stem}", ignore=["tracking_run"])
def train(
    workspace: Workspace,
    scratch: Path,
    stem: str,
    shards: ShardsRecord,
    model: ModelConfig,
    training: TrainingConfig,
    init: WeightsRecord | None,
    tracking_run: str | None,
) -> ModelRecord:
    """Train one stem's network, going on from the checkpoint of an interrupted run of the same key.

    In a process of its own, which ends with this one.
    """
    job = Job(
        stem=stem,
        shards=str(workspace.path(shards.folder)),
        shards_digest=shards.digest,
        folder=scratch,
        config=StemConfig(model=model, training=training),
        init=workspace.path(init.folder) if init else None,
    )
    with metrics_mirror(workspace, tracking_run) as mirror:
        trained, result = run_session(
            job, [TrainingProgress(stem, training.steps), mirror], training.processes
        )
    figures = {
        "heldout_bits": result.heldout_bits,
        **measure_baselines(workspace.path(shards.folder), model.receptive_field),
        "num_parameters": result.num_parameters,
        "seconds": result.seconds,
    }
    with workspace.new_folder("models") as folder:
        shutil.copytree(trained, folder, dirs_exist_ok=True)
        digest = digest_folder(folder, [WEIGHTS, CARD])
        write_json(
            folder / FIGURES, {**figures, "training": training.model_dump(), "transfer": result.transfer}
        )
        shutil.copy(scratch / METRICS, folder / METRICS)
        if (scratch / SAMPLES).is_dir():
            shutil.copytree(scratch / SAMPLES, folder / SAMPLES)
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
