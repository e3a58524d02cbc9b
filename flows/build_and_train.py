"""The main flow: from a folder of records to a mix."""

import sys
from collections.abc import Collection, Mapping
from pathlib import Path

from prefect import flow, runtime
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import BaseModel

from flows.doctor import report_on
from flows.ledger import THREADS, Ledger
from flows.prepare import open_workspace, prepare_band, run_name, write_shard_sets
from flows.runners import open_cluster
from flows.training import take_all_weights
from tasks.baselines import baselines
from tasks.generate import choose_primes, generate
from tasks.mix import mix
from tasks.plan import BandPlan
from tasks.progress import clock
from tasks.publish import Output, StemRecords, publish_output
from tasks.ranges import likelihood, prints, ranges
from tasks.records import (
    BaselinesRecord,
    LikelihoodRecord,
    ModelRecord,
    Prime,
    PrintsRecord,
    RangesRecord,
    ShardsRecord,
    TakeRecord,
    WeightsRecord,
)
from tasks.splits import remember_splits
from tasks.tracking import PipelineTracker, flatten, tracked_run
from tasks.train import train
from tasks.workspace import Workspace
from wavenet.config import Config, load_config, num_generated_samples
from wavenet.data.listing import open_listing
from wavenet.data.shards.format import read_manifest
from wavenet.data.splits import SPLITS
from wavenet.errors import ConfigError


class PipelineResult(BaseModel):
    """What a run ends with; `figures` holds bits per sample: heldout, and those of `Baselines`.

    badness: of each stem's take, as `TakeScore`; None where it could not be scored.
    """

    output: Output
    figures: dict[str, dict[str, float]]
    badness: dict[str, float | None]
    set_aside: list[tuple[str, str]]
    ran: list[str]
    cached: list[str]


@flow(name="build-and-train", task_runner=ThreadPoolTaskRunner(max_workers=THREADS), flow_run_name="{input}")
def build_and_train(
    input: str,
    config: list[str] = ["album"],  # noqa: B006  (Prefect shows a list's default in its form)
    overrides: list[str] = [],  # noqa: B006
    workspace: str | Path = Path("workspace"),
    retrain: list[str] = [],  # noqa: B006
) -> PipelineResult:
    """Train one WaveNet a stem on a folder of music and mix what they play.

    input: a folder of finished tracks, or of songs as folders of stems; a glob, a manifest or a URL.
    config: names or paths of configurations, each over the one before. overrides: section.key=value.
    workspace: a folder, or an address such as s3://bucket/prefix. retrain: stems to train and generate again
    though nothing changed.
    """
    settings = load_config(config, overrides)
    place = open_workspace(workspace)
    listing = open_listing(input, place.downloads)
    name = run_name(listing, config)
    weights = take_all_weights(place, settings)
    tags = {"prefect.flow_run_id": str(runtime.flow_run.id), "input": input}
    params = flatten(settings.model_dump(mode="json"))
    with open_cluster(settings.orchestration) as cluster, tracked_run(place, name, params, tags) as tracker:
        ledger = Ledger(cluster)
        tracker.log_config(settings.model_dump(mode="json"))
        prepared = prepare_band(place, listing, settings, ledger)
        plan = prepared.plan
        tracker.log_doctor(report_on(place, name, prepared, settings, ledger))
        shard_sets = write_shard_sets(place, prepared, settings, ledger)
        remember_splits(place, settings.segmentation.heldout_share, plan.splits)
        check_names(settings, shard_sets, retrain)
        tell_plan(place, shard_sets, plan)
        primes = find_primes(place, shard_sets, settings)
        beside = measure_stems(place, shard_sets, settings, ledger)
        known = measure_training(place, shard_sets, ledger)
        band = {}
        for stem, shard_set in shard_sets.items():
            again = stem in retrain
            model = train_stem(
                place, stem, shard_set, beside[stem], settings, weights, tracker, ledger, again
            )
            heldout = ledger.call(
                likelihood, workspace=place, stem=stem, model=model.weights, shards=shard_set
            )
            take = generate_stem(
                place, stem, model, shard_set, primes[stem], settings, (*known[stem], heldout), ledger, again
            )
            tracker.log_take(place, stem, take)
            band[stem] = StemRecords(shards=shard_set, baselines=beside[stem], model=model, take=take)
        takes = {stem: records.take for stem, records in band.items()}
        sum_of_takes = ledger.call(
            mix, workspace=place, takes=takes, config=settings.mix, refresh=bool(retrain)
        )
        output = publish_output(place, name, settings, plan, band, sum_of_takes)
        tracker.log_mix(place, sum_of_takes, output.report)
    return PipelineResult(
        output=output,
        figures={stem: bits_per_sample(records) for stem, records in band.items()},
        badness={stem: records.take.badness for stem, records in band.items()},
        set_aside=plan.dropped,
        ran=ledger.ran,
        cached=ledger.cached,
    )


def check_names(settings: Config, stems: Collection[str], retrain: list[str]) -> None:
    """Refuse settings for stems that there are none of."""
    named = {
        "ingest.stems": settings.ingest.stems or [],
        "stems": settings.stems,
        "mix.gains_db": settings.mix.gains_db,
        "--retrain": retrain,
    }
    for where, names in named.items():
        if unknown := sorted(set(names) - set(stems)):
            raise ConfigError(
                f"{where}: {', '.join(unknown)} is not among the stems to be trained: {', '.join(stems)}"
            )


def tell_plan(place: Workspace, shard_sets: dict[str, ShardsRecord], plan: BandPlan) -> None:
    """What is going to be trained on how much, before hours are spent on it."""
    for stem, record in shard_sets.items():
        manifest = read_manifest(place.path(record.folder))
        train, heldout = (clock(manifest.num_samples(split) / manifest.sample_rate) for split in SPLITS)
        print(f"{stem:<16} {train} to train on, {heldout} held out", file=sys.stderr)
    if plan.dropped:
        print(f"{len(plan.dropped)} files or stems are set aside; the end tells why", file=sys.stderr)


def find_primes(
    place: Workspace, shard_sets: dict[str, ShardsRecord], settings: Config
) -> dict[str, Prime | None]:
    """Where in held-out audio the band begins; nowhere if priming is off."""
    if not settings.generation.prime:
        return dict.fromkeys(shard_sets)
    longest = max(settings.for_stem(stem).model.receptive_field for stem in shard_sets)
    num_samples = num_generated_samples(settings.generation, settings.ingest.sample_rate)
    return choose_primes(place, shard_sets, longest, num_samples)


def measure_stems(
    place: Workspace, shard_sets: dict[str, ShardsRecord], settings: Config, ledger: Ledger
) -> dict[str, BaselinesRecord]:
    """What each stem's model is measured against."""
    calls = [
        {
            "workspace": place,
            "stem": stem,
            "shards": shard_set,
            "receptive_field": settings.for_stem(stem).model.receptive_field,
        }
        for stem, shard_set in shard_sets.items()
    ]
    return dict(zip(shard_sets, ledger.call_all("baselines", baselines, calls), strict=True))


def measure_training(
    place: Workspace, shard_sets: dict[str, ShardsRecord], ledger: Ledger
) -> dict[str, tuple[RangesRecord, PrintsRecord]]:
    """How each stem's training audio sounds, and its fingerprints: what takes are scored against."""
    calls = [{"workspace": place, "stem": stem, "shards": record} for stem, record in shard_sets.items()]
    measured = ledger.call_all("ranges", ranges, calls), ledger.call_all("prints", prints, calls)
    return dict(zip(shard_sets, zip(*measured, strict=True), strict=True))


def train_stem(
    place: Workspace,
    stem: str,
    shard_set: ShardsRecord,
    beside: BaselinesRecord,
    settings: Config,
    weights: Mapping[str, WeightsRecord],
    tracker: PipelineTracker,
    ledger: Ledger,
    again: bool,
) -> ModelRecord:
    """One stem's model, its training shown in MLflow while it goes on. weights: as `take_all_weights`."""
    mine = settings.for_stem(stem)
    run_id = tracker.start_stem(place, stem, mine, shard_set)
    num_ran = len(ledger.ran)
    model = ledger.call(
        train,
        workspace=place,
        stem=stem,
        shards=shard_set,
        model=mine.model,
        training=mine.training,
        baselines=beside,
        init=weights[mine.training.init_from] if mine.training.init_from else None,
        tracking_run=run_id,
        refresh=again,
    )
    tracker.log_training(place, stem, model, beside, reused=len(ledger.ran) == num_ran)
    return model


def generate_stem(
    place: Workspace,
    stem: str,
    model: ModelRecord,
    shard_set: ShardsRecord,
    prime: Prime | None,
    settings: Config,
    measured: tuple[RangesRecord, PrintsRecord, LikelihoodRecord],
    ledger: Ledger,
    again: bool,
) -> TakeRecord:
    """One stem's take. measured: what it is scored against."""
    known, training, heldout = measured
    return ledger.call(
        generate,
        workspace=place,
        stem=stem,
        model=model,
        shards=shard_set,
        prime=prime,
        config=settings.for_stem(stem).generation,
        ranges=known,
        prints=training,
        likelihood=heldout,
        refresh=again,
    )


def bits_per_sample(records: StemRecords) -> dict[str, float]:
    """Held-out bits per sample beside the baselines', and of a conditioned model that is told nothing."""
    model = records.model
    free = {} if model.free_bits is None else {"told_nothing": model.free_bits}
    return {"heldout": model.heldout_bits, **free, **records.baselines.bits.model_dump()}
