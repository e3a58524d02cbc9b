"""The main flow: from a folder of records to a mix."""

import sys
from collections.abc import Collection
from pathlib import Path

from prefect import flow, runtime
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import BaseModel

from flows.ledger import Ledger
from tasks.generate import choose_primes, generate
from tasks.ingest import ingest, song_record
from tasks.mix import mix
from tasks.progress import clock
from tasks.publish import Output, StemRecords, publish_output
from tasks.records import ModelRecord, Prime, ShardsRecord, SongRecord, TakeRecord, TrackRecord
from tasks.separate import digest_weights, separate
from tasks.shards import BandPlan, plan_band, shards
from tasks.tracking import PipelineTracker, flatten, tracked_run
from tasks.train import train
from tasks.workspace import Workspace
from wavenet.config import Config, load_config, num_generated_samples
from wavenet.data.dataset import check_compatible, short_tracks
from wavenet.data.scan import WORKSPACE_MARK, Scan, SetAside, scan_folder
from wavenet.data.shards import read_manifest
from wavenet.data.splits import SPLITS
from wavenet.errors import AudioDecodeError, ConfigError, IncompatibleDataError, NoAudioError
from wavenet.files import write_text


class PipelineResult(BaseModel):
    """What a run ends with; `figures` holds bits per sample: heldout, uniform, unigram."""

    output: Output
    figures: dict[str, dict[str, float]]
    set_aside: list[tuple[str, str]]
    ran: list[str]
    cached: list[str]


@flow(name="build-and-train", task_runner=ThreadPoolTaskRunner(max_workers=4), flow_run_name="{input}")
def build_and_train(
    input: Path,
    config: list[str] = ["album"],  # noqa: B006  (Prefect shows a list's default in its form)
    overrides: list[str] = [],  # noqa: B006
    workspace: Path = Path("workspace"),
    retrain: list[str] = [],  # noqa: B006
) -> PipelineResult:
    """Train one WaveNet a stem on a folder of music and mix what they play.

    input: a folder of finished tracks, or of songs as folders of stems. config: names or paths of
    configurations, each over the one before. overrides: section.key=value. retrain: stems to train
    and generate again though nothing changed.
    """
    settings = load_config(config, overrides)
    place = Workspace(root=workspace.resolve())
    name = f"{input.resolve().name} {' '.join(Path(c).stem for c in config)}"
    ledger = Ledger()
    write_text(place.path(WORKSPACE_MARK), "made by Waveband\n")
    scan = scan_folder(input, settings.ingest.layout, settings.ingest.track_stem)
    tags = {"prefect.flow_run_id": str(runtime.flow_run.id), "input": str(input)}
    with tracked_run(place, name, flatten(settings.model_dump(mode="json")), tags) as tracker:
        tracker.log_config(settings.model_dump(mode="json"))
        tracks = ingest_songs(place, scan, settings, ledger)
        plan = plan_band(tracks, settings)
        plan.set_aside[:0] = [(item.path, item.reason) for item in scan.set_aside]
        shard_sets = write_shard_sets(place, plan, settings, ledger)
        check_names(settings, shard_sets, retrain)
        tell_plan(place, shard_sets, plan)
        primes = find_primes(place, shard_sets, settings)
        band = {}
        for stem, shard_set in shard_sets.items():
            again = stem in retrain
            model = train_stem(place, stem, shard_set, settings, tracker, ledger, again)
            take = generate_stem(place, stem, model, shard_set, primes[stem], settings, ledger, again)
            tracker.log_take(place, stem, take)
            band[stem] = StemRecords(shards=shard_set, model=model, take=take)
        takes = {stem: records.take for stem, records in band.items()}
        sum_of_takes = ledger.call(
            mix, workspace=place, takes=takes, config=settings.mix, refresh=bool(retrain)
        )
        output = publish_output(place, name, settings, plan, band, sum_of_takes)
        tracker.log_mix(place, sum_of_takes, output.report)
    return PipelineResult(
        output=output,
        figures={stem: bits_per_sample(records.model) for stem, records in band.items()},
        set_aside=plan.set_aside,
        ran=ledger.ran,
        cached=ledger.cached,
    )


def ingest_songs(place: Workspace, scan: Scan, settings: Config, ledger: Ledger) -> list[TrackRecord]:
    """Decode all songs, and separate finished tracks where that is asked for."""
    separating = settings.separation.enabled and scan.layout == "album"
    sample_rate, num_channels = (44100, 2) if separating else (settings.ingest.sample_rate, 1)
    songs = readable_songs(scan)
    calls = [
        {
            "workspace": place,
            "song": song,
            "sample_rate": sample_rate,
            "num_channels": num_channels,
        }
        for song in songs
    ]
    decoded = ledger.call_all("ingest", ingest, calls)
    # a reused record has the name under which its audio was first seen; names are no content
    tracks = [record.named(song.name) for record, song in zip(decoded, songs, strict=True)]
    return separate_tracks(place, tracks, settings, ledger) if separating else tracks


def readable_songs(scan: Scan) -> list[SongRecord]:
    """Records of the songs whose files can be read; the others are set aside in the scan."""
    songs = []
    for song in scan.songs:
        try:
            songs.append(song_record(song))
        except AudioDecodeError as error:
            scan.set_aside.append(SetAside(song.name, str(error)))
    return songs


def separate_tracks(
    place: Workspace, tracks: list[TrackRecord], settings: Config, ledger: Ledger
) -> list[TrackRecord]:
    """Stems of each finished track, one track after another; what could not be decoded stays as it is."""
    weights = digest_weights(settings.separation)
    return [
        ledger.call(
            separate, workspace=place, track=record, config=settings.separation, weights=weights
        ).named(record.name)
        if record.track.stems
        else record
        for record in tracks
    ]


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
    if plan.set_aside:
        print(f"{len(plan.set_aside)} files or stems are set aside; the end tells why", file=sys.stderr)


def write_shard_sets(
    place: Workspace, plan: BandPlan, settings: Config, ledger: Ledger
) -> dict[str, ShardsRecord]:
    """One shard set a stem. A stem whose shards cannot train its model is set aside with the reason."""
    if not plan.stems:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in plan.set_aside[:5])
        raise NoAudioError(f"no usable audio: all {len(plan.set_aside)} files were set aside ({reasons})")
    calls = [
        {
            "workspace": place,
            "stem": stem,
            "tracks": stem_plan.tracks,
            "heldout": stem_plan.heldout,
            "sample_rate": settings.ingest.sample_rate,
            "segment_length": settings.segment_length,
            "heldout_share": settings.segmentation.heldout_share,
            "quantization_channels": settings.quantization.quantization_channels,
        }
        for stem, stem_plan in plan.stems.items()
    ]
    records = dict(zip(plan.stems, ledger.call_all("shards", shards, calls), strict=True))
    fitting = {}
    for stem, record in records.items():
        try:
            manifest = read_manifest(place.path(record.folder))
            check_compatible(manifest, settings.for_stem(stem))
            fitting[stem] = record
            plan.notes.extend(short_tracks(stem, manifest, settings.for_stem(stem)))
        except IncompatibleDataError as error:
            plan.set_aside.append((stem, str(error)))
    if not fitting:
        raise NoAudioError("no stem can be trained: " + "; ".join(reason for _, reason in plan.set_aside))
    return fitting


def find_primes(
    place: Workspace, shard_sets: dict[str, ShardsRecord], settings: Config
) -> dict[str, Prime | None]:
    """Where in held-out audio the band begins; nowhere if priming is off."""
    if not settings.generation.prime:
        return dict.fromkeys(shard_sets)
    longest = max(settings.for_stem(stem).model.receptive_field for stem in shard_sets)
    num_samples = num_generated_samples(settings.generation, settings.ingest.sample_rate)
    return choose_primes(place, shard_sets, longest, num_samples)


def train_stem(
    place: Workspace,
    stem: str,
    shard_set: ShardsRecord,
    settings: Config,
    tracker: PipelineTracker,
    ledger: Ledger,
    again: bool,
) -> ModelRecord:
    """One stem's model, its training shown in MLflow while it goes on."""
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
        tracking_run=run_id,
        refresh=again,
    )
    tracker.log_training(place, stem, model, reused=len(ledger.ran) == num_ran)
    return model


def generate_stem(
    place: Workspace,
    stem: str,
    model: ModelRecord,
    shard_set: ShardsRecord,
    prime: Prime | None,
    settings: Config,
    ledger: Ledger,
    again: bool,
) -> TakeRecord:
    """One stem's take."""
    return ledger.call(
        generate,
        workspace=place,
        stem=stem,
        model=model,
        shards=shard_set,
        prime=prime,
        config=settings.for_stem(stem).generation,
        refresh=again,
    )


def bits_per_sample(model: ModelRecord) -> dict[str, float]:
    """Held-out bits per sample beside the baselines'."""
    return {"heldout": model.heldout_bits, "uniform": model.uniform_bits, "unigram": model.unigram_bits}
