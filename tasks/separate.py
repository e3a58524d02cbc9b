"""Separation: from a finished track to a track of stems."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from tasks.caching import cached_task
from tasks.progress import Progress, RunProgress
from tasks.records import TrackRecord
from tasks.workspace import Workspace
from wavenet.config import SeparationConfig
from wavenet.data.tracks import RESIDUAL, StemAudio, Track, save_envelope
from wavenet.errors import SeparationError
from wavenet.files import digest_json

if TYPE_CHECKING:
    from wavenet.audio.separator import Separator


@cached_task(version="3", run_name="separate-{track.name}", ignore=["span"])
def separate(
    workspace: Workspace,
    track: TrackRecord,
    config: SeparationConfig,
    weights: str,
    span: tuple[float, float] = (0.0, 1.0),
) -> TrackRecord:
    """Separate a finished track with Demucs. The new track keeps the id, and so the split, of the old.

    weights: the digest of Demucs' weights, see `digest_weights`. span: from which share to which of all the
    music the track is, to show how far that is. Raises SeparationError if this track cannot be separated;
    what holds for all tracks is told by `check_separator` before.
    """
    from wavenet.audio.separation import separate_file

    (audio,) = track.track.stems.values()
    separator = load_once(config, weights)
    seconds = audio.num_samples / track.track.sample_rate
    with workspace.new_folder("tracks") as folder:
        source = workspace.path(track.folder) / audio.file
        try:
            separation = separate_file(separator, source, folder, show_seconds(track.name, seconds, span))
        except SeparationError as error:  # a file of the workspace tells nobody anything
            raise SeparationError(str(error).removeprefix(f"{source.name}: ")) from error
        stems = {}
        for stem, (stats, envelope) in sorted(separation.stems.items()):  # as a record is read back
            stems[stem] = StemAudio(file=f"{stem}.wav", **vars(stats))
            save_envelope(folder / stems[stem].envelope_file, envelope)
        separated = Track(
            track_id=track.track.track_id,
            sample_rate=separation.sample_rate,
            num_channels=separator.num_channels,
            stems=stems,
            set_aside=track.track.set_aside,
            notes=track.track.notes,
            residual_db=separation.residual_db,
            residual_file=RESIDUAL,
            energy_shares=dict(sorted(separation.energy_shares.items())),
            bleed=dict(sorted(separation.bleed.items())),
        )
        digest = digest_json([track.digest, {stem: audio.source_digest for stem, audio in stems.items()}])
        return TrackRecord(
            digest=digest,
            folder=workspace.publish(folder, digest, track.name),
            name=track.name,
            track=separated,
        )


def check_separator(config: SeparationConfig) -> None:
    """Raise SeparationError, at once, where no track could be separated: no Demucs, weights or device."""
    from wavenet.audio import separator  # torch takes seconds to import

    separator.check_separator(config)


def digest_weights(config: SeparationConfig) -> str:
    """What stands for the weights in a key: the digest of the files that would be loaded."""
    from wavenet.audio import weights

    return weights.digest_weights(config)


@functools.lru_cache(maxsize=1)
def load_once(config: SeparationConfig, weights: str) -> "Separator":
    """The separator of these settings and weights, kept for the next track."""
    from wavenet.audio.separator import load_separator

    return load_separator(config)


def show_seconds(name: str, seconds: float, span: tuple[float, float]) -> Callable[[float, float], None]:
    """A line of progress that counts the seconds of a track; in a run one artifact for all tracks."""
    whole = max(1, round(seconds))
    progress = Progress(f"separate {name}", whole, RunProgress("separate", span=span))

    def report(done: float, total: float) -> None:
        progress.update(whole if done >= total else min(int(done), whole - 1), "seconds")

    return report
