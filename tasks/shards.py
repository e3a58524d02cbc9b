"""Segmentation and quantization: from tracks to one shard set a stem."""

from collections.abc import Iterable

from pydantic import BaseModel

from tasks.caching import cached_task
from tasks.ingest import duplicate_of
from tasks.records import ShardsRecord, TrackRecord
from tasks.workspace import Workspace
from wavenet.config import Config
from wavenet.data.shards import ShardFormat, StemSource, write_shards
from wavenet.data.splits import Split, choose_heldout


class StemPlan(BaseModel):
    """Which tracks a stem is made of, and which of those are held out."""

    tracks: list[TrackRecord] = []
    heldout: list[str] = []  # track ids

    @property
    def by_track(self) -> bool:
        """Whether whole tracks are held out; otherwise each track's end is."""
        return len(self.tracks) > len(self.heldout) > 0


class BandPlan(BaseModel):
    """The stems that there is audio for, and what was left out on the way."""

    stems: dict[str, StemPlan]
    set_aside: list[tuple[str, str]]  # name, reason
    notes: list[str] = []


def plan_band(tracks: Iterable[TrackRecord], config: Config) -> BandPlan:
    """Decide which stem of which track is used, and the split. A pure function of its inputs."""
    tracks = list(tracks)
    set_aside = [
        (f"{record.name}/{stem}", reason)
        for record in tracks
        for stem, reason in record.track.set_aside.items()
    ]
    duplicates = duplicate_of(record for record in tracks if record.track.stems)
    set_aside += [(name, f"the same audio as {first}") for name, first in duplicates.items()]
    notes = [f"{record.name}: {note}" for record in tracks for note in record.track.notes]
    usable: dict[str, list[str]] = {}
    kept = [record for record in tracks if record.track.stems and record.name not in duplicates]
    for record in kept:
        usable[record.track.track_id], short = _usable_stems(record, config)
        set_aside += short
    heldout = choose_heldout(usable, config.segmentation.heldout_share)
    plans: dict[str, StemPlan] = {}
    for stem in sorted({stem for stems in usable.values() for stem in stems}):
        having = [record for record in kept if stem in usable[record.track.track_id]]
        ids = {record.track.track_id for record in having}
        plans[stem] = StemPlan(tracks=having, heldout=sorted(ids & heldout))
        others = [record for record in kept if usable[record.track.track_id]]
        missing = [record.name for record in others if record not in having]
        notes += [f"{name}: has no usable {stem}; its other stems are used" for name in missing]
    return BandPlan(stems=plans, set_aside=set_aside, notes=notes)


def _usable_stems(record: TrackRecord, config: Config) -> tuple[list[str], list[tuple[str, str]]]:
    """Stems of a track that are wanted and at least one segment long, and why others are not."""
    wanted = config.ingest.stems
    least = config.segmentation.segment_seconds
    usable, short = [], []
    for stem, audio in record.track.stems.items():
        seconds = audio.num_samples / record.track.sample_rate
        if wanted is not None and stem not in wanted:
            short.append((f"{record.name}/{stem}", f"not among ingest.stems ({', '.join(wanted)})"))
        elif seconds < least:
            reason = (
                f"{seconds:.2f} s is shorter than one segment ({least:g} s); "
                "lower segmentation.segment_seconds or drop the file"
            )
            short.append((f"{record.name}/{stem}", reason))
        else:
            usable.append(stem)
    return usable, short


@cached_task(version="1", run_name="shards-{stem}")
def shards(
    workspace: Workspace,
    stem: str,
    tracks: list[TrackRecord],
    heldout: list[str],
    sample_rate: int,
    segment_length: int,
    heldout_share: float,
    quantization_channels: int,
) -> ShardsRecord:
    """Cut and quantize one stem of all tracks into Parquet shards."""
    by_track = StemPlan(tracks=tracks, heldout=heldout).by_track
    sources = [
        StemSource(
            path=workspace.path(record.folder) / record.track.stems[stem].file,
            track_id=record.track.track_id,
            track=record.name,
            split=_split(record, heldout) if by_track else None,
        )
        for record in sorted(tracks, key=lambda record: record.track.track_id)
    ]
    fmt = ShardFormat(stem, sample_rate, quantization_channels, segment_length, heldout_share)
    with workspace.new_folder("shards") as folder:
        digest = write_shards(sources, folder, fmt).digest
        return ShardsRecord(digest=digest, folder=workspace.publish(folder, digest, stem), stem=stem)


def _split(record: TrackRecord, heldout: list[str]) -> Split:
    return "heldout" if record.track.track_id in heldout else "train"
