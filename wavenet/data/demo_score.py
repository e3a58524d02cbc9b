"""The toy band's scores: a lead sheet, a part for each of drums, bass and keys, a MIDI file.

Knows nothing of sound. The invariant: every note starts and ends on a MIDI tick inside its song and
is over before its pitch is struck again, so that a score read back is exactly the music played.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import mido
import numpy as np

Choice = TypeVar("Choice")

TICKS_PER_BEAT = 960
BEATS_PER_BAR = 4
KICK, SNARE, CLOSED_HAT, TOM = 36, 38, 42, 45  # General MIDI percussion keys
MIDI_CHANNELS = {"drums": 9, "bass": 0, "keys": 1}  # counted from 0: drums are "channel 10"
MIDI_PROGRAMS = {"drums": 0, "bass": 33, "keys": 4}  # standard kit, fingered bass, electric piano
TIMING_SPREAD = 0.004  # seconds: the standard deviation of a player's timing
LOWEST_BASS, LOWEST_KEY = 31, 55  # G1 and G3: the bottom of each player's octave of roots

SCALES = {"minor": (0, 2, 3, 5, 7, 8, 10), "dorian": (0, 2, 3, 5, 7, 9, 10)}
PROGRESSIONS = {  # scale degrees from 0, a bar each
    "minor": ((0, 5, 2, 6), (0, 6, 5, 4), (0, 3, 6, 2), (0, 5, 3, 4)),
    "dorian": ((0, 3, 0, 6), (0, 6, 3, 0), (0, 2, 3, 6), (0, 1, 2, 3)),
}
TURNAROUNDS = (3, 4, 6)

# One character a sixteenth: X accent, x plain, g ghost note, . rest.
KICKS = ("X.....x.X.......", "X..x....X.x.....", "X.....x...X..x..", "X...X...X...X...")
SNARES = ("....X.......X...", "....X..g....X..g", "....X..g.g..X...")
HATS = ("x.g.x.g.x.g.x.g.", "x.xgx.g.x.xgx.g.", "g.x.g.x.g.x.g.xg")
ACCENTS = {"X": 112, "x": 92, "g": 48}
# The second half of a bar: s snare, t tom, k kick.
FILLS = ("k.s.sstt", "s.ts.tkt", "k..sttss", "s.s.tt.k")
FILL_DRUMS = {"s": SNARE, "t": TOM, "k": KICK}

# (beat, length in beats, role in the chord)
BASS_LINES = (
    ((0, 1.4, "root"), (1.5, 0.9, "root"), (2.5, 0.4, "octave"), (3, 0.9, "approach")),
    ((0, 0.9, "root"), (1, 0.9, "fifth"), (2, 1.4, "root"), (3.5, 0.4, "approach")),
    ((0, 0.7, "root"), (0.75, 0.7, "octave"), (2, 0.9, "root"), (3, 0.9, "fifth")),
    ((0, 1.9, "root"), (2, 0.7, "fifth"), (2.75, 0.7, "octave"), (3.5, 0.4, "approach")),
)
# (beat, length in beats, voices of the chord from below)
KEYS_PATTERNS: tuple[tuple[tuple[float, float, tuple[int, ...]], ...], ...] = (
    ((0, 1.4, (0, 1, 2, 3)), (1.5, 1.9, (0, 1, 2, 3)), (3.5, 0.4, (1, 2, 3))),
    ((0, 0.9, (0, 1, 3)), (1, 0.4, (1, 2, 3)), (2.5, 1.4, (0, 1, 2, 3))),
    tuple((step / 2, 0.9, (voice,)) for step, voice in enumerate((0, 1, 2, 3, 2, 1, 3, 2))),
    ((0, 2.9, (0, 1, 2)), (1, 0.9, (3,)), (1.5, 1.4, (2,)), (2.5, 0.4, (3,)), (3, 0.9, (1, 2, 3))),
)


@dataclass(frozen=True)
class Note:
    """One note. Start and duration in beats, pitch a MIDI key, velocity 1 to 127."""

    start: float
    duration: float
    pitch: int
    velocity: int


@dataclass(frozen=True)
class LeadSheet:
    """What the band agrees on: length, tempo in beats a minute, key, the chord of each bar.

    chords are scale degrees from 0, tonic a pitch class from C = 0, mode a key of SCALES.
    """

    seconds: float
    tempo: int
    tonic: int
    mode: str
    chords: tuple[int, ...]

    @property
    def seconds_per_beat(self) -> float:
        return 60 / self.tempo


def compose_lead_sheet(seconds: float, rng: np.random.Generator) -> LeadSheet:
    """A song of that many seconds: 84 to 126 beats a minute, a minor mode, four chords repeated."""
    tempo, tonic = int(rng.integers(84, 127)), int(rng.integers(12))
    mode = pick(("minor", "dorian"), rng)
    progression = pick(PROGRESSIONS[mode], rng)
    num_bars = math.ceil(seconds * tempo / 60 / BEATS_PER_BAR)
    chords = [progression[bar % len(progression)] for bar in range(num_bars)]
    for bar in range(7, num_bars, 8):
        chords[bar] = pick(TURNAROUNDS, rng)
    return LeadSheet(seconds, tempo, tonic, mode, tuple(chords))


def compose_parts(sheet: LeadSheet, rng: np.random.Generator) -> dict[str, list[Note]]:
    """What each stem's player plays."""
    return {
        "drums": compose_drums(sheet, rng),
        "bass": compose_bass(sheet, rng),
        "keys": compose_keys(sheet, rng),
    }


def compose_drums(sheet: LeadSheet, rng: np.random.Generator) -> list[Note]:
    """A groove of kick, snare and closed hi-hat, with a fill in every fourth bar."""
    kicks, snare, hat = (pick(KICKS, rng), pick(KICKS, rng)), pick(SNARES, rng), pick(HATS, rng)
    notes = []
    for bar in range(len(sheet.chords)):
        length = 8 if bar % 4 == 3 else 16
        for drum, pattern in ((KICK, pick(kicks, rng)), (SNARE, snare), (CLOSED_HAT, hat)):
            notes += [
                drum_hit(bar, step, drum, ACCENTS[mark])
                for step, mark in enumerate(pattern[:length])
                if mark != "."
            ]
        if bar % 4 == 3:
            notes += compose_fill(bar, rng)
    return perform(notes, sheet, rng)


def compose_fill(bar: int, rng: np.random.Generator) -> list[Note]:
    """Half a bar of snare, tom and kick, growing louder."""
    return [
        drum_hit(bar, step, FILL_DRUMS[mark], 60 + 3 * step)
        for step, mark in enumerate(pick(FILLS, rng), start=8)
        if mark != "."
    ]


def drum_hit(bar: int, step: int, drum: int, velocity: int) -> Note:
    """A hit on a sixteenth of a bar."""
    return Note(BEATS_PER_BAR * bar + step / 4, 0.2, drum, velocity)


def compose_bass(sheet: LeadSheet, rng: np.random.Generator) -> list[Note]:
    """A line on the chords' roots, with fifths, octaves and a step towards the next root."""
    lines = (pick(BASS_LINES, rng), pick(BASS_LINES, rng))
    notes = []
    for bar in range(len(sheet.chords)):
        for beat, length, role in pick(lines, rng):
            pitch = bass_pitch(sheet, bar, role, rng)
            notes.append(Note(BEATS_PER_BAR * bar + beat, length, pitch, 104 if beat == 0 else 88))
    return perform(notes, sheet, rng)


def bass_pitch(sheet: LeadSheet, bar: int, role: str, rng: np.random.Generator) -> int:
    """The MIDI key of a role in the bar's chord; an approach is a scale step from the next root."""
    degree, following = sheet.chords[bar], sheet.chords[(bar + 1) % len(sheet.chords)]
    root = fold(scale_pitch(sheet, degree), LOWEST_BASS)
    if role == "approach":
        step = scale_pitch(sheet, following + pick((-1, 1), rng)) - scale_pitch(sheet, following)
        return fold(scale_pitch(sheet, following), LOWEST_BASS) + step
    fifth = scale_pitch(sheet, degree + 4) - scale_pitch(sheet, degree)
    return root + {"root": 0, "fifth": fifth, "octave": 12}[role]


def compose_keys(sheet: LeadSheet, rng: np.random.Generator) -> list[Note]:
    """Seventh chords, voiced openly, in one rhythm for most bars and in another for some."""
    usual, other = (KEYS_PATTERNS[i] for i in rng.permutation(len(KEYS_PATTERNS))[:2])
    notes = []
    for bar, degree in enumerate(sheet.chords):
        voicing = voice_chord(sheet, degree)
        for beat, length, voices in pick((usual, usual, other), rng):
            start = BEATS_PER_BAR * bar + beat
            notes += [Note(start, length, voicing[voice], 84) for voice in voices]
    return perform(notes, sheet, rng)


def voice_chord(sheet: LeadSheet, degree: int) -> list[int]:
    """Four MIDI keys of the seventh chord on a degree, low to high, all near the same register."""
    close = sorted(fold(scale_pitch(sheet, degree + third), LOWEST_KEY) for third in (0, 2, 4, 6))
    close[1] += 12
    return sorted(close)


def scale_pitch(sheet: LeadSheet, degree: int) -> int:
    """Semitones of a scale degree (any whole number) above the lowest C."""
    scale = SCALES[sheet.mode]
    return sheet.tonic + 12 * (degree // len(scale)) + scale[degree % len(scale)]


def fold(pitch: int, lowest: int) -> int:
    """The same pitch class in the octave that starts at `lowest`."""
    return lowest + (pitch - lowest) % 12


def pick(choices: Sequence[Choice], rng: np.random.Generator) -> Choice:
    """One of the choices, each as likely."""
    return choices[int(rng.integers(len(choices)))]


def perform(notes: list[Note], sheet: LeadSheet, rng: np.random.Generator) -> list[Note]:
    """The notes as a person plays them: timing and force vary, on ticks, nothing after the end."""
    end = math.floor(sheet.seconds / sheet.seconds_per_beat * TICKS_PER_BEAT)
    next_start: dict[int, int] = {}
    played = []
    for note in sorted(notes, key=lambda note: (note.start, note.pitch), reverse=True):
        late = rng.normal(0, TIMING_SPREAD) / sheet.seconds_per_beat
        velocity = int(np.clip(round(note.velocity + rng.normal(0, 5)), 1, 127))
        start = max(0, round((note.start + late) * TICKS_PER_BEAT))
        stop = start + round(note.duration * TICKS_PER_BEAT)
        stop = min(stop, end, next_start.get(note.pitch, end))
        if stop > start:
            next_start[note.pitch] = start
            ticks = (start / TICKS_PER_BEAT, (stop - start) / TICKS_PER_BEAT)
            played.append(Note(*ticks, note.pitch, velocity))
    return sorted(played, key=lambda note: (note.start, note.pitch))


def write_score(path: Path, sheet: LeadSheet, parts: Mapping[str, list[Note]]) -> None:
    """Write a MIDI file: a first track with tempo and meter, then one track for each stem."""
    midi = mido.MidiFile(type=1, ticks_per_beat=TICKS_PER_BEAT)
    meter = mido.MetaMessage("time_signature", numerator=BEATS_PER_BAR, denominator=4)
    tempo = mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(sheet.tempo))
    midi.tracks.append(mido.MidiTrack([tempo, meter]))
    midi.tracks.extend(score_track(stem, notes) for stem, notes in parts.items())
    midi.save(path)


def score_track(stem: str, notes: list[Note]) -> mido.MidiTrack:
    """One stem's MIDI track: its name, its instrument, its notes."""
    channel, program = MIDI_CHANNELS[stem], MIDI_PROGRAMS[stem]
    events = []  # (tick, velocity, pitch): a note's end has velocity 0 and sorts before a start
    for note in notes:
        start, stop = (round(t * TICKS_PER_BEAT) for t in (note.start, note.start + note.duration))
        events += [(start, note.velocity, note.pitch), (stop, 0, note.pitch)]
    track = mido.MidiTrack([mido.MetaMessage("track_name", name=stem)])
    track.append(mido.Message("program_change", program=program, channel=channel))
    now = 0
    for tick, velocity, pitch in sorted(events):
        kind, wait, now = "note_on" if velocity else "note_off", tick - now, tick
        track.append(mido.Message(kind, channel=channel, note=pitch, velocity=velocity, time=wait))
    return track
