"""Servers of tests: no two get one port, and one that ends is told."""

import os
import subprocess
import sys

import pytest

from tests.loopback import PORTS, Server, free_port


def test_no_port_is_found_free_twice_by_any_process_that_runs_tests():
    mine = {free_port() for _ in range(20)}
    show = "from tests.loopback import free_port; print(*(free_port() for _ in range(20)))"
    theirs = {
        int(port)
        for worker in ("gw1", "gw2", "gw5")
        for port in subprocess.check_output(
            [sys.executable, "-c", show], env={**os.environ, "PYTEST_XDIST_WORKER": worker}, text=True
        ).split()
    }
    assert len(mine) == 20
    assert len(theirs) == 60
    assert (mine | theirs) <= set(PORTS)


def test_a_server_that_ends_is_told_at_once_with_what_it_said(tmp_path):
    command = [sys.executable, "-c", "raise SystemExit('the port is taken')"]
    server = Server(command, f"http://127.0.0.1:{free_port()}/", tmp_path / "log", dict(os.environ))
    with pytest.raises(AssertionError, match="it ended with 1: the port is taken"):
        server.start()
