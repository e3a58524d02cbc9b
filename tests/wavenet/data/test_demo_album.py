"""The demo album: the same bytes each time, stems that sum exactly, a score that is what sounds."""

from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter, resample_poly

from wavenet.data import demo_album
from wavenet.data.demo_album import SONG_FILES, STEMS, balance_stems, write_demo_album
from wavenet.data.demo_score import (
    TICKS_PER_BEAT,
    Note,
    compose_lead_sheet,
    compose_parts,
    write_score,
)

NUM_SONGS, SECONDS, SAMPLE_RATE = 3, 6.0, 16000
SONG_NAMES = ("song-01", "song-02", "song-03")


def write_small_album(folder: Path, seed: int = 0) -> Path:
    shape = {"num_songs": NUM_SONGS, "sample_rate": SAMPLE_RATE}
    return write_demo_album(folder, seconds=SECONDS, seed=seed, **shape)


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_album(tmp_path_factory.mktemp("demo") / "album")


def read_pcm(path: Path) -> NDArray[np.int16]:
    pcm, sample_rate = soundfile.read(path, dtype="int16")
    assert sample_rate == SAMPLE_RATE
    return np.asarray(pcm, dtype=np.int16)


def read_files(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def read_notes(track: mido.MidiTrack) -> list[Note]:
    tick, sounding, notes = 0, {}, []
    for message in track:
        tick += message.time
        if message.type == "note_on":
            assert message.note not in sounding
            sounding[message.note] = (tick, message.velocity)
        elif message.type == "note_off":
            start, velocity = sounding.pop(message.note)
            times = (start / TICKS_PER_BEAT, (tick - start) / TICKS_PER_BEAT)
            notes.append(Note(*times, message.note, velocity))
    assert not sounding
    return sorted(notes, key=lambda note: (note.start, note.pitch))


def stem_track(midi: mido.MidiFile, stem: str) -> mido.MidiTrack:
    return next(track for track in midi.tracks if track.name == stem)


def test_album_holds_its_songs_and_nothing_else(album: Path) -> None:
    expected = {f"{song}/{name}" for song in SONG_NAMES for name in SONG_FILES}
    assert set(read_files(album)) == expected | {"album.json"}


def test_same_seed_gives_the_same_bytes(album: Path, tmp_path: Path) -> None:
    assert read_files(write_small_album(tmp_path / "again")) == read_files(album)


def test_another_seed_gives_other_audio(album: Path, tmp_path: Path) -> None:
    other = write_small_album(tmp_path / "other", seed=1)
    for song in SONG_NAMES:
        for stem in STEMS:
            one, two = (read_pcm(folder / song / f"{stem}.wav") for folder in (album, other))
            assert not np.array_equal(one, two)


def test_an_album_of_more_songs_starts_with_the_same_songs(album: Path, tmp_path: Path) -> None:
    longer = write_demo_album(
        tmp_path / "longer", num_songs=NUM_SONGS + 1, seconds=SECONDS, sample_rate=SAMPLE_RATE
    )
    for song in SONG_NAMES:
        assert read_files(longer / song) == read_files(album / song)


def test_songs_differ_from_each_other(album: Path) -> None:
    for name in SONG_FILES:
        assert len({(album / song / name).read_bytes() for song in SONG_NAMES}) == NUM_SONGS


@pytest.mark.parametrize("song", SONG_NAMES)
def test_mixture_equals_sum_of_stems(album: Path, song: str) -> None:
    stems = [read_pcm(album / song / f"{stem}.wav").astype(np.int64) for stem in STEMS]
    assert np.array_equal(read_pcm(album / song / "mixture.wav"), sum(stems))


@pytest.mark.parametrize("song", SONG_NAMES)
def test_nothing_clips(album: Path, song: str) -> None:
    for name in (*STEMS, "mixture"):
        peak = np.max(np.abs(read_pcm(album / song / f"{name}.wav").astype(np.int64)))
        assert peak < 32768 * 10 ** (-0.5 / 20)


def test_stems_that_peak_together_are_turned_down_together() -> None:
    peak = np.sin(np.linspace(0, np.pi, 101))
    stems = balance_stems({"drums": 3 * peak, "bass": 0.1 * peak, "keys": peak})
    levels = {stem: 20 * np.log10(np.max(pcm) / 32767) for stem, pcm in stems.items()}
    assert levels["drums"] - levels["bass"] == pytest.approx(4, abs=0.01)
    assert levels["bass"] == levels["keys"]
    mixture_peak = sum(int(np.max(pcm)) for pcm in stems.values()) / 32767
    assert 20 * np.log10(mixture_peak) == pytest.approx(-0.6, abs=0.01)


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("song", SONG_NAMES)
def test_every_stem_sounds_in_every_song(album: Path, song: str, stem: str) -> None:
    pcm = read_pcm(album / song / f"{stem}.wav")
    assert pcm.shape == (round(SECONDS * SAMPLE_RATE),)
    assert np.sqrt(np.mean((pcm / 32768) ** 2)) > 10 ** (-35 / 20)
    assert np.mean(pcm == 0) < 0.5


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("song", SONG_NAMES)
def test_a_linear_predictor_explains_most_of_every_stem(album: Path, song: str, stem: str) -> None:
    waveform = resample_poly(read_pcm(album / song / f"{stem}.wav") / 32768, 1, 2)
    lags = np.array([waveform[: len(waveform) - lag] @ waveform[lag:] for lag in range(33)])
    lags[0] *= 1 + 1e-6
    predicted = lfilter([0, *solve_toeplitz(lags[:-1], lags[1:])], 1, waveform)
    assert np.sum((waveform - predicted) ** 2) < 0.05 * np.sum(waveform**2)


@pytest.mark.parametrize("song", SONG_NAMES)
def test_score_is_as_long_as_the_audio(album: Path, song: str) -> None:
    midi = mido.MidiFile(album / song / "notes.mid")
    tempo = next(message.tempo for message in midi.tracks[0] if message.type == "set_tempo")
    assert 84 <= round(mido.tempo2bpm(tempo)) <= 126
    assert SECONDS - 2 * tempo / 1e6 < midi.length < SECONDS + 1e-3


@pytest.mark.parametrize("song", SONG_NAMES)
def test_score_has_a_track_for_each_stem_and_drums_on_channel_10(album: Path, song: str) -> None:
    midi = mido.MidiFile(album / song / "notes.mid")
    for stem in STEMS:
        notes = [message for message in stem_track(midi, stem) if message.type == "note_on"]
        assert len(notes) > SECONDS / 2
        assert all((message.channel == 9) == (stem == "drums") for message in notes)
    drums = {note.pitch for note in read_notes(stem_track(midi, "drums"))}
    assert {36, 38, 42} <= drums <= {36, 38, 42, 45}


@pytest.mark.parametrize("seed", range(20))
def test_score_read_back_is_the_music_played(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sheet = compose_lead_sheet(24.0, rng)
    parts = compose_parts(sheet, rng)
    write_score(tmp_path / "notes.mid", sheet, parts)
    midi = mido.MidiFile(tmp_path / "notes.mid")
    assert {stem: read_notes(stem_track(midi, stem)) for stem in STEMS} == parts


@pytest.mark.parametrize("song", SONG_NAMES)
def test_the_bass_sounds_at_the_pitches_of_its_score(album: Path, song: str) -> None:
    midi = mido.MidiFile(album / song / "notes.mid")
    tempo = next(message.tempo for message in midi.tracks[0] if message.type == "set_tempo")
    pcm = read_pcm(album / song / "bass.wav")
    for note in read_notes(stem_track(midi, "bass")):
        beats = (note.start, note.start + note.duration)
        start, stop = (round(beat * tempo / 1e6 * SAMPLE_RATE) for beat in beats)
        if stop - start > 0.3 * SAMPLE_RATE:
            spectrum = np.abs(np.fft.rfft(pcm[start:stop] * np.hanning(stop - start), 2**17))
            loudest = np.argmax(spectrum) * SAMPLE_RATE / 2**17
            assert loudest == pytest.approx(440 * 2 ** ((note.pitch - 69) / 12), rel=0.03)


def test_a_second_call_writes_nothing(tmp_path: Path) -> None:
    folder = write_small_album(tmp_path / "album")
    before = {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}
    assert write_small_album(folder) == folder
    assert {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]} == before


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "mine.wav").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"records: found a folder without album\.json") as e:
        write_small_album(tmp_path / "records")
    assert "expected nothing, or the complete demo album" in str(e.value)
    assert "Name another folder" in str(e.value)
    assert read_files(tmp_path) == {"records/mine.wav": b"mine"}


def test_an_album_of_other_arguments_is_refused(tmp_path: Path) -> None:
    write_demo_album(tmp_path / "album", num_songs=1, seconds=2.0, seed=0)
    with pytest.raises(FileExistsError, match=r"found another album\.json.*'seed': 0"):
        write_demo_album(tmp_path / "album", num_songs=1, seconds=2.0, seed=1)


def test_an_album_with_a_missing_file_is_refused(tmp_path: Path) -> None:
    folder = write_demo_album(tmp_path / "album", num_songs=1, seconds=2.0)
    (folder / "song-01" / "bass.wav").unlink()
    with pytest.raises(FileExistsError, match=r"this album without song-01/bass\.wav"):
        write_demo_album(folder, num_songs=1, seconds=2.0)


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(demo_album, "write_score", fail)
    with pytest.raises(OSError, match="disk full"):
        write_small_album(tmp_path / "album")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("num_songs", 0), ("seconds", 1.0), ("seconds", float("nan")), ("sample_rate", 4000)],
)
def test_arguments_out_of_range_are_refused(tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        write_demo_album(tmp_path / "album", **{name: value})


@pytest.mark.parametrize("sample_rate", [8000, 44100])
def test_other_sample_rates_work_and_play_the_same_score(tmp_path: Path, sample_rate: int) -> None:
    folder = write_demo_album(tmp_path / "album", num_songs=1, seconds=2.5, sample_rate=sample_rate)
    usual = write_demo_album(tmp_path / "usual", num_songs=1, seconds=2.5)
    assert soundfile.info(folder / "song-01" / "keys.wav").samplerate == sample_rate
    scores = {(album / "song-01" / "notes.mid").read_bytes() for album in (folder, usual)}
    assert len(scores) == 1
