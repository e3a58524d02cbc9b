"""Training: from a stem's shards to its model, measured on held-out audio."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tasks.caching import cached_task
from tasks.devices import (
    AUTO,
    CPU,
    lease_all,
    lease_device,
    list_cards,
    list_slots,
    showing_only,
    slots_of,
)
from tasks.links import link_runs
from tasks.progress import TrainingProgress
from tasks.records import BaselinesRecord, ModelRecord, ShardsRecord, WeightsRecord
from tasks.remote import RemoteWorkspace
from tasks.session import run_session
from tasks.shared_checkpoints import shared_checkpoints
from tasks.stem_pictures import LearningPictures
from tasks.tracking import TrackedStem, metrics_mirror
from tasks.workspace import Workspace
from wavenet.config import ModelConfig, StemConfig, TrainingConfig
from wavenet.errors import ConfigError
from wavenet.evaluation.plots import plot_loss
from wavenet.files import digest_folder, write_json
from wavenet.model import CARD, WEIGHTS
from wavenet.session.job import SAMPLES, Job
from wavenet.training.metrics import METRICS, read_metrics

FIGURES, LOSS_CURVE = "figures.json", "loss.png"


@cached_task(version="3", run_name="train-{stem}", ignore=["tracking_run", "baselines", "devices"])
def train(
    workspace: Workspace,
    scratch: Path,
    stem: str,
    shards: ShardsRecord,
    model: ModelConfig,
    training: TrainingConfig,
    baselines: BaselinesRecord,
    init: WeightsRecord | None,
    tracking_run: TrackedStem | None,
    devices: list[str],
) -> ModelRecord:
    """Train one stem's network, going on from the checkpoint of an interrupted run of the same key.

    In a process of its own, which ends with this one. baselines: what its figures are shown beside. devices:
    as `list_slots` takes them, one of which it holds meanwhile; where `training.device` names one, that.
    """
    _check_nodes(workspace, training)
    link_runs(workspace, stem, tracking_run)
    pictures = LearningPictures(stem, baselines.bits, scratch)
    slots = list_slots(devices)
    with leased(training, slots) as (device, environment), shared_checkpoints(workspace, scratch):
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
            trained, result = run_session(
                job, reporters, training.processes, max(1, slots.count(device)), environment
            )
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
def leased(training: TrainingConfig, slots: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """The device of a training, no other's meanwhile, and the environment of its processes. Of several that
    share each batch each finds its own: the card of its number among those that they are shown.

    Raises ConfigError where there are fewer cards than processes.
    """
    if training.processes > 1:
        cards = [] if training.device == CPU else list_cards(slots)[: training.processes]
        if cards and len(cards) < training.processes:
            raise ConfigError(
                f"training.processes is {training.processes}, of which each needs a card, and "
                f"orchestration.devices has {', '.join(slots)}; lower it, name more, or train on the CPU "
                "(training.device=cpu)"
            )
        with lease_all(slots_of(cards, slots) if cards else slots):
            yield training.device, showing_only(cards)
    else:
        with lease_device(slots if training.device == AUTO else [training.device]) as device:
            yield device, {}


def _check_nodes(workspace: Workspace, training: TrainingConfig) -> None:
    """Several nodes read one folder, and there is none that a cache and another machine share."""
    if training.nodes > 1 and isinstance(workspace, RemoteWorkspace):
        raise ConfigError(
            f"training.nodes is {training.nodes}, which needs a workspace on a disk that all of them see "
            f"under one path, not {workspace.address}; name a folder, or set training.nodes to 1"
        )
