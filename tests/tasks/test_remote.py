"""Two machines, which are two caches, and one bucket. A real S3 API."""

import pickle
import platform
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks import lease, remote
from tasks.caching import cached_task, read_result, write_result
from tasks.records import ShardsRecord
from tasks.remote import CACHE, RemoteWorkspace, workspace_at
from tasks.train import _check_nodes
from tasks.workspace import Workspace
from wavenet.config import TrainingConfig
from wavenet.data.remote_folders import INVENTORY
from wavenet.errors import ConfigError
from wavenet.files import write_text


@pytest.fixture
def machine(s3, tmp_path, monkeypatch):
    """The workspace as a machine of that name sees it."""

    def machine(name):
        monkeypatch.setenv(CACHE, str(tmp_path / name))
        place = workspace_at(f"{s3}/project/")
        place.mark()
        return place

    return machine


def make(place, text="12345", key="make-1"):
    """A result, as a task leaves it."""
    with place.new_folder("shards") as folder:
        write_text(folder / "a.txt", text)
        (folder / "inner").mkdir()
        write_text(folder / "inner" / "b.txt", "b")
        record = ShardsRecord(digest=text, stem="drums", folder=place.publish(folder, text, "drums"))
    write_result(place, key, record)
    return record


def read(place, key="make-1"):
    return read_result(place, key, ShardsRecord)


def test_what_one_machine_has_made_another_finds_and_fetches_when_it_is_asked_for(machine):
    record = make(machine("first"))
    second = machine("second")
    assert read(second) == record
    assert not (second.root / record.folder).exists()
    assert (second.path(record.folder) / "inner" / "b.txt").read_text() == "b"
    assert second.path(record.folder) == second.root / record.folder


def test_one_file_can_be_had_without_the_others(machine):
    record = make(machine("first"))
    second = machine("second")
    assert second.file(record.folder, "a.txt").read_text() == "12345"
    assert not (second.root / record.folder).exists()
    second.path(record.folder)
    assert second.file(record.folder, "a.txt") == second.root / record.folder / "a.txt"


@pytest.mark.parametrize("gone", ["a.txt", INVENTORY])
def test_a_result_whose_folder_is_not_whole_there_is_none(machine, gone):
    first = machine("first")
    record = make(first)
    first.remote.delete([f"{record.folder}/{gone}"])
    assert read(machine("second")) is None


def test_a_folder_that_was_damaged_here_is_fetched_again(machine):
    first = machine("first")
    record = make(first)
    (first.root / record.folder / "a.txt").write_text("1")
    assert read(first) == record
    assert (first.root / record.folder / "a.txt").read_text() == "12345"


def test_a_machine_whose_cache_is_lost_loses_nothing(machine):
    first = machine("first")
    record = make(first)
    shutil.rmtree(first.root)
    assert read(machine("first")) == record


def test_a_store_that_is_gone_is_an_error_and_not_a_missing_result(machine, monkeypatch):
    place = machine("first")
    make(place)

    def fail(*_):
        raise TimeoutError("gone")

    monkeypatch.setattr(place.remote._store, "cat_file", fail)
    with pytest.raises(ConfigError, match="run again"):
        read(place)


def test_a_workspace_that_arrives_from_another_machine_has_this_ones_cache(machine, tmp_path):
    sent = pickle.dumps(machine("first"))
    machine("second")
    arrived = pickle.loads(sent)
    assert arrived.root.is_relative_to(tmp_path / "second")
    assert arrived.address == workspace_at(arrived.address).address


@cached_task(version="1", run_name="count", ignore=["calls"])
def count(workspace: Workspace, name: str, calls: list) -> ShardsRecord:
    """Leave a folder."""
    calls.append(name)
    with workspace.new_folder("counts") as folder:
        write_text(folder / "a.txt", name)
        return ShardsRecord(digest=name, stem="x", folder=workspace.publish(folder, name))


@cached_task(version="1", run_name="step-by-step", ignore=["killed"])
def step_by_step(workspace: Workspace, scratch: Path, killed: int | None) -> ShardsRecord:
    """Leave steps in the store, as trainings do, and go on from those that are there."""
    there = workspace.remote.sizes(f"work/{scratch.name}")
    for number in range(sum("step" in name for name in there), 5):
        write_text(scratch / f"step-{number}", "")
        workspace.write(f"work/{scratch.name}/step-{number}", "")
        if number == killed:
            raise KeyboardInterrupt
    with workspace.new_folder("steps") as folder:
        write_text(folder / "a.txt", "")
        return ShardsRecord(digest="d", stem="x", folder=workspace.publish(folder, "d"))


def test_a_machine_whose_cache_is_of_another_occasion_goes_on_from_what_others_made_on_this(machine):
    first = machine("first")
    with pytest.raises(KeyboardInterrupt):
        step_by_step.fn(workspace=first, killed=3)
    step_by_step.fn(workspace=machine("second"), killed=None)
    with pytest.raises(KeyboardInterrupt):
        step_by_step.fn(workspace=machine("second"), killed=2, occasion="monday")
    with pytest.raises(KeyboardInterrupt):
        step_by_step.fn(workspace=machine("first"), killed=3, occasion="monday")
    assert {path.name for path in first.root.glob("work/*/*")} == {"occasion", "step-3"}


def test_a_task_is_computed_by_one_machine_alone(machine):
    calls = []
    record = count.fn(workspace=machine("first"), name="a", calls=calls)
    again = count.fn(workspace=machine("second"), name="a", calls=calls)
    assert again.data == record
    assert calls == ["a"]
    assert machine("second").remote.sizes("locks") == {}


def test_of_two_machines_that_want_the_same_at_once_one_makes_it(machine, monkeypatch):
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.05)
    calls, places = [], [machine("first"), machine("second")]

    def make_slowly(place):
        return count.fn(workspace=place, name="a", calls=Slow(calls))

    with ThreadPoolExecutor(2) as threads:
        outcomes = list(threads.map(make_slowly, places))
    assert calls == ["a"]
    assert sorted(isinstance(outcome, ShardsRecord) for outcome in outcomes) == [False, True]


@pytest.mark.parametrize("differs", ["host", "boot"])
def test_a_machine_with_a_copy_of_anothers_cache_waits_for_what_that_one_holds(
    machine, tmp_path, monkeypatch, differs
):
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.05)
    first = machine("first")
    boot, got = tmp_path / "boot_id", threading.Event()
    boot.write_text("a")
    monkeypatch.setattr(remote, "BOOT", boot)

    def claim():
        with second.lock("x"):
            got.set()

    with first.lock("x"):
        shutil.copytree(tmp_path / "first", tmp_path / "second")
        second = machine("second")
        if differs == "host":
            monkeypatch.setattr(platform, "node", lambda: "other")
        else:
            boot.write_text("b")
        waiting = threading.Thread(target=claim)
        waiting.start()
        assert not got.wait(1)
    assert got.wait(30)
    waiting.join()


class Slow:
    """Takes its time to note a call."""

    def __init__(self, calls):
        self.calls = calls

    def append(self, name):
        time.sleep(1.0)
        self.calls.append(name)


def test_several_nodes_are_refused_where_no_disk_is_shared(machine, tmp_path):
    training = TrainingConfig(nodes=2, meeting="a:29500")
    with pytest.raises(ConfigError, match=r"on a disk that all of them see.*not s3://"):
        _check_nodes(machine("first"), training)
    _check_nodes(Workspace(root=tmp_path), training)


def test_shared_files_are_those_of_all_machines(machine):
    machine("first").write("splits.json", {"a": 1})
    assert machine("second").read("splits.json") == {"a": 1}
    with pytest.raises(FileNotFoundError):
        machine("second").read("other.json")


def test_results_of_a_task_are_listed_wherever_they_were_made(machine):
    make(machine("first"), key="train-1")
    make(machine("first"), "678", key="train-2")
    make(machine("first"), "9", key="other-2")
    found = sorted(result["record"]["digest"] for result in machine("second").results_of("train"))
    assert found == ["12345", "678"]


def test_a_name_that_leads_elsewhere_is_not_fetched(machine):
    place = machine("first")
    assert place.path("../outside") == place.root / "../outside"
    assert not place.path("../outside").exists()


@pytest.mark.parametrize("text", ["ftp://x/y", "https://x/y", "s3:/bucket/x", Path("s3://bucket/x")])
def test_an_address_that_cannot_be_a_workspace_is_refused(text):
    with pytest.raises(ConfigError, match="--workspace"):
        workspace_at(text)


def test_a_folder_is_a_workspace_as_before(tmp_path):
    assert workspace_at(tmp_path) == workspace_at(str(tmp_path)) == Workspace(root=tmp_path)
    assert not isinstance(workspace_at(tmp_path), RemoteWorkspace)
