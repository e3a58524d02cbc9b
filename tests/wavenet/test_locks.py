"""Locks of files: one holder, whoever it is, and nothing of the file is changed."""

import subprocess
import sys

import pytest

from wavenet.locks import lent, lent_locks, locked, try_lock


def test_a_lock_has_one_holder_and_its_file_is_left_as_it_is(tmp_path):
    path = tmp_path / "lock"
    path.write_text("of somebody")
    with try_lock(path):
        assert try_lock(path) is None
    with try_lock(path):
        pass
    assert path.read_text() == "of somebody"


def test_a_link_is_not_followed(tmp_path):
    """In a folder that anybody may have made, it may lead to a file of one's own."""
    (tmp_path / "lock").symlink_to(tmp_path / "thesis.tex")
    with pytest.raises(OSError, match="symbolic links"):
        try_lock(tmp_path / "lock")
    assert not (tmp_path / "thesis.tex").exists()


def test_who_waits_may_give_up(tmp_path):
    looks = []

    def look():
        looks.append(len(looks))
        if len(looks) == 3:
            raise TimeoutError

    with try_lock(tmp_path / "lock"), pytest.raises(TimeoutError), locked(tmp_path / "lock", look):
        raise AssertionError("it is held")
    with locked(tmp_path / "lock", look):
        assert len(looks) == 3


def test_a_lock_that_is_lent_is_held_until_the_last_of_its_holders_ends(tmp_path):
    with try_lock(tmp_path / "lock") as stream, lent(stream):
        process = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=lent_locks()
        )
    assert lent_locks() == ()
    assert try_lock(tmp_path / "lock") is None
    process.communicate(b"\n")
    try_lock(tmp_path / "lock").close()
