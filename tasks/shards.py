"""Segmentation and quantization: from a stem's planned tracks to its shard set."""

from tasks.caching import cached_task
from tasks.plan import PlannedTrack
from tasks.pool import run_apart
from tasks.records import ShardsRecord
from tasks.workspace import Workspace
from wavenet.audio.quantization import Quantizer
from wavenet.config import FeaturesConfig, QuantizationConfig
from wavenet.data.scores import Note, notes_for_stem, read_notes
from wavenet.data.shards.card import write_manifest
from wavenet.data.shards.sources import ShardFormat, StemSource
from wavenet.data.shards.storage import open_location, upload_shards
from wavenet.data.shards.writer import write_shards

LONGEST_SECONDS = 24 * 3600.0


@cached_task(version="3", run_name="shards-{stem}", ignore=["workers", "sources"])
def shards(
    workspace: Workspace,
    stem: str,
    tracks: list[PlannedTrack],
    sample_rate: int,
    segment_length: int,
    hop_length: int,
    heldout_share: float,
    quantization: QuantizationConfig,
    features: FeaturesConfig,
    resample_quality: str,
    prefix: str | None,
    workers: int | None,
    sources: dict[str, list[str]],
) -> ShardsRecord:
    """Cut and quantize one stem of all tracks into Parquet shards, in the workspace or below `prefix`.

    prefix: as `plain_target` gives it. sources: names of the files of each track, by track id, for the card.
    """
    ordered = sorted(tracks, key=lambda track: track.record.track.track_id)
    audio = [stem_source(workspace, stem, track, features) for track in ordered]
    quantizer = Quantizer(quantization.law, quantization.quantization_channels, quantization.dither)
    fmt = ShardFormat(
        stem=stem,
        sample_rate=sample_rate,
        quantizer=quantizer,
        segment_length=segment_length,
        heldout_share=heldout_share,
        hop_length=hop_length,
        features=list(features.names),
        resample_quality=resample_quality,
    )
    with workspace.new_folder("shards") as folder:
        manifest = run_apart(
            write_shards,
            audio,
            folder,
            fmt,
            timeout=LONGEST_SECONDS,
            what=f"shards of {stem}",
            workers=workers,
        )
        manifest = write_manifest(manifest.with_sources(sources), folder)
        if prefix is None:
            place = workspace.publish(folder, manifest.digest, stem)
        else:
            place = f"{prefix}/{workspace.name_of(manifest.digest, stem)}"
            upload_shards(folder, open_location(place))
        return ShardsRecord(digest=manifest.digest, folder=place, stem=stem)


def stem_source(
    workspace: Workspace, stem: str, planned: PlannedTrack, features: FeaturesConfig
) -> StemSource:
    """What the writer needs to know of a planned track."""
    folder, track = workspace.path(planned.record.folder), planned.record.track
    audio = track.stems[stem]
    others = [folder / other.file for name, other in track.stems.items() if name != stem]
    return StemSource(
        path=folder / audio.file,
        num_samples=audio.num_samples,
        track_id=track.track_id,
        track=planned.record.name,
        split=planned.split,
        end_heldout=planned.end_heldout,
        kept=planned.kept,
        gain=planned.gain,
        labels=planned.labels,
        licence=planned.licence,
        notes=_notes(stem, planned) if "notes" in features.names else [],
        others=others if "context" in features.names else [],
    )


def _notes(stem: str, planned: PlannedTrack) -> list[Note]:
    """The score of a stem: its own whole, or its part of the song's."""
    if planned.score is None:
        return []
    notes = read_notes(planned.score.path)
    return notes_for_stem(notes, stem, planned.record.track.stems) if planned.score.whole else notes
