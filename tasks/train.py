"""Training: from a stem's shards to its model, measured on held-out audio."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tasks.caching import cached_task
from tasks.devices import AUTO, lease_all, lease_device
from tasks.progress import TrainingProgress
from tasks.records import BaselinesRecord, ModelRecord, ShardsRecord, WeightsRecord
from tasks.session import run_session
from tasks.stem_pictures import LearningPictures
from tasks.tracking import metrics_mirror
from tasks.tracking_links import link_runs
from tasks.workspace import Workspace
from wavenet.config import ModelConfig, StemConfig, TrainingConfig
from wavenet.evaluation.plots import plot_loss
from wavenet.files import digest_folder, write_json
from wavenet.model import CARD, WEIGHTS
from wavenet.session.job import SAMPLES, Job
from wavenet.training.metrics import METRICS, read_metrics

FIGURES, LOSS_CURVE = "figures.json", "loss.png"


@cached_task(version="3", run_name="train-{stem}", ignore=["tracking_run", "baselines", "slots"])
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
    slots: list[str],
) -> ModelRecord:
    """Train one stem's network, going on from the checkpoint of an interrupted run of the same key.

    In a process of its own, which ends with this one. baselines: what its figures are shown beside. slots: as
    `list_slots` has them, one of which it holds meanwhile; where `training.device` names one, that.
    """
    link_runs(workspace, stem, tracking_run)
    pictures = LearningPictures(stem, baselines.bits, scratch)
    with leased(training, slots) as device:
        job = Job(
            stem=stem,
            shards=str(workspace.path(shards.folder)),
            shards_digest=shards.digest,
            folder=scratch,
            config=StemConfig(model=model, training=training.model_copy(update={"device": device})),
            init=workspace.path(init.folder) if init else None,
        )
        with metrics_mirror(workspace, tracking_run) as mirror:
            reporters = [TrainingProgress(stem, training.steps, baselines.bits), pictures, mirror]
            beside = slots.count(device)
            trained, result = run_session(job, reporters, training.processes, beside)
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
        record = ModelRecord(
            digest=digest, folder=workspace.publish(folder, name, stem), stem=stem, **figures
        )
    kept = workspace.path(record.folder)
    pictures.finish(kept, kept / LOSS_CURVE)
    return record


@contextmanager
def leased(training: TrainingConfig, slots: Sequence[str]) -> Iterator[str]:
    """The device of a training, no other's meanwhile. Processes that share a batch find theirs themselves."""
    if training.processes > 1:
        with lease_all(slots):
            yield training.device
    else:
        with lease_device(slots if training.device == AUTO else [training.device]) as device:
            yield device
