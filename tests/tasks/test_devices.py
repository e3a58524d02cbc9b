"""Who holds a device: one training at a time, across threads, processes and deaths."""

import multiprocessing
import os
import signal
import threading
import time

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client

from tasks import devices
from tasks.devices import is_gpu, lease_all, lease_device, list_slots


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Locks of this test alone."""
    monkeypatch.setattr(devices, "_folder", lambda: tmp_path)
    return tmp_path


def test_auto_stands_for_what_there_is(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert list_slots(["auto"]) == ["cuda:0", "cuda:1"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert list_slots(["auto"]) == ["cpu"]
    assert list_slots(["cuda:1", "cuda:1", "cpu"]) == ["cuda:1", "cuda:1", "cpu"]
    assert is_gpu("cuda:1")
    assert not is_gpu("cpu")


def held_at_once(slots, trainings):
    """The most that so many threads hold at a time, and the devices that they got."""
    holding, most, got = [], [0], []

    def train():
        with lease_device(slots) as device:
            holding.append(device)
            most[0] = max(most[0], len(holding))
            got.append(device)
            time.sleep(0.05)
            holding.remove(device)

    threads = [threading.Thread(target=train) for _ in range(trainings)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return most[0], got


def test_trainings_take_turns_on_one_device_and_stand_side_by_side_on_several():
    assert held_at_once(["cuda:0"], 4) == (1, ["cuda:0"] * 4)
    most, got = held_at_once(["cuda:0", "cuda:1"], 6)
    assert most == 2
    assert set(got) == {"cuda:0", "cuda:1"}
    assert held_at_once(["cpu", "cpu"], 6)[0] == 2


def test_processes_that_share_a_batch_hold_every_device():
    with lease_all(["cuda:0", "cuda:1"]):
        got = []
        waiting = threading.Thread(target=lambda: got.append(held_at_once(["cuda:1"], 1)))
        waiting.start()
        time.sleep(0.5)
        assert got == []
    waiting.join(10)
    assert got == [(1, ["cuda:1"])]


def hold_for_ever(folder, ready):
    devices._folder = lambda: folder
    with lease_device(["cuda:0"]):
        ready.set()
        time.sleep(600)


def test_a_killed_holder_holds_nothing(own_folder):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    holder = context.Process(target=hold_for_ever, args=(own_folder, ready))
    holder.start()
    assert ready.wait(30)
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with lease_device(["cuda:0"]) as device:
        assert device == "cuda:0"


def limit_of(name):
    with get_client(sync_client=True) as client:
        return client.read_global_concurrency_limit_by_name(f"waveband {devices.platform.node()} {name}")


@task
def hold(slots, seen):
    with lease_device(slots) as device:
        seen.append(limit_of(device).active_slots)


def test_in_a_run_the_device_has_a_limit_in_prefect_which_is_taken_meanwhile(prefect_server):
    seen = []

    @flow
    def train():
        hold(["cuda:7"], seen)

    train()
    limit = limit_of("cuda:7")
    assert (limit.limit, limit.active, seen) == (1, True, [1])
    assert limit.active_slots == 0


def test_what_a_killed_run_left_taken_is_freed_by_the_next(prefect_server):
    seen = []

    @flow
    def train():
        hold(["cuda:8"], seen)

    train()
    with get_client(sync_client=True) as client:
        taken = client.increment_concurrency_slots([limit_of("cuda:8").name], 1, "concurrency")
        assert taken.status_code == 200
    assert limit_of("cuda:8").active_slots == 1
    train()
    assert seen == [1, 1]


def test_without_prefect_a_training_goes_on(monkeypatch, capsys, prefect_server):
    def gone(*args, **kwargs):
        raise ConnectionError("no server")

    seen = []

    @task
    def hold_unguarded():
        monkeypatch.setattr(devices, "concurrency", gone)
        with lease_device(["cuda:9"]) as device:
            seen.append(device)

    @flow
    def train():
        hold_unguarded()

    train()
    assert seen == ["cuda:9"]
    assert "going on" in capsys.readouterr().err
