"""Stems side by side: order, threads, and what happens when one fails."""

import threading
import time
from contextlib import suppress

import pytest

from flows.ledger import Ledger
from flows.lines import work_in_lines
from tasks.devices import lease_device
from tasks.stopping import check_stop
from wavenet.errors import TrainingStoppedError


def test_with_one_line_the_work_is_done_here_and_in_order():
    here, done = threading.current_thread(), []

    def work(stem):
        assert threading.current_thread() is here
        done.append(stem)
        return stem.upper()

    assert work_in_lines(work, ["drums", "bass"], 1) == {"drums": "DRUMS", "bass": "BASS"}
    assert done == ["drums", "bass"]


def test_with_two_lines_two_stems_are_worked_on_at_once_and_results_keep_their_order():
    meeting = threading.Barrier(2, timeout=60)

    def work(stem):
        meeting.wait()
        return stem

    made = work_in_lines(work, ["a", "b", "c", "d"], 2)
    assert list(made) == ["a", "b", "c", "d"]


def test_what_fails_is_raised_and_stems_that_have_not_begun_are_left():
    begun = []

    def work(stem):
        check_stop()
        begun.append(stem)
        if stem == "a":
            raise ValueError("a failed")
        with suppress(TrainingStoppedError):
            while True:
                check_stop()
                time.sleep(0.05)

    with pytest.raises(ValueError, match="a failed"):
        work_in_lines(work, list("abcdefgh"), 2)
    assert len(begun) <= 3  # both lines' first, and what the one began when its first had failed


@pytest.mark.timeout(60)
def test_what_fails_ends_a_stem_that_waits_for_a_device_and_one_between_two_tasks(monkeypatch, tmp_path):
    monkeypatch.setenv("WAVEBAND_DEVICES", str(tmp_path))
    meeting, failed, ended = threading.Barrier(3, timeout=50), threading.Event(), {}

    def work(stem):
        meeting.wait()
        if stem == "fails":
            raise ValueError("it failed")
        try:
            if stem == "waits":
                with lease_device(["cuda:0"]):
                    raise AssertionError("it began")
            failed.wait(20)
            Ledger().call(None)
        except TrainingStoppedError as error:
            ended[stem] = str(error)

    monkeypatch.setattr("flows.lines.stop_workers", failed.set)  # which comes once all are told to stop
    with lease_device(["cuda:0"]), pytest.raises(ValueError, match="it failed"):
        work_in_lines(work, ["fails", "waits", "is between"], 3)
    assert ended.keys() == {"waits", "is between"}
    assert "go on from there" in ended["waits"]
