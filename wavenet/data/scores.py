"""Notes from MIDI files: read, given to stems, laid on frames.

Knows nothing of audio. The invariants: a note's time is where the file's tempo map puts its tick, and no
file, however damaged or absurd, does anything but yield notes in bounded time and memory or raise ScoreError.
"""

import io
import math
import re
import struct
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import mido
import numpy as np
from numpy.typing import NDArray

from wavenet.errors import ScoreError

DRUM_CHANNEL = 9
"""Counted from 0: percussion is "channel 10" of General MIDI."""
_VOICES = frozenset({52, 53, 54, 85, 91})  # three choirs, a sung lead, a choir pad
_PROGRAMS = {  # General MIDI Level 1, sound set, counted from 0
    "bass": frozenset(range(32, 40)),
    "guitar": frozenset(range(24, 32)),
    "piano": frozenset(range(8)),
    "organ": frozenset(range(16, 24)),
    "vocals": _VOICES,
    "strings": frozenset(range(40, 56)) - _VOICES,
    "brass": frozenset(range(56, 64)),
    "winds": frozenset(range(64, 80)),
    "synth": frozenset(range(80, 104)) - _VOICES,
}
_FAMILIES = {  # words of stems' names, the first that is found decides: a bass drum is a drum
    **dict.fromkeys(("drums", "drum", "percussion", "kit", "kick", "snare", "toms", "cymbals"), "drums"),
    **dict.fromkeys(("bass", "basses"), "bass"),
    **dict.fromkeys(("guitar", "guitars"), "guitar"),
    **dict.fromkeys(("piano", "pianos", "keys", "keyboard", "keyboards"), "piano"),
    **dict.fromkeys(("organ", "organs"), "organ"),
    **dict.fromkeys(("vocals", "vocal", "voice", "voices", "vox", "choir"), "vocals"),
    **dict.fromkeys(("strings", "string"), "strings"),
    **dict.fromkeys(("brass", "horns"), "brass"),
    **dict.fromkeys(("winds", "woodwinds", "reeds", "sax", "flute"), "winds"),
    **dict.fromkeys(("synth", "synths"), "synth"),
}
USUAL_STEMS = ("drums", "bass", "vocals", "other")

NUM_PITCHES = 128
ROLL_COLUMNS = 2 * NUM_PITCHES

LARGEST_FILE = 2 << 20
"""Bytes. A symphony has a tenth of it."""
MOST_NOTES = 200_000
LONGEST_SECONDS = 24 * 3600.0
USUAL_TEMPO = 500_000  # microseconds a beat until a file says otherwise: 120 beats a minute
ALL_SOUND_OFF, ALL_NOTES_OFF = 120, 123  # controllers

UNREADABLE = (OSError, EOFError, ValueError, LookupError, TypeError, struct.error, mido.KeySignatureError)
"""What mido raises on damaged files, found by damaging some."""
Event = tuple[int, int, mido.Message]
"""Tick from the start, number of the track, message."""


@dataclass(frozen=True)
class Note:
    """One note as it was written. pitch: MIDI key, 0 to 127. velocity: 1 to 127. channel, program: from 0."""

    pitch: int
    onset_seconds: float
    length_seconds: float
    velocity: int
    channel: int
    program: int


class NoteEvent(NamedTuple):
    """A note that begins in a segment, as it is stored: onset_seconds counts from the segment's start."""

    pitch: int
    onset_seconds: float
    length_seconds: float
    velocity: int


def read_notes(path: Path) -> list[Note]:
    """The notes of a Standard MIDI File, type 0, 1 or 2, by onset and then pitch.

    A note ends at its note-off or at a note-on of velocity 0; of several that sound on one key of one track
    and channel, the oldest ends first. One that is never ended ends where its key is struck again, or with
    its track. Patterns of a type 2 file follow one another. Pedals are not heeded. Raises ScoreError.
    Source: Standard MIDI Files 1.0 (MIDI Manufacturers Association, 1996).
    """
    midi = _parse(path)
    patterns = [[track] for track in midi.tracks] if midi.type == 2 else [midi.tracks]
    notes: list[Note] = []
    start = 0.0
    for tracks in patterns:
        events = _merge(tracks)
        clock = _Clock(events, midi.ticks_per_beat)
        paired = _pair(events, clock, [sum(message.time for message in track) for track in tracks])
        notes += [replace(note, onset_seconds=start + note.onset_seconds) for note in paired]
        start += clock.seconds(events[-1][0]) if events else 0
    _refuse_absurd(path, len(notes), start)
    return sorted(notes, key=lambda note: (note.onset_seconds, note.pitch, note.channel))


def notes_for_stem(
    notes: Iterable[Note], stem: str, stems: Collection[str] = USUAL_STEMS, whole: bool = False
) -> list[Note]:
    """The notes of a song's score that a stem plays, by channel and General MIDI program.

    stem: a name with drums, bass, guitar, piano or keys, organ, vocals, strings, brass, winds or synth among
    its words gets that family. Any other name gets what no family among `stems`, the song's, claims.
    whole: the score is this stem's alone: everything is.
    """
    if whole:
        return list(notes)
    family = _family_of(stem)
    if family is not None:
        return [note for note in notes if _plays(family, note)]
    claimed = {_family_of(name) for name in stems} - {None}
    return [note for note in notes if not any(_plays(other, note) for other in claimed if other)]


def notes_roll(
    notes: Iterable[Note], hop_length: int, sample_rate: int, start_frame: int, num_frames: int
) -> NDArray[np.uint8]:
    """(num_frames, 256) velocities: columns 0 to 127 where a key sounds, 128 to 255 where it is struck.

    Frame i covers samples [i * hop_length, (i + 1) * hop_length); row 0 is start_frame. Of several notes on
    one key the loudest counts. A note of no length sounds in the frame of its onset.
    """
    roll = np.zeros((num_frames, ROLL_COLUMNS), np.uint8)
    for note in notes:
        first = round(note.onset_seconds * sample_rate) // hop_length - start_frame
        if first >= num_frames:
            continue
        end_sample = round((note.onset_seconds + note.length_seconds) * sample_rate)
        end = max(first + 1, -(-end_sample // hop_length) - start_frame)
        if end <= 0:
            continue
        sounding = roll[max(0, first) : end, note.pitch]
        np.maximum(sounding, note.velocity, out=sounding)
        if first >= 0:
            column = NUM_PITCHES + note.pitch
            roll[first, column] = max(roll[first, column], note.velocity)
    return roll


def note_events(notes: Iterable[Note], start_seconds: float, end_seconds: float) -> list[NoteEvent]:
    """The notes whose onset lies in [start_seconds, end_seconds), to be stored with that segment."""
    return [
        NoteEvent(note.pitch, note.onset_seconds - start_seconds, note.length_seconds, note.velocity)
        for note in notes
        if start_seconds <= note.onset_seconds < end_seconds
    ]


def _family_of(stem: str) -> str | None:
    words = re.split(r"[^a-z]+", stem.lower())
    return next((family for word, family in _FAMILIES.items() if word in words), None)


def _plays(family: str, note: Note) -> bool:
    if note.channel == DRUM_CHANNEL or family == "drums":
        return note.channel == DRUM_CHANNEL and family == "drums"
    return note.program in _PROGRAMS[family]


def _parse(path: Path) -> mido.MidiFile:
    """The file as mido reads it. Raises ScoreError."""
    try:
        size = path.stat().st_size
        if not path.is_file() or size > LARGEST_FILE:
            found = f"{size / 2**20:.1f} MB" if path.is_file() else "a folder or device"
            raise ScoreError(
                f"{path.name}: found {found}, expected a MIDI file of at most {LARGEST_FILE >> 20} MB; "
                "remove it, or split the score"
            )
        midi = mido.MidiFile(file=io.BytesIO(path.read_bytes()), clip=True)
        if midi.type not in (0, 1, 2):
            raise ValueError(f"its header says type {midi.type}, there are 0, 1 and 2")
        _ticks_per_second(midi.ticks_per_beat, USUAL_TEMPO)
    except UNREADABLE as error:
        raise ScoreError(
            f"{path.name}: cannot be read as a MIDI score ({_reason(error)}); "
            "it may be damaged or something else; export it again or remove it"
        ) from None
    return midi


def _reason(error: Exception) -> str:
    """Why a file does not open, without its path."""
    if isinstance(error, EOFError):
        return "it ends early"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text.rstrip(".") or type(error).__name__


def _refuse_absurd(path: Path, num_notes: int, seconds: float) -> None:
    if num_notes > MOST_NOTES:
        raise ScoreError(
            f"{path.name}: holds {num_notes} notes, expected at most {MOST_NOTES}; "
            "split the score or remove it"
        )
    if seconds > LONGEST_SECONDS:
        raise ScoreError(
            f"{path.name}: lasts {seconds / 3600:.0f} hours by its tempo map, expected at most "
            f"{LONGEST_SECONDS / 3600:.0f}; its times are damaged: export it again or remove it"
        )


def _merge(tracks: Sequence[mido.MidiTrack]) -> list[Event]:
    """The messages of all tracks in time order; at one tick, program changes come first."""
    events = []
    for number, track in enumerate(tracks):
        tick = 0
        for message in track:
            tick += message.time
            events.append((tick, number, message))
    return sorted(events, key=lambda event: (event[0], event[2].type != "program_change"))


class _Clock:
    """From ticks to seconds, by all tempo changes."""

    def __init__(self, events: Iterable[Event], division: int) -> None:
        self.ticks, self.starts = [0], [0.0]
        self.rates = [_ticks_per_second(division, USUAL_TEMPO)]
        for tick, _, message in events:
            if message.type == "set_tempo":
                self.starts.append(self.seconds(tick))
                self.ticks.append(tick)
                self.rates.append(_ticks_per_second(division, message.tempo))

    def seconds(self, tick: int) -> float:
        """Seconds from the start to a tick."""
        last = bisect_right(self.ticks, tick) - 1
        return self.starts[last] + (tick - self.ticks[last]) / self.rates[last]


def _ticks_per_second(division: int, tempo: int) -> float:
    """By a header's division: ticks a beat, or if negative SMPTE frames a second and ticks a frame."""
    if division > 0:
        return division * 1e6 / tempo if tempo else math.inf
    frames, ticks = -(division >> 8), division & 0xFF
    if frames not in (24, 25, 29, 30) or not ticks:
        raise ValueError(f"its header says {division} ticks a beat")
    return ticks * (30000 / 1001 if frames == 29 else frames)


class _Struck(NamedTuple):
    """A note-on that waits for its end."""

    tick: int
    velocity: int
    program: int


def _pair(events: Iterable[Event], clock: _Clock, ends: Sequence[int]) -> Iterator[Note]:
    """Notes from note-ons and what ends them, by their ends. ends: the last tick of each track."""
    programs = [0] * 16
    sounding: dict[tuple[int, int], dict[int, deque[_Struck]]] = defaultdict(lambda: defaultdict(deque))

    def note(struck: _Struck, tick: int, channel: int, pitch: int) -> Note:
        onset = clock.seconds(struck.tick)
        length = clock.seconds(tick) - onset
        return Note(pitch, onset, length, struck.velocity, channel, struck.program)

    for tick, number, message in events:
        if message.type == "program_change":
            programs[message.channel] = message.program
        elif message.type == "note_on" and message.velocity:
            struck = _Struck(tick, message.velocity, programs[message.channel])
            sounding[number, message.channel][message.note].append(struck)
        elif message.type in ("note_on", "note_off"):
            waiting = sounding[number, message.channel][message.note]
            if waiting:
                yield note(waiting.popleft(), tick, message.channel, message.note)
        elif message.type == "control_change" and message.control in (ALL_SOUND_OFF, ALL_NOTES_OFF):
            for pitch, waiting in sounding.pop((number, message.channel), {}).items():
                yield from (note(struck, tick, message.channel, pitch) for struck in waiting)
    for (number, channel), keys in sounding.items():
        for pitch, waiting in keys.items():
            until = [*(struck.tick for struck in waiting), ends[number]][1:]
            yield from (
                note(struck, tick, channel, pitch) for struck, tick in zip(waiting, until, strict=True)
            )
