"""A demo album: a seeded toy band, synthesized, so that everything can be tried without records.

Knows nothing of shards or models. The invariants: the same arguments give the same bytes; a song's
mixture is the exact integer sum of its stems; the album appears whole or not at all.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from wavenet.data.demo_score import (
    CLOSED_HAT,
    KICK,
    SNARE,
    LeadSheet,
    Note,
    compose_lead_sheet,
    compose_parts,
    write_score,
)
from wavenet.errors import WavebandError
from wavenet.files import new_folder, publish_folder, read_json, write_json

Waveform = NDArray[np.float64]
Pcm = NDArray[np.int16]

FORMAT_VERSION = 2
STEMS = ("drums", "bass", "keys")
SONG_FILES = (*(f"{stem}.wav" for stem in STEMS), "mixture.wav", "notes.mid")
STEM_PEAKS_DBFS = {"drums": -6.0, "bass": -10.0, "keys": -10.0}
MIXTURE_PEAK_DBFS = -0.6  # far enough from full scale that rounding and the room cannot overflow
LOWEST_SAMPLE_RATE = 8000  # Hz: below it the hi-hat's band does not exist
SHORTEST_SONG = 2.0  # seconds
FADE_SECONDS = 0.03
ROOM_DBFS = -72.0
"""Noise of the room each stem was played in. In digital silence a network that has hardly heard any
stays silent for ever; a record never is."""


class AlbumFolderError(WavebandError, FileExistsError):
    """The folder meant for a demo album holds something else."""


def write_demo_album(
    folder: Path,
    *,
    num_songs: int = 8,
    seconds: float = 24.0,
    sample_rate: int = 16000,
    seed: int = 0,
) -> Path:
    """Write songs `song-01` ... of drums, bass, keys, their mixture and score; returns the folder.

    seconds: the length of each song, at least 2. sample_rate: in Hz, at least 8000. WAV files are
    16-bit mono, `notes.mid` is the score as played, `album.json` holds the arguments. A folder that
    holds this very album is left as it is. Raises AlbumFolderError (a FileExistsError) if the
    folder holds anything else, ValueError if an argument is out of range.
    """
    check_arguments(num_songs, seconds, sample_rate, seed)
    album = {
        "format": "waveband demo album",
        "version": FORMAT_VERSION,
        "num_songs": num_songs,
        "seconds": float(seconds),
        "sample_rate": sample_rate,
        "seed": seed,
    }
    if not folder.exists():
        with new_folder(folder.parent, folder.name) as temporary:
            for index in range(num_songs):
                rng = np.random.default_rng([seed, index])
                write_song(temporary / song_name(index), seconds, sample_rate, rng)
            write_json(temporary / "album.json", album)
            publish_folder(temporary, folder)
    check_album(folder, album)
    return folder


def check_arguments(num_songs: int, seconds: float, sample_rate: int, seed: int) -> None:
    """Raise ValueError for an album that cannot be played."""
    limits = (
        ("num_songs", num_songs, 1),
        ("seconds", seconds, SHORTEST_SONG),
        ("sample_rate", sample_rate, LOWEST_SAMPLE_RATE),
        ("seed", seed, 0),
    )
    for name, value, least in limits:
        if not least <= value < float("inf"):
            raise ValueError(f"demo album: {name} is {value}; give a number of at least {least}.")


def check_album(folder: Path, album: dict[str, Any]) -> None:
    """Raise AlbumFolderError unless the folder holds this very album, complete."""
    found = describe_difference(folder, album)
    if found:
        raise AlbumFolderError(
            f"{folder}: found {found}; expected nothing, or the complete demo album {album}. "
            "Name another folder, or remove this one if nothing in it is needed."
        )


def describe_difference(folder: Path, album: dict[str, Any]) -> str | None:
    """What a path holds instead of the album, in words; None if it holds the album."""
    if not folder.is_dir():
        return "a file"
    if not (folder / "album.json").is_file():
        return "a folder without album.json"
    try:
        found = read_json(folder / "album.json")
    except ValueError:
        return "an album.json that is not JSON"
    if found != album:
        return f"another album.json, {found}"
    songs = [song_name(index) for index in range(album["num_songs"])]
    names = [f"{song}/{file}" for song in songs for file in SONG_FILES]
    missing = [name for name in names if not (folder / name).is_file()]
    return f"this album without {', '.join(missing)}" if missing else None


def song_name(index: int) -> str:
    """The folder name of a song, counted from 0."""
    return f"song-{index + 1:02d}"


def write_song(folder: Path, seconds: float, sample_rate: int, rng: np.random.Generator) -> None:
    """Compose, play and write one song: its stems, mixture and score."""
    sheet = compose_lead_sheet(seconds, rng)
    parts = compose_parts(sheet, rng)
    stems = balance_stems(
        {
            "drums": render_drums(parts["drums"], sheet, sample_rate, rng),
            "bass": render_bass(parts["bass"], sheet, sample_rate),
            "keys": render_keys(parts["keys"], sheet, sample_rate),
        }
    )
    stems = {stem: pcm + room_tone(len(pcm), rng) for stem, pcm in stems.items()}
    mixture = np.sum(list(stems.values()), axis=0, dtype=np.int16)
    folder.mkdir()
    for name, pcm in {**stems, "mixture": mixture}.items():
        soundfile.write(folder / f"{name}.wav", pcm, sample_rate, subtype="PCM_16")
    write_score(folder / "notes.mid", sheet, parts)


def balance_stems(stems: Mapping[str, Waveform]) -> dict[str, Pcm]:
    """Stems at their places in the mix, as 16-bit PCM whose sum does not clip.

    stems: (time,) each, any level. Each is brought to its peak; then one gain for all of them keeps
    the sum at or below MIXTURE_PEAK_DBFS.
    """
    levelled = {
        stem: waveform * decibels(STEM_PEAKS_DBFS[stem]) / np.max(np.abs(waveform))
        for stem, waveform in stems.items()
    }
    mixture_peak = np.max(np.abs(sum(levelled.values())))
    gain = min(1.0, decibels(MIXTURE_PEAK_DBFS) / mixture_peak)
    return {stem: np.round(32767 * gain * w).astype(np.int16) for stem, w in levelled.items()}


def room_tone(num_samples: int, rng: np.random.Generator) -> Pcm:
    """Faint white noise, (num_samples,), 16-bit."""
    return np.round(32767 * decibels(ROOM_DBFS) * rng.standard_normal(num_samples)).astype(np.int16)


def decibels(level: float) -> float:
    """The amplitude of a level in dBFS."""
    return float(10 ** (level / 20))


def render_drums(
    notes: list[Note],
    sheet: LeadSheet,
    sample_rate: int,
    rng: np.random.Generator,
) -> Waveform:
    """The drum stem, (time,), unscaled."""

    def play(note: Note) -> Waveform:
        if note.pitch == CLOSED_HAT:
            return closed_hat(sample_rate, rng)
        if note.pitch == SNARE:
            return snare(sample_rate, rng)
        return swept_drum(note.pitch, sample_rate)

    return render(notes, sheet, sample_rate, play)


def render_bass(notes: list[Note], sheet: LeadSheet, sample_rate: int) -> Waveform:
    """The bass stem, (time,), unscaled: plucked, low-passed saws, no partial above Nyquist."""
    return render(notes, sheet, sample_rate, lambda note: bass_note(note, sheet, sample_rate))


def render_keys(notes: list[Note], sheet: LeadSheet, sample_rate: int) -> Waveform:
    """The keys stem, (time,), unscaled: an electric piano of two sine operators a voice."""
    return render(notes, sheet, sample_rate, lambda note: keys_note(note, sheet, sample_rate))


def render(
    notes: list[Note], sheet: LeadSheet, sample_rate: int, play: Callable[[Note], Waveform]
) -> Waveform:
    """The sum of the played notes, each at its start and velocity, faded at the song's end."""
    waveform = np.zeros(round(sheet.seconds * sample_rate))
    for note in notes:
        start = round(note.start * sheet.seconds_per_beat * sample_rate)
        sound = play(note)[: len(waveform) - start]
        waveform[start : start + len(sound)] += (note.velocity / 127) ** 1.5 * sound
    num_fade = round(FADE_SECONDS * sample_rate)
    waveform[-num_fade:] *= np.linspace(1, 0, num_fade)
    return waveform


def swept_drum(pitch: int, sample_rate: int) -> Waveform:
    """A kick or a tom: a sine whose frequency and loudness fall."""
    low, sweep, fall, decay = (46, 130, 0.025, 0.11) if pitch == KICK else (95, 60, 0.05, 0.1)
    time = times(9 * decay, sample_rate)
    phase = 2 * np.pi * (low * time + sweep * fall * (1 - np.exp(-time / fall)))
    drum: Waveform = np.sin(phase) * np.exp(-time / decay)
    return drum


def snare(sample_rate: int, rng: np.random.Generator) -> Waveform:
    """A snare: two modes of the skin and a burst of wire noise."""
    time = times(0.45, sample_rate)
    skin = np.sin(2 * np.pi * 186 * time) + 0.5 * np.sin(2 * np.pi * 331 * time)
    band = butter(2, (700, 2800), "bandpass", fs=sample_rate, output="sos")
    wires: Waveform = sosfilt(band, rng.normal(size=len(time)))
    return 0.55 * skin * np.exp(-time / 0.05) + 0.3 * wires * np.exp(-time / 0.03)


def closed_hat(sample_rate: int, rng: np.random.Generator) -> Waveform:
    """A closed hi-hat: a short tick of high noise, and a faint ring on to the next one."""
    time = times(0.4, sample_rate)
    band = butter(4, 3000, "highpass", fs=sample_rate, output="sos")
    noise: Waveform = sosfilt(band, rng.normal(size=len(time)))
    return 0.12 * noise * (np.exp(-time / 0.012) + 0.15 * np.exp(-time / 0.08))


def bass_note(note: Note, sheet: LeadSheet, sample_rate: int) -> Waveform:
    """A plucked saw: partials of 1/k under a two-pole low-pass, the high ones dying first."""
    length = note.duration * sheet.seconds_per_beat
    time = times(length + 0.2, sample_rate)
    pitch = frequency(note.pitch)
    cutoff = 250 + 350 * note.velocity / 127
    waveform = np.zeros(len(time))
    for k in range(1, min(12, int(0.45 * sample_rate / pitch)) + 1):
        strength = np.exp(-(0.5 + 0.5 * k) * time) / k / (1 + (k * pitch / cutoff) ** 2)
        waveform += strength * np.sin(2 * np.pi * k * pitch * time)
    return waveform * gate(time, length, attack=0.006, release=0.03)


def keys_note(note: Note, sheet: LeadSheet, sample_rate: int) -> Waveform:
    """An electric piano: one sine bends the phase of another, less as the note dies away."""
    length = note.duration * sheet.seconds_per_beat
    time = times(length + 0.4, sample_rate)
    phase = 2 * np.pi * frequency(note.pitch) * time
    bend = 1.6 * note.velocity / 127 * np.exp(-time / 0.3)
    decay = np.exp(-time * np.sqrt(frequency(note.pitch) / 300) / 0.8)
    envelope = decay * gate(time, length, attack=0.004, release=0.06)
    waveform: Waveform = np.sin(phase + bend * np.sin(phase)) * envelope
    return waveform


def gate(time: Waveform, length: float, attack: float, release: float) -> Waveform:
    """An envelope of 1 that is reached in `attack` s and decays from `length` s on; ends at 0."""
    rise = np.minimum(1, time / attack)
    fall = np.exp(-np.maximum(0, time - length) / release)
    envelope: Waveform = rise * fall * np.minimum(1, (time[-1] - time) / attack)
    return envelope


def times(seconds: float, sample_rate: int) -> Waveform:
    """Sample times in seconds, (time,)."""
    return np.arange(round(seconds * sample_rate)) / sample_rate


def frequency(pitch: int) -> float:
    """The frequency in Hz of a MIDI key, equal-tempered, A4 at 440."""
    return float(440 * 2 ** ((pitch - 69) / 12))
