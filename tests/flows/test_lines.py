"""Stems side by side: order, threads, and what happens when one fails."""

import threading
import time

import pytest

from flows.lines import work_in_lines


def test_with_one_line_the_work_is_done_here_and_in_order():
    here, done = threading.current_thread(), []

    def work(stem):
        assert threading.current_thread() is here
        done.append(stem)
        return stem.upper()

    assert work_in_lines(work, ["drums", "bass"], 1) == {"drums": "DRUMS", "bass": "BASS"}
    assert done == ["drums", "bass"]


def test_with_two_lines_two_stems_are_worked_on_at_once_and_results_keep_their_order():
    meeting = threading.Barrier(2, timeout=20)

    def work(stem):
        meeting.wait()
        return stem

    made = work_in_lines(work, ["a", "b", "c", "d"], 2)
    assert list(made) == ["a", "b", "c", "d"]


def test_what_fails_is_raised_and_stems_that_have_not_begun_are_left():
    begun = []

    def work(stem):
        begun.append(stem)
        if stem == "a":
            raise ValueError("a failed")
        time.sleep(0.2)

    with pytest.raises(ValueError, match="a failed"):
        work_in_lines(work, list("abcdefgh"), 2)
    assert len(begun) < 8
