"""Ingest: from the files of a song to a decoded track."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from tasks.caching import cached_task
from tasks.pool import WorkerLostError, run_apart
from tasks.records import ScoreRecord, SongRecord, TrackRecord
from tasks.workspace import Workspace
from wavenet.audio.decoding import AudioSource
from wavenet.data.listing import Listing
from wavenet.data.songs import Song
from wavenet.data.tracks import WITHOUT_MIXTURE, StemAudio, Track, WorkingFormat, decode_stem, make_track
from wavenet.errors import AudioDecodeError
from wavenet.files import digest_file, digest_json

SECONDS_TO_DECODE, BYTES_A_SECOND = 120.0, 200_000
"""A decoder that needs longer than this, and than a second for so many bytes, hangs."""


def song_record(song: Song, listing: Listing) -> SongRecord:
    """Bring and digest the files of a song. Raises AudioDecodeError where one cannot be read."""
    try:
        for path in song_files(song):
            listing.fetch(path)
        return SongRecord(digest=digest_song(song), song=song)
    except OSError as error:
        reason = error.strerror or error
        raise AudioDecodeError(f"cannot be read ({reason}); check its permissions") from None


def song_files(song: Song) -> list[Path]:
    """All audio files and scores of a song."""
    sources = [source for stem in song.stems.values() for source in stem]
    sources += [song.mixture] if song.mixture else []
    return [*(source.path for source in sources), *song.scores.values()]


def digest_song(song: Song) -> str:
    """The digest of a song's audio files: their bytes, by stem name."""
    stems = {stem: [_digest_source(source) for source in sources] for stem, sources in song.stems.items()}
    return digest_json({"stems": stems, "mixture": _digest_source(song.mixture) if song.mixture else None})


def _digest_source(source: AudioSource) -> list:
    return [digest_file(source.path), source.start, source.end, source.stream]


def score_record(song: Song, stem: str) -> ScoreRecord | None:
    """The notes of a stem: its own score, or the song's."""
    path = song.scores.get(stem) or song.scores.get("")
    if path is None:
        return None
    whole = stem not in song.scores
    return ScoreRecord(digest=digest_json([digest_file(path), whole]), path=path, whole=whole)


@cached_task(version="3", run_name="ingest-{song.name}", ignore=["workers"])
def ingest(
    workspace: Workspace,
    song: SongRecord,
    sample_rate: int,
    num_channels: int,
    downmix: str,
    resample_quality: str,
    workers: int | None,
) -> TrackRecord:
    """Decode a song's stems into working audio. Files that cannot be used are named in the record."""
    form = WorkingFormat(sample_rate, num_channels, downmix, resample_quality)
    with workspace.new_folder("tracks") as folder:
        stems, errors = decode_stems(song.song, folder, form, workers)
        set_aside = {stem: _nameless(str(error), song.song.stems[stem]) for stem, error in errors.items()}
        track = _make_apart(song.song, stems, set_aside, folder, form, workers)
        if digest_song(song.song) != song.digest:
            raise AudioDecodeError(f"{song.name}: its files changed while they were read; run again")
        working = {stem: audio.digest for stem, audio in track.stems.items()}
        digest = digest_json([track.track_id, form.__dict__, working])
        return TrackRecord(
            digest=digest,
            folder=workspace.publish(folder, digest, song.name),
            name=song.name,
            track=track,
            lost=sorted(stem for stem, error in errors.items() if isinstance(error, WorkerLostError)),
        )


def _make_apart(
    song: Song,
    stems: dict[str, StemAudio],
    set_aside: dict[str, str],
    folder: Path,
    form: WorkingFormat,
    workers: int | None,
) -> Track:
    """The track of decoded stems; its mixture is decoded apart too, and can be done without."""
    if song.mixture is None or set_aside:
        return make_track(stems, set_aside, None, folder, form)
    path = song.mixture.path
    try:
        return run_apart(
            make_track,
            *(stems, set_aside, song.mixture, folder, form),
            timeout=_time_limit([song.mixture]),
            what=path.name,
            workers=workers,
        )
    except AudioDecodeError as error:
        track = make_track(stems, set_aside, None, folder, form)
        return replace(track, notes=[*track.notes, f"{error}; {WITHOUT_MIXTURE}"])


def decode_stems(
    song: Song, folder: Path, form: WorkingFormat, workers: int | None
) -> tuple[dict[str, StemAudio], dict[str, AudioDecodeError]]:
    """Decode all stems side by side, each in a process apart. Returns them, and why others failed."""
    good: dict[str, StemAudio] = {}
    bad: dict[str, AudioDecodeError] = {}

    def decode(stem: str) -> None:
        try:
            good[stem] = _decode_apart(stem, song.stems[stem], folder, form, workers)
        except AudioDecodeError as error:
            bad[stem] = error

    with ThreadPoolExecutor(max_workers=len(song.stems)) as threads:
        list(threads.map(decode, song.stems))
    return good, bad


def _decode_apart(
    stem: str, sources: list[AudioSource], folder: Path, form: WorkingFormat, workers: int | None
) -> StemAudio:
    return run_apart(
        decode_stem,
        *(stem, sources, folder, form),
        timeout=_time_limit(sources),
        what=sources[0].path.name,
        workers=workers,
    )


def _time_limit(sources: list[AudioSource]) -> float:
    return SECONDS_TO_DECODE + sum(source.path.stat().st_size for source in sources) / BYTES_A_SECOND


def _nameless(reason: str, sources: list[AudioSource]) -> str:
    """A reason without the file's name where it is the stem's only one: the same bytes may have others."""
    return reason.removeprefix(f"{sources[0].path.name}: ") if len(sources) == 1 else reason
