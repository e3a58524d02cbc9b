"""Who holds a device: one training at a time, across threads, processes and deaths."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from prefect import flow, task
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.embedded_api import embedded_api
from tasks import device_limits, devices
from tasks.device_limits import name_limit
from tasks.devices import is_gpu, lease_all, lease_device, list_cards, list_slots, showing_only
from tasks.stopping import Waiting
from tasks.train import leased
from wavenet.config import TrainingConfig
from wavenet.errors import ConfigError
from wavenet.locks import try_lock

FOLDER = devices._folder


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


def test_a_card_has_one_lock_whatever_a_process_calls_it(own_folder, monkeypatch):
    """A worker of a cluster may be shown one card alone, which is the first to it; and cuda is cuda:0."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-5ce")
    assert showing_only(["cuda:0", "cuda:1"]) == {"CUDA_VISIBLE_DEVICES": "2,GPU-5ce"}
    with lease_all(["cuda:0", "cuda:1"]):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        assert try_lock(own_folder / "cuda-2") is None
        assert try_lock(own_folder / "cuda-GPU-5ce") is None
    with lease_device(["cuda"]):
        assert try_lock(own_folder / "cuda-0") is None
    assert showing_only(list_cards(["cpu", "cpu"])) == {}


@pytest.mark.timeout(60)
def test_trainings_that_share_cards_named_in_another_order_do_not_wait_for_each_other(own_folder):
    meeting = threading.Barrier(2, timeout=20)

    def train(slots):
        for _ in range(20):
            meeting.wait()
            with lease_all(slots):
                pass

    orders = (["cuda:0", "cuda:1"], ["cuda:1", "cuda:0"])
    threads = [threading.Thread(target=train, args=[slots], daemon=True) for slots in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)


def test_processes_that_share_a_batch_are_shown_the_cards_that_are_held_and_no_others():
    training = TrainingConfig(processes=2)
    with leased(training, ["cuda:2", "cuda:3", "cuda:4"]) as (device, environment):
        assert device == "auto"
        assert environment == {"CUDA_VISIBLE_DEVICES": "2,3"}
    with pytest.raises(ConfigError, match="devices has cuda:2; lower it"), leased(training, ["cuda:2"]):
        raise AssertionError("there is one card")
    with leased(training, ["cpu"]) as (_, environment):
        assert environment == {}
    with leased(training.model_copy(update={"device": "cpu"}), ["cuda:0"]) as (device, environment):
        assert (device, environment) == ("cpu", {})


def test_of_a_card_with_two_slots_both_are_held_and_it_is_shown_once(own_folder):
    slots = ["cpu", "cuda:0", "cuda:0", "cuda:1", "cuda:1"]
    with leased(TrainingConfig(processes=2), slots) as (_, environment):
        assert environment == {"CUDA_VISIBLE_DEVICES": "0,1"}
        assert try_lock(own_folder / "cuda-0-2") is None
        try_lock(own_folder / "cpu").close()


def test_a_folder_of_locks_that_is_somebody_elses_is_refused(tmp_path, monkeypatch):
    monkeypatch.delenv("WAVEBAND_DEVICES")
    monkeypatch.setattr(devices, "_folder", FOLDER)
    monkeypatch.setattr(devices.tempfile, "gettempdir", lambda: str(tmp_path))
    mine = os.getuid()
    with lease_device(["cpu"]):
        pass
    monkeypatch.setattr(os, "getuid", lambda: mine + 1)
    (tmp_path / f"waveband-devices-{mine + 1}").mkdir()
    with pytest.raises(ConfigError, match="is somebody else's"), lease_device(["cpu"]):
        raise AssertionError("nobody knows what lies there")


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
    waiting.join(60)
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
        return client.read_global_concurrency_limit_by_name(name_limit(name))


@task
def hold(slots, seen):
    with lease_device(slots) as device:
        seen.append(limit_of(device).active_slots)


def run_in_a_flow(work, *given):
    @flow
    def train():
        work(*given)

    train()


def test_in_a_run_the_device_has_a_limit_in_prefect_which_is_taken_meanwhile(prefect_server):
    seen = []

    run_in_a_flow(hold, ["cuda:7"], seen)
    limit = limit_of("cuda:7")
    assert (limit.limit, limit.active, seen) == (1, True, [1])
    assert limit.active_slots == 0


HOLDER = """
import subprocess, sys
from tasks.devices import lease_device
from wavenet.locks import lent_locks

with lease_device(["cuda:0"]):
    process = subprocess.Popen(["sleep", "300"], stdout=subprocess.DEVNULL, pass_fds=lent_locks())
    print(process.pid, flush=True)
    sys.stdin.read()
"""


def test_a_device_is_held_while_a_killed_runs_training_is_still_on_it(own_folder):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "WAVEBAND_DEVICES": str(own_folder)}, text=True,
    )  # fmt: skip
    training = int(holder.stdout.readline())
    holder.kill()
    holder.communicate()
    try:
        assert try_lock(own_folder / "cuda-0") is None
    finally:
        os.kill(training, signal.SIGKILL)
    with lease_device(["cuda:0"]):
        pass


def test_what_a_killed_run_left_taken_is_freed_by_the_next(prefect_server):
    seen = []

    run_in_a_flow(hold, ["cuda:8"], seen)
    with get_client(sync_client=True) as client:
        taken = client.increment_concurrency_slots([limit_of("cuda:8").name], 1, "concurrency")
        assert taken.status_code == 200
    assert limit_of("cuda:8").active_slots == 1
    run_in_a_flow(hold, ["cuda:8"], seen)
    assert seen == [1, 1]


def test_without_prefect_a_training_goes_on(monkeypatch, capsys, prefect_server):
    def gone(*args, **kwargs):
        raise ConnectionError("no server")

    seen = []

    @task
    def hold_unguarded():
        monkeypatch.setattr(device_limits, "get_client", gone)
        with lease_device(["cuda:9"]) as device:
            seen.append(device)

    run_in_a_flow(hold_unguarded)
    assert seen == ["cuda:9"]
    assert "going on" in capsys.readouterr().err


def test_a_device_whose_limit_is_0_is_waited_for_until_it_is_1(monkeypatch, capsys, prefect_server):
    monkeypatch.setattr(device_limits, "SECONDS_BETWEEN_ASKS", 0.1)
    seen = []

    @task
    def hold_later():
        name = name_limit("cuda:10")
        with get_client(sync_client=True) as client:
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=0))
            allow = GlobalConcurrencyLimitUpdate(limit=1)

            def look_and_allow(waiting):
                look(waiting)
                seen.append(waiting.what)
                client.update_global_concurrency_limit(name, allow)

            look = Waiting.look
            monkeypatch.setattr(Waiting, "look", look_and_allow)
            with lease_device(["cuda:10"]):
                pass

    run_in_a_flow(hold_later)
    assert len(seen) == 1
    assert capsys.readouterr().err.count("lets no training run") == 1


def test_a_lease_is_renewed_for_as_long_as_the_device_is_held(monkeypatch, prefect_server):
    monkeypatch.setattr(device_limits, "SECONDS_BETWEEN_RENEWALS", 0.1)
    renewed = []
    renew = SyncPrefectClient.renew_concurrency_lease
    monkeypatch.setattr(
        SyncPrefectClient, "renew_concurrency_lease", lambda *told: renewed.append(renew(*told).status_code)
    )

    @task
    def hold_for_a_while():
        end = time.monotonic() + 60
        with lease_device(["cuda:11"]):
            while len(renewed) <= 3 and time.monotonic() < end:
                time.sleep(0.05)

    run_in_a_flow(hold_for_a_while)
    assert len(renewed) > 3
    assert set(renewed) <= {200, 204}


def test_a_process_asks_the_server_that_it_has_now_not_the_one_it_had(tmp_path, prefect_server):
    """A run that lost its server goes on with another one."""
    seen = []

    run_in_a_flow(hold, ["cuda:12"], seen)
    with get_client(sync_client=True) as client:
        client.update_global_concurrency_limit(name_limit("cuda:12"), GlobalConcurrencyLimitUpdate(limit=0))
    with embedded_api(tmp_path / "other") as wait, temporary_settings({PREFECT_API_URL: wait()}):
        run_in_a_flow(hold, ["cuda:12"], seen)
    assert seen == [1, 1]
