"""A claim across machines is one machine's, and nobody's once its holder is gone. A real S3 API."""

import threading
import time

import pytest

from tasks import lease as lease_module
from tasks.lease import lease
from wavenet.data.remote_folders import RemoteFolders


@pytest.fixture
def store(s3, monkeypatch):
    monkeypatch.setattr(lease_module, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(lease_module, "LAPSE_SECONDS", 1.0)
    monkeypatch.setattr(lease_module, "LOOK_SECONDS", 0.05)
    return RemoteFolders(f"{s3}/project")


def test_a_claim_is_held_by_one_machine_at_a_time(store, monkeypatch):
    monkeypatch.setattr(lease_module, "LAPSE_SECONDS", 60.0)
    inside, most, order = [], [], []

    def work(machine):
        for _ in range(3):
            with lease(store, "locks/x", machine):
                inside.append(machine)
                most.append(len(inside))
                time.sleep(0.05)
                inside.remove(machine)
                order.append(machine)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(order) == list("aaabbbccc")
    assert max(most) == 1
    assert store.sizes("locks/x") == {}


def test_a_claim_that_is_renewed_does_not_lapse(store, capsys, monkeypatch):
    monkeypatch.setattr(lease_module, "LAPSE_SECONDS", 8.0)
    left, got = threading.Event(), threading.Event()

    def wait():
        with lease(store, "locks/x", "other"):
            got.set()

    with lease(store, "locks/x", "mine"):
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not got.wait(10.0)
    assert got.wait(60)
    waiting.join(60)
    left.set()
    assert "waiting for another machine that makes locks/x" in capsys.readouterr().err


def test_a_claim_left_behind_lapses_and_one_of_all_who_wait_takes_it(store):
    store.create("locks/x/000001", lease_module._content("dead"))
    inside, most = [], []

    def work(machine):
        with lease(store, "locks/x", machine):
            lease_module.LAPSE_SECONDS = 60.0  # the dead one's has lapsed
            inside.append(machine)
            most.append(len(inside))
            time.sleep(0.2)
            inside.remove(machine)

    started = time.monotonic()
    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(most) == 2
    assert max(most) == 1
    assert time.monotonic() - started > 1.0


def test_a_machine_waits_for_no_claim_of_its_own(store, monkeypatch):
    monkeypatch.setattr(lease_module, "LAPSE_SECONDS", 60.0)
    store.create("locks/x/000001", lease_module._content("mine"))
    started = time.monotonic()
    with lease(store, "locks/x", "mine"):
        pass
    assert time.monotonic() - started < 30
    assert store.sizes("locks/x") == {}


def test_a_store_without_exclusive_files_is_told_once_and_nobody_waits(store, monkeypatch, capsys):
    monkeypatch.setattr(store, "create", lambda *_: None)
    monkeypatch.setattr(lease_module, "_told", set())
    with lease(store, "locks/x", "a"), lease(store, "locks/x", "b"):
        pass
    assert capsys.readouterr().err.count("two machines may do the same work; it ends the same") == 1
