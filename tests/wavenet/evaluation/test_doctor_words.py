"""A report in words: rows that can be told apart, counts in right plurals, notes of many songs in one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavenet.evaluation.doctor import DoctorReport, FileReport, StemReport, count_files
from wavenet.evaluation.doctor_words import (
    count_rows,
    format_clock,
    format_counts,
    format_length,
    format_place,
    group_notes,
    tell_apart,
)


def row(path: str, stem: str = "mix", **values) -> FileReport:
    stems = [StemReport(stem, "kept", "whole")]
    return FileReport(path, "kept", "whole", track="song", stem=stem, **{"stems": stems, **values})


def parts_of(*rows: FileReport) -> list[str]:
    return [file.part for file in tell_apart(rows)]


def test_a_file_with_one_row_needs_no_more_than_its_path():
    assert [file.name for file in tell_apart([row("a.wav"), row("b.wav")])] == ["a.wav", "b.wav"]


def test_stems_of_one_file_are_told_apart_by_their_names():
    mixture = FileReport("a.mp4", "kept", "", role="mixture", stream=0)
    rows = [mixture, row("a.mp4", "drums", stream=1), row("a.mp4", "bass", stream=2)]
    assert parts_of(*rows) == ["mixture", "drums", "bass"]
    assert tell_apart(rows)[1].name == "a.mp4 [drums]"


def test_excerpts_of_one_file_are_told_apart_by_their_places():
    assert parts_of(row("a.wav", start=0.0, end=45.0), row("a.wav", start=92.5, end=96.0)) == [
        "0:00-0:45", "1:32.5-1:36",
    ]  # fmt: skip


def test_an_only_excerpt_says_where_it_lies():
    assert parts_of(row("a.wav", start=10.0, end=30.0)) == ["0:10-0:30"]


def test_stems_of_one_excerpt_are_told_by_both():
    rows = [row("a.mp4", stem, start=1.0, end=2.0) for stem in ("drums", "bass")]
    assert parts_of(*rows) == ["drums, 0:01-0:02", "bass, 0:01-0:02"]


def test_one_file_in_two_songs_is_told_by_the_song():
    assert parts_of(row("a.wav"), FileReport("a.wav", "kept", "", track="other", stem="mix")) == [
        "of song", "of other",
    ]  # fmt: skip


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a.wav", "b.wav"]), st.sampled_from(["drums", "bass"]),
            st.sampled_from([None, 0.0, 1.5]), st.sampled_from([0, 1]), st.sampled_from(["x", "y"]),
        ), unique=True,
    )
)  # fmt: skip
def test_rows_that_differ_have_names_that_differ(rows):
    files = [
        FileReport(path, "kept", "", track=track, stem=stem, start=start, stream=stream)
        for path, stem, start, stream, track in rows
    ]
    told = tell_apart(files)
    assert sorted(file.path for file in told) == sorted(file.path for file in files)
    assert len({file.name for file in told}) == len(files)


def report_on(files: list[FileReport], **values) -> DoctorReport:
    return DoctorReport("songs", files, count_files(files, {}), [], [], "", **values)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ([row("a.wav")], "1 file: 1 kept, 0 in part, 0 dropped; layout: album (guessed)"),
        (
            [row("a.mp4", "drums"), row("a.mp4", "bass"), FileReport("i.csv", "kept", "", role="metadata")],
            "2 files: 1 kept, 0 in part, 0 dropped, 1 metadata file; 2 stems: 2 kept, 0 in part, 0 dropped; "
            "layout: album (guessed)",
        ),
        (
            [FileReport(f"{n}.mid", "kept", "", role="score") for n in range(1200)],
            "1,200 files: 0 kept, 0 in part, 0 dropped, 1,200 scores; layout: album (guessed)",
        ),
    ],
)
def test_counts_are_of_files_and_of_stems_apart(files, told):
    assert format_counts(report_on(files)) == told


def test_a_layout_that_was_said_is_not_called_guessed():
    assert format_counts(report_on([], layout="musdb", layout_guessed=False)).endswith("; layout: musdb")


def test_rows_are_counted_as_files_where_each_is_one():
    assert count_rows([row("a.wav")]) == "1 file"
    assert count_rows([row("a.mp4", "drums"), row("a.mp4", "bass"), row("b.wav")]) == "3 parts of 2 files"


def test_the_length_of_an_excerpt_says_of_how_much():
    assert format_length(row("a.wav", seconds=20.0)) == "0:20.0"
    assert format_length(row("a.wav", seconds=20.0, start=10.0, end=30.0)) == "0:20.0"
    assert (
        format_length(row("a.wav", seconds=20.0, start=10.0, end=30.0, file_seconds=40.0)) == "0:20.0 of 0:40"
    )


def test_places_in_a_recording_are_read_off_a_clock():
    assert [format_clock(seconds) for seconds in (0, 4.21, 59.96, 750, 3723.46)] == [
        "0:00.0", "0:04.2", "1:00.0", "12:30.0", "1:02:03.5",
    ]  # fmt: skip
    assert [format_place(seconds) for seconds in (0, 4.21, 59.96, 3723)] == [
        "0:00", "0:04.2", "1:00", "1:02:03",
    ]  # fmt: skip


def test_notes_of_many_songs_that_say_the_same_are_told_once():
    songs = [f"song {number}" for number in range(200)]
    notes = [f"{song}: no score for drums; its notes are empty" for song in songs]
    notes += [f"{song}: stems differ in length (bass {number}.5 s)" for number, song in enumerate(songs)]
    notes += ["song 7: has no usable bass", "vocals: 3.0 s are never drawn", "bass: 4.0 s are never drawn"]
    assert group_notes(notes, songs) == [
        "200 songs, such as song 0: no score for drums; its notes are empty",
        "200 songs, such as song 0: stems differ in length (bass 0.5 s)",
        "song 7: has no usable bass",
        "vocals: 3.0 s are never drawn",
        "bass: 4.0 s are never drawn",
    ]


def test_a_song_whose_name_holds_a_colon_is_known_by_all_of_it():
    songs = {"Live", "Live: One", "Live: Two", "Live: Three", "Live: Four"}
    notes = [f"{song}: no score" for song in sorted(songs)]
    assert group_notes(notes, songs) == ["5 songs, such as Live: no score"]


def test_few_notes_are_told_one_by_one():
    notes = ["a: no score", "b: no score", "b: no score", "c: no score"]
    assert group_notes(notes, {"a", "b", "c"}) == notes
