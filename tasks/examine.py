"""Examination: what is heard in a track, and how good each setting can sound on a stem."""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any

from tasks.caching import cached_task
from tasks.ingest import BYTES_A_SECOND, SECONDS_TO_DECODE
from tasks.plan import PlannedTrack, Prepared
from tasks.pool import run_apart
from tasks.records import ExaminationRecord, FloorRecord, Record, SongRecord, TrackRecord
from tasks.shards import stem_source
from tasks.workspace import Workspace
from wavenet.audio.decoding import AudioSource
from wavenet.audio.io import envelope_hop
from wavenet.audio.quantization import Quantizer
from wavenet.config import Config, FeaturesConfig, QuantizationConfig
from wavenet.data.examination import FileExamination, examine_file, examine_track
from wavenet.data.floors import EXCERPT_SECONDS, SummedFiles, measure_floors
from wavenet.data.shards.sources import ShardFormat
from wavenet.data.songs import Song
from wavenet.data.tracks import StemAudio, load_envelope
from wavenet.errors import AudioDecodeError
from wavenet.evaluation.doctor_cuts import find_loudest
from wavenet.files import digest_json, sizes_of_files

LONGEST_SECONDS = 24 * 3600.0
READERS = 8
"""Files of a track that are examined at once."""
EXCERPTS = 3
LEAST_EXCERPT = 0.1
"""Seconds of a file that an excerpt must meet to hold it."""


@cached_task(version="4", run_name="examine-{track.name}", ignore=["song", "workers"])
def examine(
    workspace: Workspace, track: TrackRecord, workers: int | None, song: SongRecord | None = None
) -> ExaminationRecord:
    """Measure a track: loudness and fingerprints of its stems, and each of its files by itself.

    song: where the files are. It is no part of the key, for the track's digest stands for what they hold.
    """
    folder = workspace.path(track.folder)
    stems = {stem: folder / audio.file for stem, audio in track.track.stems.items()}
    files = {} if song is None else _examine_files(song.song, track.track.set_aside, workers)
    with workspace.new_folder("examinations") as out:
        examination = run_apart(
            examine_track,
            *(stems, track.track.sample_rate, out, files),
            timeout=LONGEST_SECONDS,
            what=track.name,
            workers=workers,
        )
        digest = digest_json([track.digest, asdict(examination), sizes_of_files(out)])
        return ExaminationRecord(
            digest=digest, folder=workspace.publish(out, digest, track.name), examination=examination
        )


def _examine_files(
    song: Song, set_aside: Collection[str], workers: int | None
) -> dict[str, list[FileExamination | None]]:
    """Each file of a song by itself, side by side; those that were set aside are not tried again."""
    with ThreadPoolExecutor(READERS) as threads:
        under_way = {
            stem: [threads.submit(_examine_apart, source, workers) for source in sources]
            for stem, sources in song.stems.items()
            if stem not in set_aside
        }
        return {stem: [future.result() for future in futures] for stem, futures in under_way.items()}


def _examine_apart(source: AudioSource, workers: int | None) -> FileExamination | None:
    """A file in a process apart; None where it can be read no more."""
    try:
        timeout = SECONDS_TO_DECODE + source.path.stat().st_size / BYTES_A_SECOND
        return run_apart(examine_file, source, timeout=timeout, what=source.path.name, workers=workers)
    except (AudioDecodeError, OSError):
        return None


class Excerpt(Record):
    """A part of a stem that figures are measured on; the digest is of what is heard there.

    sources: the files that are summed there. gain: of the track.
    """

    sources: list[AudioSource]
    gain: float = 1.0


@cached_task(version="3", run_name="floors-{stem}", ignore=["workers"])
def floors(
    workspace: Workspace,
    stem: str,
    tracks: list[PlannedTrack],
    excerpts: list[Excerpt],
    sample_rate: int,
    segment_length: int,
    quantization: QuantizationConfig,
    downmix: str,
    resample_quality: str,
    workers: int | None,
) -> FloorRecord:
    """Measure signal to quantization noise of each rate and number of levels, a clip of each beside it.

    tracks: all that the stem's shards would hold. excerpts: of it, see `floor_calls`.
    """
    fmt = ShardFormat(
        stem=stem,
        sample_rate=sample_rate,
        quantizer=Quantizer(quantization.law, quantization.quantization_channels, quantization.dither),
        segment_length=segment_length,
        heldout_share=0.0,  # on either side, it sounds the same
        hop_length=1,
        resample_quality=resample_quality,
        downmix=downmix,
    )
    sources = [stem_source(workspace, stem, track, FeaturesConfig()) for track in tracks]
    with workspace.new_folder("floors") as folder:
        measured = run_apart(
            measure_floors,
            *([SummedFiles(one.sources, one.gain) for one in excerpts], sources, fmt, folder),
            timeout=LONGEST_SECONDS,
            what=f"excerpts of {stem}",
            workers=workers,
        )
        digest = digest_json([[floor.__dict__ for floor in measured], [one.digest for one in excerpts]])
        return FloorRecord(digest=digest, folder=workspace.publish(folder, digest, stem), floors=measured)


def floor_calls(workspace: Workspace, prepared: Prepared, config: Config) -> dict[str, dict[str, Any]]:
    """What `floors` is called with for each stem: all that its shards would hold, and excerpts of it."""
    return {
        stem: {
            "workspace": workspace,
            "stem": stem,
            "tracks": tracks,
            "excerpts": _choose_excerpts(workspace, prepared, stem, tracks),
            "sample_rate": config.ingest.sample_rate,
            "segment_length": config.segment_length,
            "quantization": config.quantization,
            "downmix": config.ingest.downmix,
            "resample_quality": config.ingest.resample_quality,
            "workers": config.ingest.workers,
        }
        for stem, tracks in prepared.plan.stems.items()
    }


def _choose_excerpts(
    workspace: Workspace, prepared: Prepared, stem: str, tracks: list[PlannedTrack]
) -> list[Excerpt]:
    """The loudest seconds of a few tracks, in the files they came from."""
    songs = {one.track.track.track_id: one.song.song for one in prepared.ingested}
    return [
        _excerpt(workspace, songs[track.record.track.track_id], stem, track) for track in tracks[:EXCERPTS]
    ]


def _excerpt(workspace: Workspace, song: Song, stem: str, planned: PlannedTrack) -> Excerpt:
    folder, track = planned.record.folder, planned.record.track
    audio = track.stems[stem]
    frame_seconds = envelope_hop(track.sample_rate) / track.sample_rate
    envelope = load_envelope(workspace.file(folder, audio.envelope_file))
    loudest = find_loudest(envelope, frame_seconds, EXCERPT_SECONDS)
    begin = round(loudest, 2)
    # what was separated is in no file of the user's
    separated = [] if audio.facts else [AudioSource(workspace.path(folder) / audio.file)]
    files = separated or _files_at(song, stem, audio, begin)
    digest = digest_json([audio.source_digest, begin, planned.gain])
    return Excerpt(digest=digest, sources=[_cut(file, begin) for file in files], gain=planned.gain)


def _files_at(song: Song, stem: str, audio: StemAudio, begin: float) -> list[AudioSource]:
    """The files of a stem that have not ended so many seconds after their start."""
    lengths = [fact.num_frames / fact.sample_rate for fact in audio.facts]
    least = min(begin + LEAST_EXCERPT, max(lengths))
    return [file for file, length in zip(song.stems[stem], lengths, strict=True) if length >= least]


def _cut(file: AudioSource, begin: float) -> AudioSource:
    """The excerpt of a file that begins so many seconds after its start."""
    start = file.start + begin
    end = start + EXCERPT_SECONDS
    return replace(file, start=start, end=end if file.end is None else min(end, file.end))
