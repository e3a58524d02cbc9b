"""One training by itself: a shard set in, a model in a folder out; and the same beside one from scratch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from flows.prepare import open_workspace
from tasks.records import WeightsRecord
from tasks.train import FIGURES, LOSS_CURVE
from tasks.training_folder import claimed_folder, deciding_settings, finish_job
from tasks.weights import take_weights
from tasks.workspace import Workspace, safe_name
from wavenet.config import Config, StemConfig, load_config
from wavenet.data.dataset import check_compatible
from wavenet.data.shards.format import read_manifest
from wavenet.data.shards.storage import open_location
from wavenet.errors import ConfigError
from wavenet.evaluation.baselines import Baselines, measure_baselines
from wavenet.evaluation.comparison import Comparison, compare_trainings
from wavenet.evaluation.plots import plot_comparison, plot_loss
from wavenet.files import digest_json, write_json
from wavenet.model import TRAINED
from wavenet.session.job import Job, Result
from wavenet.training.metrics import METRICS, read_metrics

COMPARISON, COMPARISON_CURVES = "comparison.json", "comparison.png"
TRANSFER, SCRATCH = "transfer", "scratch"


class TrainingOutput(BaseModel):
    """What `waveband train` ends with. model: the folder of the model."""

    stem: str
    out: Path
    model: Path
    result: Result
    baselines: Baselines
    comparison: Comparison | None = None


def take_all_weights(place: Workspace, settings: Config) -> dict[str, WeightsRecord]:
    """What trainings begin with, by what `init_from` says: found before hours are spent on audio."""
    asked = {settings.for_stem(stem).training.init_from for stem in [*settings.stems, ""]}
    return {text: take_weights(place, text) for text in sorted(filter(None, asked))}


def train_shards(
    shards: str,
    config: list[str],
    overrides: list[str],
    workspace: str | Path,
    out: Path | None = None,
    resume: bool = False,
    against_scratch: bool = False,
) -> TrainingOutput:
    """Train a model on a shard set, without Prefect or MLflow; against_scratch: one from scratch beside it.

    Raises what `claimed_folder`, `take_weights` and trainings raise.
    """
    place, manifest = open_workspace(workspace), read_manifest(open_location(shards))
    mine = load_config(config, overrides).for_stem(manifest.stem)
    check_compatible(manifest, mine)
    init = take_weights(place, mine.training.init_from) if mine.training.init_from else None
    if against_scratch and not init:
        raise ConfigError("--against-scratch compares with weights to begin with; name them with --init-from")
    settings = {**deciding_settings(manifest.digest, mine, init), "against_scratch": against_scratch}
    folder = (out or place.models / default_name(manifest.stem, settings)).resolve()
    job = Job(
        stem=manifest.stem,
        shards=shards if "://" in shards else str(Path(shards).resolve()),
        shards_digest=manifest.digest,
        folder=folder,
        config=mine,
        init=place.path(init.folder) if init else None,
    )
    jobs = both_ways(job) if against_scratch else {"": job}
    with claimed_folder(folder, settings, jobs, resume):
        baselines = measure_baselines(open_location(shards), mine.model.receptive_field)
        labels = {name: f"{job.stem} {name}".strip() for name in jobs}
        results = {name: finish_job(one, labels[name], baselines) for name, one in jobs.items()}
        return leave_results(folder, jobs, results, baselines)


def default_name(stem: str, settings: Mapping[str, Any]) -> str:
    """A folder's name by content: other settings, another folder."""
    return f"{safe_name(stem)}-{digest_json(dict(settings))[:8]}"


def both_ways(job: Job) -> dict[str, Job]:
    """The training, and the same of weights drawn at random: all of them learn, at the full rate."""
    fresh = {"init_from": None, "freeze": [], "init_rate_share": 1.0}
    training = job.config.training.model_copy(update=fresh)
    scratch = {
        "folder": job.folder / SCRATCH,
        "init": None,
        "config": StemConfig(**{**dict(job.config), "training": training}),
    }
    return {
        TRANSFER: job.model_copy(update={"folder": job.folder / TRANSFER}),
        SCRATCH: job.model_copy(update=scratch),
    }


def leave_results(
    folder: Path, jobs: Mapping[str, Job], results: Mapping[str, Result], baselines: Baselines
) -> TrainingOutput:
    """Figures and curves beside each model, and of two the comparison."""
    (name, job), *_ = jobs.items()
    for each, one in jobs.items():
        write_json(one.folder / FIGURES, {**results[each].model_dump(), "baselines": baselines.model_dump()})
        plot_loss(read_metrics(one.folder / METRICS), baselines.models, one.folder / LOSS_CURVE)
    return TrainingOutput(
        stem=job.stem,
        out=folder,
        model=job.folder / TRAINED,
        result=results[name],
        baselines=baselines,
        comparison=leave_comparison(folder, jobs) if len(jobs) > 1 else None,
    )


def leave_comparison(folder: Path, jobs: Mapping[str, Job]) -> Comparison:
    """Both curves side by side, as JSON and as a picture."""
    rows = {name: read_metrics(job.folder / METRICS) for name, job in jobs.items()}
    best_kept = jobs[TRANSFER].config.training.stop_after is not None
    comparison = compare_trainings(rows[TRANSFER], rows[SCRATCH], best_kept)
    write_json(folder / COMPARISON, comparison.as_json())
    plot_comparison(rows, folder / COMPARISON_CURVES)
    return comparison
