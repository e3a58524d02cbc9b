"""From an input to a plan: found, decoded, separated if asked, examined. What all flows begin with."""

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from posixpath import basename

from pydantic import BaseModel

from flows.embedded_api import live_until_the_end
from flows.ledger import DirectLedger, Ledger
from flows.outliving import is_run_by_worker, outlive_worker
from flows.run_request import Request, find_input
from flows.runtime import quiet_mlflow
from tasks.examine import examine
from tasks.ingest import ingest, song_files, song_record
from tasks.plan import IngestedSong, Prepared
from tasks.planning import plan_band
from tasks.progress import RunProgress
from tasks.records import ExaminationRecord, ShardsRecord, SongRecord, TrackRecord
from tasks.remote import workspace_at
from tasks.separate import check_separator, digest_weights, separate
from tasks.shards import shards
from tasks.splits import deciding_splits
from tasks.workspace import Workspace
from wavenet.audio.decoding import AudioSource
from wavenet.config import Config
from wavenet.data.dataset import check_compatible
from wavenet.data.listing import Listing, open_listing
from wavenet.data.scan import scan_input
from wavenet.data.shards.format import read_manifest
from wavenet.data.shards.storage import check_target, plain_target
from wavenet.data.songs import Scan, SetAside, Song
from wavenet.data.stores import public_address
from wavenet.errors import AudioDecodeError, IncompatibleDataError, NoAudioError, SeparationError

READERS = 8
"""Files that are fetched and digested at once."""
NOT_SEPARATED = (
    "separation.enabled is passed over: the input is stems already, and only finished tracks are separated"
)
Sources = dict[str, dict[str, list[str]]]
"""Names of the files that a stem of a track is made of, by track id and stem."""


class PreparedShards(BaseModel):
    """Where each stem's set lies, what was not used and why, and what is to be known of the rest."""

    places: dict[str, str]
    set_aside: list[tuple[str, str]]
    notes: list[str]


def open_workspace(place: str | Path) -> Workspace:
    """The workspace of a folder or of an address, marked as one. Raises ConfigError where it cannot be."""
    workspace = workspace_at(place)
    workspace.mark()
    return workspace


def begin_run(request: Request, workspace: str | Path) -> tuple[Config, Workspace, Request]:
    """Settings and place of a request, and the request with its input found. Raises ConfigError."""
    quiet_mlflow()
    if is_run_by_worker():
        outlive_worker()
        live_until_the_end()
    settings = request.settings()
    place = open_workspace(workspace)
    place.sweep()
    return settings, place, request.model_copy(update={"input": find_input(place, request.input)})


def run_name(listing: Listing, config: list[str]) -> str:
    """What a run is called: its input and its configs."""
    return f"{listing.title} {' '.join(Path(one).stem for one in config)}"


def prepare_band(place: Workspace, listing: Listing, settings: Config, ledger: Ledger) -> Prepared:
    """Everything before shards: each song decoded once, examined, and its use decided.

    Where shards are to lie is tried first. Raises ConfigError where nothing can be written there.
    """
    if settings.storage.shards is not None:
        check_target(settings.storage.shards)
    scan = scan_input(listing, settings.ingest.layout, settings.ingest.track_stem)
    separating = settings.separation.enabled and holds_finished_tracks(scan, settings.ingest.track_stem)
    if separating:
        check_separator(settings.separation)
    elif settings.separation.enabled:
        print(NOT_SEPARATED, file=sys.stderr)
    songs = readable_songs(scan, listing)
    ingested = ingest_songs(place, songs, settings, separating, ledger)
    if separating:
        ingested = separate_songs(place, ingested, settings, ledger)
    examinations = examine_songs(place, ingested, settings, ledger)
    with deciding_splits(place, settings.segmentation.heldout_share) as splits:
        plan = plan_band(place, ingested, settings, dict(splits), examinations)
        splits.update(plan.splits)
    plan.set_aside = [(item.path, item.reason) for item in scan.set_aside]
    if settings.separation.enabled and not separating:
        plan.notes.insert(0, NOT_SEPARATED)
    return Prepared(scan, name_files(scan, listing), ingested, examinations, plan)


def name_files(scan: Scan, listing: Listing) -> dict[Path, str]:
    """How each file is called: by its name in the input, or as a manifest would name it."""
    names = {listing.path(name): name for name in listing.names}
    below = listing.root.rstrip("/") + "/"
    for song in scan.songs:
        for path in song_files(song):
            names.setdefault(path, listing.address(path).removeprefix(below))
    return names


def sources_of(prepared: Prepared) -> Sources:
    """The files of each stem for its card: of a separated stem the track's."""
    found: Sources = {}
    for one in prepared.ingested:
        stems = one.song.song.stems
        whole = [source for sources in stems.values() for source in sources]
        for stem in one.track.track.stems:
            names = [name_source(source, prepared) for source in stems.get(stem, whole)]
            found.setdefault(one.track.track.track_id, {}).setdefault(stem, names)
    return found


def name_source(source: AudioSource, prepared: Prepared) -> str:
    """A file by its name in the input, or its address; of one elsewhere on this machine the name alone."""
    name = public_address(prepared.name_of(source.path))
    name = basename(name) if name.startswith("/") else name
    part = f"{source.start:g}-{'' if source.end is None else f'{source.end:g}'} s"
    return f"{name} ({part})" if source.start or source.end is not None else name


def holds_finished_tracks(scan: Scan, track_stem: str) -> bool:
    """Whether what was found is finished tracks, which can be separated, and not stems."""
    return scan.layout != "stems" and all(list(song.stems) == [track_stem] for song in scan.songs)


def readable_songs(scan: Scan, listing: Listing) -> list[SongRecord]:
    """Records of the songs whose files can be read; the others are set aside in the scan."""

    def read(song: Song) -> SongRecord | SetAside:
        try:
            return song_record(song, listing)
        except AudioDecodeError as error:
            return SetAside(song.name, str(error))

    with ThreadPoolExecutor(READERS) as threads:
        records = list(threads.map(read, scan.songs))
    scan.set_aside.extend(record for record in records if isinstance(record, SetAside))
    return [record for record in records if isinstance(record, SongRecord)]


def ingest_songs(
    place: Workspace, songs: list[SongRecord], settings: Config, separating: bool, ledger: Ledger
) -> list[IngestedSong]:
    """Decode all songs, side by side."""
    from wavenet.audio.separation import NUM_CHANNELS, SAMPLE_RATE

    sample_rate, num_channels = (
        (SAMPLE_RATE, NUM_CHANNELS) if separating else (settings.ingest.sample_rate, 1)
    )
    calls = [
        {
            "workspace": place,
            "song": song,
            "sample_rate": sample_rate,
            "num_channels": num_channels,
            "downmix": settings.ingest.downmix,
            "resample_quality": settings.ingest.resample_quality,
            "workers": settings.ingest.workers,
        }
        for song in songs
    ]
    decoded = ledger.call_all("ingest", ingest, calls)
    # a reused record has the name under which its audio was first seen; names are no content
    return [
        IngestedSong(song=song, decoded=record.named(song.name), track=record.named(song.name))
        for song, record in zip(songs, decoded, strict=True)
    ]


def separate_songs(
    place: Workspace, ingested: list[IngestedSong], settings: Config, ledger: Ledger
) -> list[IngestedSong]:
    """Stems of each finished track, one track after another; a track that fails is set aside."""
    weights, run = digest_weights(settings.separation), RunProgress("separate")
    records = [one.track for one in ingested]

    def separated(record: TrackRecord, span: tuple[float, float]) -> TrackRecord:
        if not record.track.stems:  # could not be decoded
            return record
        try:
            done = ledger.call(
                separate,
                workspace=place,
                track=record,
                config=settings.separation,
                weights=weights,
                span=span,
            )
            return done.named(record.name)
        except SeparationError as error:
            reasons = dict.fromkeys(record.track.stems, str(error))
            return record.model_copy(update={"track": replace(record.track, stems={}, set_aside=reasons)})

    tracks = []
    for number, (record, span) in enumerate(zip(records, shares_of_music(records), strict=True), start=1):
        tracks.append(separated(record, span))
        lines = [f"separate {number}/{len(records)}", record.name]
        run.show(span[1], partial(list, lines))
    return [one.model_copy(update={"track": track}) for one, track in zip(ingested, tracks, strict=True)]


def shares_of_music(records: Sequence[TrackRecord]) -> list[tuple[float, float]]:
    """From which share to which each track is, of all that they last."""
    lengths = [
        max((audio.num_samples / one.track.sample_rate for audio in one.track.stems.values()), default=0.0)
        for one in records
    ]
    ends = [0.0, *accumulate(lengths)]
    return [(begin / (ends[-1] or 1.0), end / (ends[-1] or 1.0)) for begin, end in pairwise(ends)]


def examine_songs(
    place: Workspace, ingested: list[IngestedSong], settings: Config, ledger: Ledger
) -> dict[str, ExaminationRecord]:
    """What is heard in each track, by track id."""
    tracks: dict[str, IngestedSong] = {}
    for one in ingested:
        if one.track.track.stems:
            tracks.setdefault(one.track.track.track_id, one)
    calls = [
        {"workspace": place, "track": one.track, "song": one.song, "workers": settings.ingest.workers}
        for one in tracks.values()
    ]
    return dict(zip(tracks, ledger.call_all("examine", examine, calls), strict=True))


def write_shard_sets(
    place: Workspace, prepared: Prepared, settings: Config, ledger: Ledger
) -> dict[str, ShardsRecord]:
    """One shard set a stem. A stem whose shards cannot train its model is set aside with the reason."""
    plan, sources = prepared.plan, sources_of(prepared)
    if not plan.stems:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in plan.dropped[:5])
        raise NoAudioError(f"no usable audio: all {len(plan.dropped)} files were set aside ({reasons})")
    target = settings.storage.shards
    calls = [
        {
            "workspace": place,
            "stem": stem,
            "tracks": tracks,
            "sample_rate": settings.ingest.sample_rate,
            "segment_length": settings.segment_length,
            "hop_length": settings.hop_length,
            "heldout_share": settings.segmentation.heldout_share,
            "quantization": settings.quantization,
            "features": settings.features,
            "resample_quality": settings.ingest.resample_quality,
            "prefix": None if target is None else plain_target(target),
            "workers": settings.ingest.workers,
            "sources": {track: stems[stem] for track, stems in sources.items() if stem in stems},
        }
        for stem, tracks in plan.stems.items()
    ]
    records = dict(zip(plan.stems, ledger.call_all("shards", shards, calls), strict=True))
    fitting = {}
    for stem, record in records.items():
        try:
            manifest = read_manifest(place.path(record.folder))
            check_compatible(manifest, settings.for_stem(stem))
            fitting[stem] = record
        except IncompatibleDataError as error:
            plan.set_aside.append((stem, str(error)))
    if not fitting:
        raise NoAudioError("no stem can be trained: " + "; ".join(reason for _, reason in plan.dropped))
    return fitting


def prepare_shards(
    input: str, config: list[str], overrides: list[str], workspace: str | Path
) -> dict[str, str]:
    """From an input to shards and no further. Returns where each stem's set lies."""
    return prepare_input(input, config, overrides, workspace).places


def prepare_input(
    input: str, config: list[str], overrides: list[str], workspace: str | Path
) -> PreparedShards:
    """From an input to shards and no further, without Prefect."""
    request = Request(input=input, config=config, overrides=overrides)
    return prepare_request(request, workspace, lambda settings: nullcontext(DirectLedger()))


def prepare_request(
    request: Request, workspace: str | Path, open_ledger: Callable[[Config], AbstractContextManager[Ledger]]
) -> PreparedShards:
    """From an input to shards and no further. open_ledger: by what tasks are called, of the settings."""
    settings, place, request = begin_run(request, workspace)
    with open_ledger(settings) as ledger:
        prepared = prepare_band(place, open_listing(request.input, place.downloads), settings, ledger)
        records = write_shard_sets(place, prepared, settings, ledger)
    plan = prepared.plan
    places = {stem: str(place.path(record.folder)) for stem, record in records.items()}
    return PreparedShards(places=places, set_aside=plan.dropped, notes=plan.notes)
