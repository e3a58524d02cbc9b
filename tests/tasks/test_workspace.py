"""A workspace: what killed runs leave in it."""

import os
import time

from tasks.workspace import Workspace


def age(folder, seconds):
    """As if nothing in a folder had changed for so long."""
    when = time.time() - seconds
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (when, when))


def test_what_killed_runs_left_half_filled_is_swept_after_a_day_and_nothing_else(tmp_path):
    place = Workspace(root=tmp_path)
    kinds = [".tracks-killed", ".tracks-filling", ".tracks-new", "drums-0123"]
    dead, filling, new, whole = (tmp_path / "store" / "tracks" / name for name in kinds)
    for folder in (dead, filling, new, whole):
        (folder / "deeper").mkdir(parents=True)
        (folder / "deeper" / "audio.npy").write_bytes(b"half of it")
    for folder in (dead, filling, whole):
        age(folder, 2 * 86400)
    age(new, 3600)
    (filling / "deeper" / "audio.npy").write_bytes(b"more of it")
    place.sweep()
    assert [folder.exists() for folder in (dead, filling, new, whole)] == [False, True, True, True]


def test_an_empty_workspace_is_swept_without_a_word(tmp_path):
    Workspace(root=tmp_path / "nothing").sweep()
