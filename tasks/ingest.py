"""Ingest: from the files of a song to a decoded track."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from tasks.caching import cached_task
from tasks.records import SongRecord, TrackRecord
from tasks.workspace import Workspace
from wavenet.data.scan import Song
from wavenet.data.tracks import decode_track
from wavenet.errors import AudioDecodeError
from wavenet.files import digest_file, digest_json


def song_record(song: Song) -> SongRecord:
    """Digest the files of a song. Raises AudioDecodeError where one cannot be read."""
    try:
        digest = digest_song(song.stems, song.mixture)
    except OSError as error:
        raise AudioDecodeError(f"cannot be read ({error.strerror}); check its permissions") from None
    return SongRecord(digest=digest, name=song.name, stems=song.stems, mixture=song.mixture)


def digest_song(stems: Mapping[str, Path], mixture: Path | None) -> str:
    """The digest of a song's files: their bytes, by stem name."""
    digests = {stem: digest_file(path) for stem, path in stems.items()}
    return digest_json({"stems": digests, "mixture": digest_file(mixture) if mixture else None})


@cached_task(version="1", run_name="ingest-{song.name}")
def ingest(workspace: Workspace, song: SongRecord, sample_rate: int, num_channels: int) -> TrackRecord:
    """Decode a song's stems into working audio. Files that cannot be used are named in the record."""
    with workspace.new_folder("tracks") as folder:
        track = decode_track(song.stems, song.mixture, folder, sample_rate, num_channels)
        if digest_song(song.stems, song.mixture) != song.digest:
            raise AudioDecodeError(f"{song.name}: its files changed while they were read; run again")
        working = {stem: audio.digest for stem, audio in track.stems.items()}
        digest = digest_json([track.track_id, sample_rate, num_channels, working])
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
