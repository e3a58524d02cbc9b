"""Examination: what is heard in a track, and how good each setting can sound on a stem."""

from tasks.caching import cached_task
from tasks.pool import run_apart
from tasks.records import ExaminationRecord, FloorRecord, Record, TrackRecord
from tasks.workspace import Workspace
from wavenet.audio.decoding import AudioSource
from wavenet.audio.quantization import Quantizer
from wavenet.config import QuantizationConfig
from wavenet.data.examination import examine_track
from wavenet.data.floors import measure_floors
from wavenet.files import digest_json, sizes_of_files

LONGEST_SECONDS = 24 * 3600.0


@cached_task(version="1", run_name="examine-{track.name}", ignore=["workers"])
def examine(workspace: Workspace, track: TrackRecord, workers: int | None) -> ExaminationRecord:
    """Measure loudness and fingerprints of a track's stems."""
    folder = workspace.path(track.folder)
    stems = {stem: folder / audio.file for stem, audio in track.track.stems.items()}
    with workspace.new_folder("examinations") as out:
        examination = run_apart(
            examine_track,
            *(stems, track.track.sample_rate, out),
            timeout=LONGEST_SECONDS,
            what=track.name,
            workers=workers,
        )
        digest = digest_json([track.digest, examination.__dict__, sizes_of_files(out)])
        return ExaminationRecord(
            digest=digest, folder=workspace.publish(out, digest, track.name), examination=examination
        )


class Excerpt(Record):
    """A part of a stem that figures are measured on; the digest is of what is heard there."""

    source: AudioSource


@cached_task(version="1", run_name="floors-{stem}", ignore=["workers"])
def floors(
    workspace: Workspace,
    stem: str,
    excerpts: list[Excerpt],
    sample_rate: int,
    quantization: QuantizationConfig,
    workers: int | None,
) -> FloorRecord:
    """Measure signal to quantization noise of each rate and number of levels, a clip of each beside it."""
    quantizer = Quantizer(quantization.law, quantization.quantization_channels, quantization.dither)
    with workspace.new_folder("floors") as folder:
        measured = run_apart(
            measure_floors,
            *(stem, [excerpt.source for excerpt in excerpts], sample_rate, quantizer, folder),
            timeout=LONGEST_SECONDS,
            what=f"excerpts of {stem}",
            workers=workers,
        )
        digest = digest_json(
            [[floor.__dict__ for floor in measured], stem, [excerpt.digest for excerpt in excerpts]]
        )
        return FloorRecord(digest=digest, folder=workspace.publish(folder, digest, stem), floors=measured)
