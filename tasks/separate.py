"""Separation: from a finished track to a track of stems."""

import functools
from dataclasses import asdict
from typing import Any

from tasks.caching import cached_task
from tasks.records import TrackRecord
from tasks.workspace import Workspace
from wavenet.config import SeparationConfig
from wavenet.data.tracks import StemAudio, Track
from wavenet.errors import SeparationError
from wavenet.files import digest_folder, digest_json


@cached_task(version="1", run_name="separate-{track.name}")
def separate(workspace: Workspace, track: TrackRecord, config: SeparationConfig, weights: str) -> TrackRecord:
    """Separate a finished track with Demucs. The new track keeps the id, and so the split, of the old.

    weights: what stands for the content of a local repository, see `digest_weights`.
    """
    from wavenet.audio.separation import separate_file  # torch takes seconds to import

    (audio,) = track.track.stems.values()
    separator = load_once(config)
    with workspace.new_folder("tracks") as folder:
        source = workspace.path(track.folder) / audio.file
        stats, sample_rate, residual_db = separate_file(separator, source, folder)
        separated = Track(
            track_id=track.track.track_id,
            sample_rate=sample_rate,
            num_channels=track.track.num_channels,
            stems={stem: StemAudio(file=f"{stem}.wav", **asdict(stat)) for stem, stat in stats.items()},
            notes=track.track.notes,
            residual_db=residual_db,
        )
        digest = digest_json([track.digest, {stem: stat.source_digest for stem, stat in stats.items()}])
        return TrackRecord(
            digest=digest,
            folder=workspace.publish(folder, digest, track.name),
            name=track.name,
            track=separated,
        )


def digest_weights(config: SeparationConfig) -> str:
    """The digest of a local repository's files; of the hub's models the name is all that is known."""
    if config.repo is None:
        return ""
    if not config.repo.is_dir():
        raise SeparationError(f"separation.repo: {config.repo} is no folder; expected one of Demucs models")
    return digest_folder(config.repo, sorted(path.name for path in config.repo.iterdir() if path.is_file()))


@functools.lru_cache(maxsize=1)
def load_once(config: SeparationConfig) -> Any:
    """The separator of these settings, kept for the next track."""
    from wavenet.audio.separation import load_separator

    return load_separator(config)
