"""A run of the band, from what is asked for to a mix: what the flows that train and play have in common.

Knows nothing of deployments or the command line, but that a worker's shell is to show how a run ended. The
invariants: who prepares, trains and plays with the same content reuses what there is; what goes into MLflow
and onto pages is what is in the records.
"""

import sys
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from flows.again import Again, find_set_back
from flows.doctor import report_on
from flows.ledger import Ledger, open_ledger
from flows.lines import work_in_lines
from flows.outliving import is_run_by_worker
from flows.prepare import begin_run, prepare_band, run_name, write_shard_sets
from flows.printing import print_result
from flows.run_request import Request, remember_request
from flows.training import take_all_weights
from tasks.baselines import baselines
from tasks.caching import describe
from tasks.devices import is_gpu, list_slots
from tasks.evaluate import evaluate
from tasks.generate import choose_primes, generate
from tasks.links import link_runs, own_tags
from tasks.mix import mix
from tasks.plan import BandPlan
from tasks.progress import clock
from tasks.publish import Output, StemRecords, publish_output
from tasks.ranges import likelihood, prints, ranges
from tasks.records import (
    BaselinesRecord,
    ModelRecord,
    Prime,
    PrintsRecord,
    RangesRecord,
    ShardsRecord,
    WeightsRecord,
)
from tasks.run_page import show_band
from tasks.tracking import PipelineTracker, flatten, tracked_run
from tasks.train import train
from tasks.workspace import Workspace
from wavenet.config import Config, num_generated_samples
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


class Evaluation(BaseModel):
    """Bits per sample of each stem: its model's, as `EvaluationRecord`, and those of `Baselines`."""

    bits: dict[str, dict[str, float]]
    ran: list[str]
    cached: list[str]


@dataclass(frozen=True)
class Run:
    """What all steps of a run share. weights: as `take_all_weights`; may_train: or only reuse models."""

    place: Workspace
    settings: Config
    weights: Mapping[str, WeightsRecord]
    ledger: Ledger
    tracker: PipelineTracker
    again: Again
    may_train: bool


@dataclass(frozen=True)
class StemInputs:
    """What a stem is trained on, measured against, and begins to play from."""

    shards: ShardsRecord
    baselines: BaselinesRecord
    ranges: RangesRecord
    prints: PrintsRecord
    prime: Prime | None


def run_band(
    request: Request, workspace: str | Path, retrain: Collection[str] = (), may_train: bool = True
) -> PipelineResult:
    """Everything that is not done yet of a request. Inside a flow.

    retrain: stems to train and generate again. may_train: if not, NotMadeError where a model is not there.
    """
    settings, place, request = begin_run(request, workspace)
    listing = open_listing(request.input, place.downloads)
    name = run_name(listing, request.config)
    weights = take_all_weights(place, settings)
    with open_ledger(settings) as ledger, track(place, name, request, settings) as tracker:
        tracker.log_config(settings.model_dump(mode="json"))
        prepared = prepare_band(place, listing, settings, ledger)
        plan = prepared.plan
        tracker.log_doctor(report_on(place, name, prepared, settings, ledger))
        shard_sets = write_shard_sets(place, prepared, settings, ledger)
        check_names(settings, shard_sets, retrain)
        remember_request(place, request)  # no sooner, or what builds on it would be refused for its mistake
        tell_plan(place, shard_sets, plan)
        again = Again(place, retrain, find_set_back())
        run = Run(place, settings, weights, ledger, tracker, again, may_train)
        band = play_band(run, gather_inputs(run, shard_sets))
        takes = {stem: records.take for stem, records in band.items()}
        sum_of_takes = ledger.call(
            mix, workspace=place, takes=takes, config=settings.mix, occasion=again.of_mix()
        )
        output = publish_output(place, name, settings, plan, band, sum_of_takes)
        tracker.log_mix(place, sum_of_takes, output.report)
        show_band(place, name, band, sum_of_takes, output, tracker.run_id())
    result = PipelineResult(
        output=output,
        figures={stem: bits_per_sample(records) for stem, records in band.items()},
        badness={stem: records.take.badness for stem, records in band.items()},
        set_aside=plan.dropped,
        ran=ledger.ran,
        cached=ledger.cached,
    )
    if is_run_by_worker():  # a command prints it itself
        print_result(result, workspace)
    again.close()
    return result


def track(
    place: Workspace, name: str, request: Request, settings: Config
) -> AbstractContextManager[PipelineTracker]:
    """The MLflow runs of a request."""
    tags = {**own_tags(), "input": request.input}
    params = flatten(settings.model_dump(mode="json"))
    return tracked_run(place, name, params, tags, request.told_changes, settings.tracking)


def evaluate_band(request: Request, workspace: str | Path) -> Evaluation:
    """What the models of a request make of each split. Raises NotMadeError where a model is not there."""
    settings, place, request = begin_run(request, workspace)
    weights = take_all_weights(place, settings)
    listing = open_listing(request.input, place.downloads)
    name = f"evaluation of {run_name(listing, request.config)}"
    with open_ledger(settings) as ledger, track(place, name, request, settings) as tracker:
        prepared = prepare_band(place, listing, settings, ledger)
        shard_sets = write_shard_sets(place, prepared, settings, ledger)
        beside = measure_stems(place, shard_sets, settings, ledger)
        bits = {}
        for stem, shard_set in shard_sets.items():
            inputs = training_inputs(place, stem, settings, shard_set, beside[stem], weights)
            model = ledger.call(train, **inputs, tracking_run=None, devices=[], only_reuse=True)
            measured = ledger.call(
                evaluate, workspace=place, stem=stem, model=model.weights, shards=shard_set
            )
            tracker.log_evaluation(stem, measured, beside[stem])
            bits[stem] = {**measured.bits, **beside[stem].bits.model_dump()}
        return Evaluation(bits=bits, ran=ledger.ran, cached=ledger.cached)


def gather_inputs(run: Run, shard_sets: dict[str, ShardsRecord]) -> dict[str, StemInputs]:
    """Everything about each stem that depends on its shards alone."""
    primes = find_primes(run.place, shard_sets, run.settings)
    beside = measure_stems(run.place, shard_sets, run.settings, run.ledger)
    known = measure_training(run.place, shard_sets, run.ledger)
    return {
        stem: StemInputs(record, beside[stem], *known[stem], primes[stem])
        for stem, record in shard_sets.items()
    }


def play_band(run: Run, inputs: Mapping[str, StemInputs]) -> dict[str, StemRecords]:
    """Each stem's model and take."""
    again = {stem: find_occasions(run, stem, inputs[stem]) for stem in inputs}  # of all, before one begins
    return work_in_lines(
        lambda stem: play_stem(run, stem, inputs[stem], again[stem]), inputs, count_lines(run, len(inputs))
    )


def find_occasions(run: Run, stem: str, inputs: StemInputs) -> dict[str, str]:
    """On which occasion each task of a stem is to be done, where any result will not do."""
    training = training_of(run, stem, inputs)
    return run.again.of_stem(
        stem, describe({name: training[name] for name in ("shards", "model", "training", "init")})
    )


def training_of(run: Run, stem: str, inputs: StemInputs) -> dict[str, Any]:
    """As `training_inputs`, of a run."""
    return training_inputs(run.place, stem, run.settings, inputs.shards, inputs.baselines, run.weights)


def count_lines(run: Run, num_stems: int) -> int:
    """How many stems are worked on at a time: as many as there are places to train; where those are GPUs one
    more, which plays on the processor meanwhile; all of them on a cluster, whose workers find places."""
    if run.ledger.cluster is not None:
        return num_stems
    slots = list_slots(run.settings.orchestration.devices)
    return min(num_stems, len(slots) + any(map(is_gpu, slots)))


def play_stem(run: Run, stem: str, inputs: StemInputs, again: Mapping[str, str]) -> StemRecords:
    """One stem: its model, and what it plays. again: as `find_occasions`."""
    model = train_model(run, stem, training_of(run, stem, inputs), again.get("train"))
    heldout = run.ledger.call(
        likelihood, workspace=run.place, stem=stem, model=model.weights, shards=inputs.shards
    )
    take = run.ledger.call(
        generate,
        workspace=run.place,
        stem=stem,
        model=model,
        shards=inputs.shards,
        prime=inputs.prime,
        config=run.settings.for_stem(stem).generation,
        ranges=inputs.ranges,
        prints=inputs.prints,
        likelihood=heldout,
        occasion=again.get("generate"),
    )
    run.tracker.log_take(run.place, stem, take)
    return StemRecords(shards=inputs.shards, baselines=inputs.baselines, model=model, take=take)


def train_model(run: Run, stem: str, inputs: Mapping[str, Any], occasion: str | None) -> ModelRecord:
    """One stem's model, its training shown in MLflow while it goes on. inputs: as `training_inputs`."""
    tracked = run.tracker.start_stem(run.place, stem, run.settings.for_stem(stem), inputs["shards"])
    model = run.ledger.call(
        train,
        **inputs,
        tracking_run=tracked,
        devices=run.settings.orchestration.devices,
        occasion=occasion if run.may_train else None,
        only_reuse=not run.may_train,
    )
    reused = f"train-{stem}" in run.ledger.cached
    run.tracker.log_training(run.place, stem, model, inputs["baselines"], reused)
    link_runs(run.place, stem, tracked)
    return model


def training_inputs(
    place: Workspace,
    stem: str,
    settings: Config,
    shards: ShardsRecord,
    beside: BaselinesRecord,
    weights: Mapping[str, WeightsRecord],
) -> dict[str, Any]:
    """What a stem's model depends on, and what it is shown beside."""
    mine = settings.for_stem(stem)
    return {
        "workspace": place,
        "stem": stem,
        "shards": shards,
        "model": mine.model,
        "training": mine.training,
        "baselines": beside,
        "init": weights[mine.training.init_from] if mine.training.init_from else None,
    }


def check_names(settings: Config, stems: Collection[str], retrain: Collection[str]) -> None:
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


def bits_per_sample(records: StemRecords) -> dict[str, float]:
    """Held-out bits per sample beside the baselines', and of a conditioned model that is told nothing."""
    model = records.model
    free = {} if model.free_bits is None else {"told_nothing": model.free_bits}
    return {"heldout": model.heldout_bits, **free, **records.baselines.bits.model_dump()}
