"""Servers on this machine: ports that are free, and processes that serve there."""

import itertools
import os
import random
import signal
import socket
import subprocess
import time
import urllib.request

PORTS, MOST_WORKERS = range(20_000, 32_000), 8
"""Below those that Linux gives to whoever asks for any, from 32768 on. A server binds its port seconds after
it was found free, and nobody else is given it meanwhile."""


def _ports():
    """This process's share of them, on and on from somewhere; what runs tests side by side has several."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % MOST_WORKERS
    share = list(PORTS[worker::MOST_WORKERS])
    begin = random.SystemRandom().randrange(len(share))
    return itertools.cycle(share[begin:] + share[:begin])


_next_ports = _ports()


def free_port():
    """A port that nobody has, each time another."""
    return next(port for port in _next_ports if _is_free(port))


def _is_free(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status == 200
    except OSError:
        return False


def wait_for(what, seconds=120.0):
    """What it gives once it gives something."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)
    return found


class Server:
    """A process that serves, which can be killed, with all that it started, and started again."""

    def __init__(self, command, health, log, environment):
        """health: the address that answers once it serves. log: the file of what it says."""
        self.command, self.health, self.log, self.environment = command, health, log, environment
        self.process = None

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=self.environment, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        wait_for(self._serves)

    def _serves(self):
        found = answers(self.health)
        self.check()
        return found

    def check(self):
        """Whether it is alive, by an error that shows what it said last."""
        status = self.process.poll()
        assert status is None, f"it ended with {status}: {self.log.read_text(errors='replace')[-4000:]}"

    def kill(self, how=signal.SIGKILL):
        if self.process:
            os.killpg(self.process.pid, how)
            self.process.wait(20)
            self.process = None
