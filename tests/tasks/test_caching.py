"""Keys are content, and stored results are used only while their files are as they were."""

import multiprocessing
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.caching import cached_task, content_key, describe, read_result, write_result
from tasks.publish import _file_names
from tasks.records import ShardsRecord, SongRecord
from tasks.workspace import Workspace, safe_name
from wavenet.audio.decoding import AudioSource
from wavenet.config import SeparationConfig, TrainingConfig
from wavenet.data.songs import Song
from wavenet.errors import UnreadableError
from wavenet.files import write_text


@pytest.fixture
def stored(tmp_path):
    """A workspace with one result and the file it stands for."""
    place = Workspace(root=tmp_path)
    folder = tmp_path / "store" / "shards" / "drums-1"
    folder.mkdir(parents=True)
    (folder / "a.parquet").write_bytes(b"12345")
    record = ShardsRecord(digest="d", stem="drums", folder="store/shards/drums-1")
    write_result(place, "key", record)
    return place, record, folder


def song(digest="d", name="a", path="/x/a.wav"):
    return SongRecord(digest=digest, song=Song(name, {"mix": [AudioSource(Path(path))]}))


def test_names_and_paths_are_no_content():
    there = song(name="b", path="/y/b.flac")
    assert content_key("ingest", "1", {"song": song()}) == content_key("ingest", "1", {"song": there})


@pytest.mark.parametrize("other", [("train", "1", "d"), ("ingest", "2", "d"), ("ingest", "1", "e")])
def test_name_version_and_digest_are_content(other):
    name, version, digest = other
    assert content_key(name, version, {"song": song(digest=digest)}) != content_key(
        "ingest", "1", {"song": song()}
    )


def test_settings_of_where_and_how_often_are_no_content():
    assert describe(TrainingConfig(checkpoint_seconds=1, device="cuda")) == describe(TrainingConfig())
    assert describe(TrainingConfig(nodes=2, meeting="a:1")) == describe(TrainingConfig())
    assert describe(SeparationConfig(repo=Path("/x"), jobs=3)) == describe(SeparationConfig())
    assert describe(TrainingConfig(steps=3)) != describe(TrainingConfig())


def test_what_has_no_content_may_not_cross_a_task_border():
    with pytest.raises(TypeError, match="pass a record"):
        describe({"path": Path("/x")})


def test_a_stored_result_comes_back(stored):
    place, record, _ = stored
    assert read_result(place, "key", ShardsRecord) == record
    assert read_result(place, "other key", ShardsRecord) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "a.parquet").unlink(),
        lambda folder: (folder / "a.parquet").write_bytes(b"123"),
        lambda folder: (folder / "foreign").touch(),
        lambda folder: (folder.parents[2] / "results" / "key.json").write_text("{"),
    ],
    ids=["a file gone", "a file shorter", "a foreign file", "a torn result"],
)
def test_a_result_whose_files_are_not_as_they_were_is_not_used(stored, damage):
    place, _, folder = stored
    damage(folder)
    assert read_result(place, "key", ShardsRecord) is None


def test_a_result_that_the_disk_does_not_give_is_not_taken_for_one_that_was_never_made(stored):
    place, _, _ = stored
    (place.root / "results" / "key.json").unlink()
    (place.root / "results" / "key.json").symlink_to("key.json")  # a loop, which no user may open
    with pytest.raises(UnreadableError, match="nothing is lost: run again"):
        read_result(place, "key", ShardsRecord)


def test_a_result_has_the_occasion_that_it_was_made_on_and_is_another_ones_only_for_who_does_not_care(stored):
    place, record, _ = stored
    assert read_result(place, "key", ShardsRecord, "monday") is None
    write_result(place, "key", record, "monday")
    assert read_result(place, "key", ShardsRecord, "monday") == record
    assert read_result(place, "key", ShardsRecord, "friday") is None
    assert read_result(place, "key", ShardsRecord) == record


@pytest.fixture
def steps(tmp_path, monkeypatch):
    """Make something in five steps, one file each, and go on from those that are there. Returns how many were
    made. killed: after a step, or with the result written."""
    place = Workspace(root=tmp_path)

    def step_by_step(killed=None, occasion=None):
        made = []

        @cached_task(version="1", run_name="steps")
        def steps(workspace: Workspace, scratch: Path) -> ShardsRecord:
            for number in range(len(list(scratch.glob("step-*"))), 5):
                write_text(scratch / f"step-{number}", "")
                made.append(number)
                if number == killed:
                    raise KeyboardInterrupt
            with workspace.new_folder("steps") as folder:
                write_text(folder / "a.txt", "")
                return ShardsRecord(digest="d", stem="x", folder=workspace.publish(folder, "d"))

        def write_and_be_killed(*result):
            write_result(*result)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
            if killed == "with its result":
                patch.setattr("tasks.caching.write_result", write_and_be_killed)
            steps.fn(workspace=place, occasion=occasion)
        return len(made)

    return step_by_step


def test_what_is_made_again_goes_on_from_where_it_was_ended(steps):
    assert steps() == 5
    assert steps(occasion="monday", killed=2) == 3
    assert steps(occasion="monday") == 2
    assert steps(occasion="monday") == 0
    assert steps() == 0


def test_what_is_made_again_does_not_go_on_from_the_end_of_what_was_killed_when_it_had_finished(steps):
    assert steps(killed="with its result") == 5
    assert steps() == 0
    assert steps(occasion="monday", killed="with its result") == 5
    assert steps(occasion="friday", killed=1) == 2
    assert steps(occasion="sunday", killed=1) == 2
    assert steps(occasion="sunday") == 3


def test_what_was_begun_before_there_was_any_goes_on_on_every_occasion(steps):
    assert steps(killed=1) == 2
    assert steps(occasion="monday") == 3


def _hold(root, entered, leave):
    with Workspace(root=root).lock("x"):
        entered.set()
        leave.wait(60)


def test_a_lock_held_by_a_killed_process_is_free(tmp_path):
    context = multiprocessing.get_context("spawn")
    entered, leave = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(tmp_path, entered, leave))
    holder.start()
    assert entered.wait(60)
    holder.kill()
    holder.join()
    with Workspace(root=tmp_path).lock("x"):
        pass


@given(st.text())
def test_a_safe_name_is_a_plain_part_of_a_path(label):
    name = safe_name(label)
    assert name.isascii()
    assert not set(name) & set("/\\.\0 ")
    assert len(name) <= 40


@given(st.sets(st.text(min_size=1, max_size=8), min_size=1, max_size=6))
def test_no_two_stems_share_a_file(stems):
    files = _file_names(sorted(stems))
    assert len(set(files.values())) == len(stems)
    assert all(files.values())
