"""Songs as ingest leaves them, without the flow around it."""

from dataclasses import replace

import numpy as np
import pytest

from tasks.plan import IngestedSong
from tasks.records import SongRecord, TrackRecord
from tasks.workspace import Workspace
from wavenet.audio.decoding import AudioSource
from wavenet.audio.io import write_audio
from wavenet.data.songs import Song
from wavenet.data.tracks import WorkingFormat, decode_stem, make_track

RATE = 2000


@pytest.fixture
def place(tmp_path):
    return Workspace(root=tmp_path / "workspace")


@pytest.fixture
def ingest(place, tmp_path):
    """Decode a song of stems, waveforms or lists of files by name, as ingest does. options: of Song."""

    def ingest(name, rate=RATE, set_aside=(), energy_shares=(), downmix="mean", quality="HQ", **options):
        sources = {key: options.pop(key) for key in list(options) if isinstance(options[key], list)}
        stems = {key: options.pop(key) for key in list(options) if isinstance(options[key], np.ndarray)}
        for stem, waveform in stems.items():
            path = tmp_path / "files" / name / f"{stem}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_audio(path, waveform, rate)
            sources[stem] = [AudioSource(path)]
        folder = place.root / "store" / "tracks" / name
        folder.mkdir(parents=True)
        form = WorkingFormat(rate, 1, downmix, quality)
        decoded = {stem: decode_stem(stem, files, folder, form) for stem, files in sources.items()}
        track = make_track(decoded, dict(set_aside), options.get("mixture"), folder, form)
        record = TrackRecord(
            digest=f"d-{name}",
            folder=f"store/tracks/{name}",
            name=name,
            track=replace(track, energy_shares=dict(energy_shares)),
        )
        song = Song(name, {**sources, **dict.fromkeys(dict(set_aside), ())}, **options)
        return IngestedSong(song=SongRecord(digest=f"s-{name}", song=song), decoded=record, track=record)

    return ingest
