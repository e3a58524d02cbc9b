"""Training: from a stem's shards to its model, measured on held-out audio."""

import shutil
from pathlib import Path

from tasks.caching import cached_task
from tasks.progress import TrainingProgress
from tasks.records import BaselinesRecord, ModelRecord, ShardsRecord, WeightsRecord
from tasks.remote import RemoteWorkspace
from tasks.session import run_session
from tasks.shared_checkpoints import shared_checkpoints
from tasks.tracking import metrics_mirror
from tasks.workspace import Workspace
from wavenet.config import ModelConfig, StemConfig, TrainingConfig
from wavenet.errors import ConfigError
from wavenet.evaluation.plots import plot_loss
from wavenet.files import digest_folder, write_json
from wavenet.model import CARD, WEIGHTS
from wavenet.session.job import SAMPLES, Job
from wavenet.training.metrics import METRICS, read_metrics

FIGURES, LOSS_CURVE = "figures.json", "loss.png"


@cached_task(version="3", run_name="train-{stem}", ignore=["tracking_run", "baselines"])
def train(
    workspace: Workspace,
    scratch: Path,
    stem: str,
    shards: ShardsRecord,
    model: ModelConfig,
    training: TrainingConfig,
    baselines: BaselinesRecord,
    init: WeightsRecord | None,
    tracking_run: str | None,
) -> ModelRecord:
    """Train one stem's network, going on from the checkpoint of an interrupted run of the same key.

    In a process of its own, which ends with this one. baselines: what its figures are shown beside.
    """
    _check_nodes(workspace, training)
    job = Job(
        stem=stem,
        shards=str(workspace.path(shards.folder)),
        shards_digest=shards.digest,
        folder=scratch,
        config=StemConfig(model=model, training=training),
        init=workspace.path(init.folder) if init else None,
    )
    sharing = shared_checkpoints(workspace, scratch)
    with metrics_mirror(workspace, tracking_run) as mirror, sharing:
        reporters = [TrainingProgress(stem, training.steps, baselines.bits), mirror]
        trained, result = run_session(job, reporters, training.processes)
    figures = {
        "heldout_bits": result.heldout_bits,
        "free_bits": result.free_bits,
        "num_parameters": result.num_parameters,
        "seconds": result.seconds,
    }
    with workspace.new_folder("models") as folder:
        shutil.copytree(trained, folder, dirs_exist_ok=True)
        digest = digest_folder(folder, [WEIGHTS, CARD])
        facts = {"baselines": baselines.bits.model_dump(), "training": training.model_dump()}
        write_json(folder / FIGURES, {**figures, **facts, "transfer": result.transfer})
        shutil.copy(scratch / METRICS, folder / METRICS)
        if (scratch / SAMPLES).is_dir():
            shutil.copytree(scratch / SAMPLES, folder / SAMPLES)
        name = digest_folder(folder, [WEIGHTS, CARD, METRICS])  # other metrics, another folder
        plot_loss(read_metrics(folder / METRICS), baselines.bits.models, folder / LOSS_CURVE)
        return ModelRecord(digest=digest, folder=workspace.publish(folder, name, stem), stem=stem, **figures)


def _check_nodes(workspace: Workspace, training: TrainingConfig) -> None:
    """Several nodes read one folder, and there is none that a cache and another machine share."""
    if training.nodes > 1 and isinstance(workspace, RemoteWorkspace):
        raise ConfigError(
            f"training.nodes is {training.nodes}, which needs a workspace on a disk that all of them see "
            f"under one path, not {workspace.address}; name a folder, or set training.nodes to 1"
        )
