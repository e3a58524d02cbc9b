"""Ingest: from the files of a song to a decoded track."""

from collections.abc import Iterable
from pathlib import Path

from tasks.caching import cached_task
from tasks.records import SongRecord, TrackRecord
from tasks.workspace import Workspace
from wavenet.data.scan import Song
from wavenet.data.tracks import decode_track
from wavenet.files import digest_file, digest_json


def song_record(song: Song) -> SongRecord:
    """Digest the files of a song. What cannot be read has no digest and fails on decoding."""
    digests = {name: _digest(path) for name, path in song.stems.items()}
    mixture = _digest(song.mixture) if song.mixture else None
    digest = digest_json({"stems": digests, "mixture": mixture})
    return SongRecord(digest=digest, name=song.name, stems=song.stems, mixture=song.mixture)


@cached_task(version="1", run_name="ingest-{song.name}")
def ingest(workspace: Workspace, song: SongRecord, sample_rate: int, num_channels: int) -> TrackRecord:
    """Decode a song's stems into working audio. Files that cannot be used are named in the record."""
    with workspace.new_folder("tracks") as folder:
        track = decode_track(song.stems, song.mixture, folder, sample_rate, num_channels)
        digest = digest_json([track.track_id, sample_rate, num_channels, sorted(track.stems)])
        return TrackRecord(
            digest=digest, folder=workspace.publish(folder, digest, song.name), name=song.name, track=track
        )


def duplicate_of(tracks: Iterable[TrackRecord]) -> dict[str, str]:
    """Names of tracks whose audio an earlier one holds already, each with the earlier one's name."""
    first: dict[str, str] = {}
    duplicates = {}
    for record in tracks:
        if record.track.track_id in first:
            duplicates[record.name] = first[record.track.track_id]
        first.setdefault(record.track.track_id, record.name)
    return duplicates


def _digest(path: Path) -> str | None:
    try:
        return digest_file(path)
    except OSError:
        return None
