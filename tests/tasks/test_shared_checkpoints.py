"""A training that one machine has begun another goes on with. A real S3 API."""

import errno
import os
import shutil
import time

import pytest

from tasks import shared_checkpoints as module
from tasks.remote import CACHE, workspace_at
from tasks.shared_checkpoints import shared_checkpoints
from tests.small_training import config, shard_folder
from wavenet.errors import TrainingStoppedError
from wavenet.files import write_text
from wavenet.training import CHECKPOINTS
from wavenet.training.loop import train_model
from wavenet.training.metrics import METRICS, SPEED, STEP, TRAIN_BITS, read_metrics

__all__ = ["config", "shard_folder"]


@pytest.fixture
def machine(s3, tmp_path, monkeypatch):
    """The workspace as a machine of that name sees it."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.05)

    def machine(name):
        monkeypatch.setenv(CACHE, str(tmp_path / name))
        return workspace_at(f"{s3}/project")

    return machine


def without_timings(folder):
    return [{k: v for k, v in row.items() if k != SPEED} for row in read_metrics(folder / METRICS)]


def steps_of(place):
    return place.remote.folders(f"work/train-1/{CHECKPOINTS}")


class At:
    """Does something when it hears of a step."""

    def __init__(self, step, do):
        self.step, self.do = step, do

    def begin(self, rows):
        self.resumed_at = rows[-1][STEP] if rows else 0

    def report(self, row):
        if row[STEP] == self.step and TRAIN_BITS in row:
            self.do()

    def tell(self, message):
        pass


def test_a_training_goes_on_from_another_machines_checkpoint(machine, shard_folder, config, tmp_path):
    whole = train_model(shard_folder, tmp_path / "whole", config)
    first, stopped = machine("first"), []
    with pytest.raises(TrainingStoppedError), shared_checkpoints(first, first.work("train-1")):
        train_model(
            shard_folder, first.work("train-1"), config, [At(10, lambda: stopped.append(1))],
            should_stop=lambda: bool(stopped),
        )  # fmt: skip
    assert steps_of(first)[-1] == "step-00000010"
    second, listener = machine("second"), At(None, None)
    with shared_checkpoints(second, second.work("train-1")):
        resumed = train_model(shard_folder, second.work("train-1"), config, [listener])
    assert listener.resumed_at == 10
    assert resumed.heldout_bits == whole.heldout_bits
    assert without_timings(second.work("train-1")) == without_timings(tmp_path / "whole")
    assert len(steps_of(second)) <= module.KEPT
    second.forget_work("train-1")
    assert second.remote.sizes("work") == {}
    assert not second.work("train-1").exists()


def test_a_checkpoint_here_that_is_as_new_is_kept(machine, shard_folder, config):
    place = machine("first")
    scratch = place.work("train-1")
    with shared_checkpoints(place, scratch):
        train_model(shard_folder, scratch, config)
    before = (scratch / METRICS).stat().st_ino
    with shared_checkpoints(place, scratch):
        assert (scratch / METRICS).stat().st_ino == before


def test_a_checkpoint_that_was_half_uploaded_is_passed_over(machine, shard_folder, config):
    first = machine("first")
    with shared_checkpoints(first, first.work("train-1")):
        train_model(shard_folder, first.work("train-1"), config)
    newest = steps_of(first)[-1]
    first.remote.write(f"work/train-1/{CHECKPOINTS}/step-00099999/model.safetensors", b"half")
    second = machine("second")
    with shared_checkpoints(second, second.work("train-1")):
        pass
    assert [path.name for path in (second.work("train-1") / CHECKPOINTS).iterdir()] == [newest]


def test_a_store_that_is_gone_costs_a_remark_and_no_training(
    machine, shard_folder, config, monkeypatch, capsys
):
    place = machine("first")
    with shared_checkpoints(place, place.work("train-1")):

        def fail(*_):
            raise TimeoutError("gone")

        monkeypatch.setattr(place.remote._store, "put_file", fail)
        trained = train_model(shard_folder, place.work("train-1"), config)
    assert trained.heldout_bits > 0
    assert "its checkpoint stays on this machine for now" in capsys.readouterr().err


def test_a_store_that_cannot_be_reached_at_the_start_costs_a_remark_and_no_training(
    machine, monkeypatch, capsys
):
    place = machine("first")

    def fail(*_, **__):
        raise TimeoutError("gone")

    monkeypatch.setattr(place.remote._store, "find", fail)
    with shared_checkpoints(place, place.work("train-1")):
        pass
    assert "goes on with what is on this machine" in capsys.readouterr().err


@pytest.fixture
def shared(machine):
    """A workspace with checkpoints of two steps there, and none here."""
    first = machine("first")
    for step in ("step-00000001", "step-00000002"):
        make_checkpoint(first.work("train-1"), step)
        with shared_checkpoints(first, first.work("train-1")):
            pass
    return machine("second")


def wait_until(holds):
    """For a minute at most."""
    end = time.monotonic() + 60
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)


def make_checkpoint(scratch, step):
    (scratch / CHECKPOINTS / step).mkdir(parents=True)
    (scratch / CHECKPOINTS / step / "state.json").write_text(step)
    (scratch / METRICS).write_text("")


@pytest.mark.parametrize("lost", ["state.json", METRICS])
def test_where_the_newest_is_not_whole_there_the_one_before_is_brought(shared, capsys, lost):
    shared.remote.delete([f"work/train-1/{CHECKPOINTS}/step-00000002/{lost}"])
    with shared_checkpoints(shared, shared.work("train-1")):
        pass
    brought = [path.name for path in (shared.work("train-1") / CHECKPOINTS).iterdir()]
    assert brought == ["step-00000001"]
    assert "step-00000002 is not whole there" in capsys.readouterr().err


def test_a_checkpoint_that_two_machines_uploaded_at_once_is_not_taken(shared, capsys):
    """After a claim has lapsed: the files of one under the inventory of the other, of equal sizes."""
    place = f"work/train-1/{CHECKPOINTS}/step-00000002"
    shared.remote.write(f"{place}/state.json", b"step-of-another"[: len("step-00000002")])
    with shared_checkpoints(shared, shared.work("train-1")):
        pass
    assert [path.name for path in (shared.work("train-1") / CHECKPOINTS).iterdir()] == ["step-00000001"]
    assert "another upload's" in capsys.readouterr().err


def test_a_folder_of_the_same_sizes_but_another_content_is_uploaded_again(machine, tmp_path):
    store, folder = machine("first").remote, tmp_path / "folder"
    for text in ("one", "two", "two"):
        write_text(folder / "a.txt", text)
        store.upload(folder, "output/x")
        assert store.read("output/x/a.txt") == text.encode()


def test_where_the_file_system_knows_no_links_checkpoints_are_copied(machine, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    place = machine("first")
    make_checkpoint(place.work("train-1"), "step-00000001")
    with shared_checkpoints(place, place.work("train-1")):
        pass
    assert steps_of(place) == ["step-00000001"]


def test_what_the_disk_refuses_is_said_once_and_tried_again(machine, monkeypatch, capsys):
    copytree, refused = shutil.copytree, []

    def refuse_twice(source, target, **how):
        if len(refused) < 2:
            refused.append(source)
            raise shutil.Error([(source, target, os.strerror(errno.ENOSPC))])
        copytree(source, target, **how)

    monkeypatch.setattr(shutil, "copytree", refuse_twice)
    place = machine("first")
    make_checkpoint(place.work("train-1"), "step-00000001")
    with shared_checkpoints(place, place.work("train-1")):
        wait_until(lambda: len(refused) == 2)
    assert steps_of(place) == ["step-00000001"]
    assert capsys.readouterr().err.count("its checkpoint stays on this machine for now") == 1


def test_a_checkpoint_that_is_removed_while_it_is_copied_is_not_shared_and_not_told(
    machine, monkeypatch, capsys
):
    copytree = shutil.copytree

    def copy_amid_removal(source, target, **how):
        if source.name == "step-00000001":
            for step in ("step-00000002", "step-00000003"):
                make_checkpoint(source.parents[1], step)
            (source / "state.json").unlink()
        copytree(source, target, **how)

    monkeypatch.setattr(shutil, "copytree", copy_amid_removal)
    place = machine("first")
    make_checkpoint(place.work("train-1"), "step-00000001")
    with shared_checkpoints(place, place.work("train-1")):
        wait_until(lambda: steps_of(place))
    assert steps_of(place) == ["step-00000003"]
    assert capsys.readouterr().err == ""
