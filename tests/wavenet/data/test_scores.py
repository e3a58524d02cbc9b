"""Notes come out of MIDI files as they were put in, and damaged files say so."""

import struct
from itertools import pairwise

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavenet.data.demo_album import write_demo_album
from wavenet.data.scores import (
    Note,
    NoteEvent,
    ScoreError,
    note_events,
    notes_for_stem,
    notes_roll,
    read_notes,
)

TICKS = 480
TEMPO = 400_000  # microseconds a beat
TICK_SECONDS = TEMPO * 1e-6 / TICKS


def write_midi(path, *tracks, kind=1, division=TICKS, tempo=TEMPO):
    """A file of tracks of (tick from the start, message)."""
    midi = mido.MidiFile(type=kind, ticks_per_beat=division)
    for number, events in enumerate(tracks):
        track = mido.MidiTrack()
        if tempo and (number == 0 or kind == 2):
            track.append(mido.MetaMessage("set_tempo", tempo=tempo))
        now = 0
        for tick, message in sorted(events, key=lambda event: event[0]):
            track.append(message.copy(time=tick - now))
            now = tick
        midi.tracks.append(track)
    midi.save(path)
    return path


def on(pitch, velocity=100, channel=0):
    return mido.Message("note_on", note=pitch, velocity=velocity, channel=channel)


def off(pitch, channel=0):
    return mido.Message("note_off", note=pitch, channel=channel)


def program(number, channel=0):
    return mido.Message("program_change", program=number, channel=channel)


def end(tick):
    return tick, mido.MetaMessage("end_of_track")


def times(notes):
    """(pitch, onset and length in ticks of the usual test file)."""
    return [
        (note.pitch, round(note.onset_seconds / TICK_SECONDS), round(note.length_seconds / TICK_SECONDS))
        for note in notes
    ]


def make_note(pitch=60, onset=0.0, length=1.0, velocity=100, channel=0, program=0):
    return Note(pitch, onset, length, velocity, channel, program)


written_notes = st.builds(
    make_note,
    pitch=st.integers(0, 127),
    onset=st.integers(0, 20_000),
    length=st.integers(1, 5000),
    velocity=st.integers(1, 127),
    channel=st.integers(0, 15),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(written_notes, max_size=30), st.sampled_from([0, 1]), st.integers(1, 3))
def test_notes_that_were_written_are_read_back(tmp_path_factory, notes, kind, num_tracks):
    """Ticks are kept exactly; where notes of a key overlap, ends are given out oldest first."""
    num_tracks = 1 if kind == 0 else num_tracks
    tracks = [[] for _ in range(num_tracks)]
    for note in notes:
        track = tracks[note.channel % num_tracks]
        track.append((note.onset_seconds, on(note.pitch, note.velocity, note.channel)))
        track.append((note.onset_seconds + note.length_seconds, off(note.pitch, note.channel)))
    path = write_midi(tmp_path_factory.mktemp("midi") / "a.mid", *tracks, kind=kind)
    found = read_notes(path)

    def strikes(notes, tick_seconds):
        return sorted((n.pitch, n.channel, round(n.onset_seconds / tick_seconds), n.velocity) for n in notes)

    def ends(notes, tick_seconds):
        return sorted(
            (n.pitch, n.channel, round((n.onset_seconds + n.length_seconds) / tick_seconds)) for n in notes
        )

    assert strikes(found, TICK_SECONDS) == strikes(notes, 1)
    assert ends(found, TICK_SECONDS) == ends(notes, 1)
    assert [note.onset_seconds for note in found] == sorted(note.onset_seconds for note in found)
    for note in found:
        assert note.length_seconds >= 0
        assert note.onset_seconds / TICK_SECONDS == pytest.approx(round(note.onset_seconds / TICK_SECONDS))


def test_a_note_on_of_velocity_0_ends_a_note(tmp_path):
    path = write_midi(tmp_path / "a.mid", [(10, on(60)), (30, on(60, 0))])
    assert times(read_notes(path)) == [(60, 10, 20)]


def test_running_status_is_read(tmp_path):
    body = bytes([0, 0x90, 60, 100, 10, 62, 90, 10, 60, 0, 10, 62, 0, 0, 0xFF, 0x2F, 0])
    path = tmp_path / "a.mid"
    path.write_bytes(
        b"MThd" + struct.pack(">IHHH", 6, 0, 1, 96) + b"MTrk" + struct.pack(">I", len(body)) + body
    )
    seconds = 0.5 / 96  # 120 beats a minute, as no tempo is given
    assert [(n.pitch, n.velocity) for n in read_notes(path)] == [(60, 100), (62, 90)]
    assert [n.onset_seconds for n in read_notes(path)] == pytest.approx([0, 10 * seconds])
    assert [n.length_seconds for n in read_notes(path)] == pytest.approx([20 * seconds, 20 * seconds])


def test_of_overlapping_notes_of_one_key_the_oldest_ends_first(tmp_path):
    events = [(0, on(60, 50)), (100, on(60, 70)), (200, off(60)), (300, off(60))]
    notes = read_notes(write_midi(tmp_path / "a.mid", events))
    assert times(notes) == [(60, 0, 200), (60, 100, 200)]
    assert [note.velocity for note in notes] == [50, 70]


def test_one_key_in_two_tracks_is_two_notes(tmp_path):
    path = write_midi(tmp_path / "a.mid", [(0, on(60)), (500, off(60))], [(100, on(60)), (200, off(60))])
    assert times(read_notes(path)) == [(60, 0, 500), (60, 100, 100)]


def test_a_note_never_ended_lasts_to_the_next_on_its_key_or_the_end_of_its_track(tmp_path):
    events = [(0, on(60)), (100, on(60)), (150, on(64)), end(700)]
    assert times(read_notes(write_midi(tmp_path / "a.mid", events))) == [
        (60, 0, 100),
        (60, 100, 600),
        (64, 150, 550),
    ]


def test_all_notes_off_ends_the_notes_of_its_channel(tmp_path):
    quiet = mido.Message("control_change", control=123, channel=0)
    events = [(0, on(60)), (0, on(64)), (0, on(67, channel=1)), (90, quiet), end(400)]
    assert times(read_notes(write_midi(tmp_path / "a.mid", events))) == [
        (60, 0, 90),
        (64, 0, 90),
        (67, 0, 400),
    ]


def test_an_end_without_a_note_is_nothing(tmp_path):
    assert read_notes(write_midi(tmp_path / "a.mid", [(0, off(60)), (5, on(61, 0))])) == []


def test_the_tempo_map_places_notes_in_all_tracks(tmp_path):
    """Four beats: one at 120 a minute, two at 60, one at 240."""
    tempos = [
        (TICKS, mido.MetaMessage("set_tempo", tempo=1_000_000)),
        (3 * TICKS, mido.MetaMessage("set_tempo", tempo=250_000)),
    ]
    notes = [(beat * TICKS, on(60 + beat)) for beat in range(5)] + [(6 * TICKS, off(60))]
    found = read_notes(write_midi(tmp_path / "a.mid", tempos, notes, tempo=None))
    assert [note.onset_seconds for note in found] == pytest.approx([0, 0.5, 1.5, 2.5, 2.75])
    assert found[0].length_seconds == pytest.approx(3.25)


def test_times_may_be_in_smpte_frames(tmp_path):
    path = write_midi(tmp_path / "a.mid", [(50, on(60)), (75, off(60))], division=-25 * 256 + 40)
    (note,) = read_notes(path)
    assert (note.onset_seconds, note.length_seconds) == pytest.approx((0.05, 0.025))


def test_patterns_of_a_type_2_file_follow_one_another(tmp_path):
    path = write_midi(
        tmp_path / "a.mid", [(0, on(60)), (100, off(60)), end(200)], [(10, on(62)), (20, off(62))], kind=2
    )
    assert times(read_notes(path)) == [(60, 0, 100), (62, 210, 10)]


def test_a_note_has_the_program_of_its_channel_then(tmp_path):
    events = [
        (0, on(60)),
        (9, off(60)),
        (10, program(33)),
        (10, on(60)),
        (19, off(60)),
        (20, on(60, channel=1)),
    ]
    other = [(0, program(48, channel=1)), (0, program(5))]
    notes = read_notes(write_midi(tmp_path / "a.mid", events, other))
    assert [(note.channel, note.program) for note in notes] == [(0, 5), (0, 33), (1, 48)]


def test_the_score_of_the_demo_album_is_read_as_its_stems(tmp_path):
    album = write_demo_album(tmp_path / "album", num_songs=1, seconds=4.0)
    notes = read_notes(album / "song-01" / "notes.mid")
    stems = ("drums", "bass", "keys")
    parts = [notes_for_stem(notes, stem, stems) for stem in stems]
    assert all(parts)
    assert sum(map(len, parts)) == len(notes)
    assert max(note.onset_seconds + note.length_seconds for note in notes) <= 4.0 + 1e-6


# Damaged and absurd files

SCORE = [[(0, program(33)), (10, on(40)), (90, off(40)), (100, on(43)), (180, off(43))]] * 2


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=6),
    st.integers(0, 200),
    st.booleans(),
)
def test_a_damaged_file_yields_notes_or_says_what_is_wrong(tmp_path_factory, changes, length, cut):
    path = write_midi(tmp_path_factory.mktemp("midi") / "a.mid", *SCORE)
    data = bytearray(path.read_bytes())
    for place, value in changes:
        data[place % len(data)] = value
    path.write_bytes(data[:length] if cut else data)
    try:
        notes = read_notes(path)
    except ScoreError:
        return
    assert all(n.onset_seconds >= 0 and n.length_seconds >= 0 and 0 < n.velocity < 128 for n in notes)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "it ends early"),
        (b"RIFF....WAVEfmt ", "MThd not found"),
        (b"MThd" + struct.pack(">IHHH", 6, 9, 0, 96), "type 9"),
        (b"MThd" + struct.pack(">IHHH", 6, 1, 0, 0), "0 ticks"),
        (b"MThd" + struct.pack(">IHHH", 6, 1, 1, 96) + b"MTrk" + struct.pack(">I", 1 << 30), "it ends early"),
    ],
)
def test_what_is_no_score_is_refused_with_its_name_what_was_found_and_a_remedy(tmp_path, data, found):
    path = tmp_path / "a.mid"
    path.write_bytes(data)
    with pytest.raises(ScoreError, match=rf"^a\.mid: .*{found}.*export it again or remove it$"):
        read_notes(path)


def test_a_key_signature_that_does_not_exist_is_refused(tmp_path):
    path = write_midi(tmp_path / "a.mid", [(0, mido.MetaMessage("key_signature", key="C"))])
    path.write_bytes(path.read_bytes().replace(b"\xff\x59\x02\x00", b"\xff\x59\x02\x0b"))
    with pytest.raises(ScoreError, match="11 sharps"):
        read_notes(path)


def test_a_missing_file_and_a_folder_are_refused_without_their_path(tmp_path):
    with pytest.raises(ScoreError, match=r"^a\.mid: .*No such file"):
        read_notes(tmp_path / "a.mid")
    (tmp_path / "b.mid").mkdir()
    with pytest.raises(ScoreError, match=r"^b\.mid: found a folder"):
        read_notes(tmp_path / "b.mid")


def test_a_huge_file_is_refused_unread(tmp_path):
    path = tmp_path / "a.mid"
    with path.open("wb") as stream:
        stream.truncate(1 << 32)
    with pytest.raises(ScoreError, match="at most 2 MB"):
        read_notes(path)


def test_too_many_notes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("wavenet.data.scores.MOST_NOTES", 100)
    path = write_midi(tmp_path / "a.mid", [(tick, on(60)) for tick in range(101)])
    with pytest.raises(ScoreError, match="holds 101 notes"):
        read_notes(path)


def test_a_score_of_days_is_refused(tmp_path):
    path = write_midi(tmp_path / "a.mid", [(1 << 27, on(60))])
    with pytest.raises(ScoreError, match="31 hours"):
        read_notes(path)


# Stems

ENSEMBLE = [
    make_note(36, channel=9, program=33),
    make_note(40, program=33),
    make_note(52, program=27),
    make_note(60, program=4),
    make_note(64, program=48),
    make_note(67, program=53),
    make_note(72, program=61),
]


def pitches(stem, *stems):
    return (
        [note.pitch for note in notes_for_stem(ENSEMBLE, stem, stems)]
        if stems
        else [note.pitch for note in notes_for_stem(ENSEMBLE, stem)]
    )


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("drums", [36]),
        ("percussion", [36]),
        ("bass", [40]),
        ("bass_drum", [36]),
        ("guitar", [52]),
        ("lead-guitar2", [52]),
        ("piano", [60]),
        ("keys", [60]),
        ("strings", [64]),
        ("vocals", [67]),
        ("brass", [72]),
    ],
)
def test_a_named_stem_plays_its_family_of_general_midi(stem, expected):
    assert pitches(stem) == expected


def test_another_stem_plays_what_no_stem_of_the_song_claims():
    assert pitches("other") == [52, 60, 64, 72]
    assert pitches("other", "drums", "bass", "other") == [52, 60, 64, 67, 72]
    assert pitches("other", "drums", "bass", "vocals", "guitar", "piano", "other") == [64, 72]
    assert pitches("mix", "mix") == [36, 40, 52, 60, 64, 67, 72]


@given(st.lists(written_notes), st.sets(st.sampled_from(["drums", "bass", "keys", "guitar", "vocals"])))
def test_stems_with_an_other_share_out_every_note_once(notes, named):
    stems = [*named, "other"]
    parts = [note for stem in stems for note in notes_for_stem(notes, stem, stems)]
    assert sorted(map(repr, parts)) == sorted(map(repr, notes))


def test_a_score_of_one_stem_alone_is_taken_whole():
    assert notes_for_stem(ENSEMBLE, "bass", whole=True) == ENSEMBLE


# Rolls and events

SECONDS = 1 / 100  # a frame of the rolls below: 80 samples at 8 kHz


def roll(notes, num_frames, start_frame=0):
    return notes_roll(notes, 80, 8000, start_frame, num_frames)


def test_a_roll_has_velocities_where_a_key_sounds_and_where_it_is_struck():
    found = roll([make_note(60, 2 * SECONDS, 3 * SECONDS, velocity=90)], 8)
    assert found.shape == (8, 256)
    assert found.dtype == np.uint8
    assert found[:, 60].tolist() == [0, 0, 90, 90, 90, 0, 0, 0]
    assert found[:, 128 + 60].tolist() == [0, 0, 90, 0, 0, 0, 0, 0]
    assert found.sum() == 4 * 90


def test_a_note_counts_in_every_frame_it_sounds_in_part_of():
    found = roll([make_note(60, 1.9 * SECONDS, 1.2 * SECONDS, velocity=7)], 5)
    assert found[:, 60].tolist() == [0, 7, 7, 7, 0]


@pytest.mark.parametrize("length", [0, 0.1])
def test_a_note_shorter_than_a_frame_sounds_in_the_frame_of_its_onset(length):
    assert roll([make_note(60, 2.5 * SECONDS, length * SECONDS, velocity=9)], 4)[:, 60].tolist() == [
        0,
        0,
        9,
        0,
    ]


def test_of_several_notes_on_a_key_the_loudest_counts():
    notes = [
        make_note(60, 0, 4 * SECONDS, 50),
        make_note(60, SECONDS, SECONDS, 80),
        make_note(60, SECONDS, 0, 20),
    ]
    found = roll(notes, 4)
    assert found[:, 60].tolist() == [50, 80, 50, 50]
    assert found[:, 188].tolist() == [50, 80, 0, 0]


played_notes = st.builds(
    make_note,
    pitch=st.integers(0, 127),
    onset=st.floats(0, 1, allow_subnormal=False),
    length=st.floats(0, 0.5, allow_subnormal=False),
    velocity=st.integers(1, 127),
)


@given(
    st.lists(played_notes, max_size=20),
    st.lists(st.integers(0, 130), max_size=6),
    st.sampled_from([(8000, 80), (44100, 441), (16000, 37), (1000, 10)]),
)
@settings(max_examples=60, deadline=None)
def test_the_roll_of_the_whole_is_the_rolls_of_its_parts(notes, cuts, rate_and_hop):
    sample_rate, hop_length = rate_and_hop
    edges = [0, *sorted(cuts), 130]
    whole = notes_roll(notes, hop_length, sample_rate, 0, 130)
    parts = [
        notes_roll(notes, hop_length, sample_rate, start, stop - start) for start, stop in pairwise(edges)
    ]
    assert np.array_equal(np.concatenate(parts), whole)


@given(st.lists(played_notes, max_size=20), st.lists(st.floats(0, 1.5), max_size=5))
def test_every_note_is_an_event_of_the_one_segment_it_begins_in(notes, cuts):
    edges = [0.0, *sorted(cuts), 2.0]
    events = [
        (start + event.onset_seconds, event.pitch, event.velocity, event.length_seconds)
        for start, stop in pairwise(edges)
        for event in note_events(notes, start, stop)
    ]
    expected = [(note.onset_seconds, note.pitch, note.velocity, note.length_seconds) for note in notes]
    assert [event[1:] for event in sorted(events, key=lambda e: e[1:])] == sorted(e[1:] for e in expected)
    assert sorted(event[0] for event in events) == pytest.approx(sorted(e[0] for e in expected), abs=1e-12)


def test_an_events_onset_counts_from_the_start_of_its_segment():
    notes = [make_note(60, 1.0, 3.0, 80), make_note(62, 1.5, 0.25, 90), make_note(64, 2.0)]
    assert note_events(notes, 1.0, 2.0) == [NoteEvent(60, 0.0, 3.0, 80), NoteEvent(62, 0.5, 0.25, 90)]
