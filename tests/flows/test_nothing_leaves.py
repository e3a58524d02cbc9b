"""A default run, and the servers as they are documented, connect to this machine and look up nothing else.

Two witnesses: an audit hook in every Python process, which hears of each connection and look-up that is asked
for; and, for root on Linux, a network of loopback alone, whose kernel counts what it had no way for.
"""

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.tracking import ui_command
from tasks.workspace import Workspace
from tests.conftest import TINY, write_tone

ROOT = Path(__file__).parents[2]
HIDDEN = ("PREFECT_", "MLFLOW_", "DO_NOT_TRACK", "PYTEST", "CI", "GITHUB_", "BUILD")
"""Of the environment: what a person has not, and by which telemetry would know a test."""
pytestmark = pytest.mark.timeout(900)
HERE = {"127.0.0.1", "localhost", "::1", "0.0.0.0", "", None}
WITNESS = """
import os, sys

def note(event, arguments):
    if event in {"socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"}:
        place = arguments[1] if event in {"socket.connect", "socket.sendto"} else arguments
        if isinstance(place, tuple):  # and not the name of a Unix socket
            with open(os.environ["WAVEBAND_WITNESS"], "a") as stream:
                stream.write(repr((event, place[0], sys.argv[:3])) + chr(10))

sys.addaudithook(note)
"""
ALONE = 'ip link set lo up && "$@"; status=$?; cat /proc/net/snmp >&2; exit $status'
SERVED = """
import subprocess, sys, time, urllib.request
server = subprocess.Popen(sys.argv[2:], stdout=subprocess.DEVNULL, start_new_session=True)
for _ in range(600):
    time.sleep(0.2)
    try:
        urllib.request.urlopen(sys.argv[1], timeout=5).read()
        time.sleep(3)
        break
    except OSError:
        assert server.poll() is None
else:
    sys.exit("it never answered")
server.terminate()
server.wait(60)
"""


def can_be_alone():
    try:
        return subprocess.run(["unshare", "--net", "ip", "link", "set", "lo", "up"]).returncode == 0
    except OSError:
        return False


@pytest.fixture
def watched(tmp_path):
    """Run a command as a person would; returns how it ended, and whatever led off this machine."""
    (tmp_path / "witness").mkdir()
    (tmp_path / "witness" / "sitecustomize.py").write_text(WITNESS)
    told = tmp_path / "witness" / "told"
    told.touch()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(HIDDEN)}
    path = os.pathsep.join([str(told.parent), str(ROOT), *filter(None, sys.path)])
    environment = {**kept, "PYTHONPATH": path, "WAVEBAND_WITNESS": str(told)}

    def run(*command, folder=tmp_path, **variables):
        prefix = ["unshare", "--net", "sh", "-c", ALONE, "sh"] if can_be_alone() else []
        done = subprocess.run(
            [*prefix, *map(str, command)], cwd=folder, env={**environment, **variables},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=800,
        )  # fmt: skip
        heard = [ast.literal_eval(line) for line in told.read_text().splitlines()]
        lost = [f"{count} without a way" for count in no_ways(done.stderr) if count != "0"]
        return done, [one for one in heard if one[1] not in HERE] + lost

    return run


def no_ways(text):
    """OutNoRoutes of /proc/net/snmp: what this network had no way for."""
    names, values = re.findall(r"^Ip: (.*)$", text, re.M) or ("", "")
    return [value for name, value in zip(names.split(), values.split(), strict=True) if name == "OutNoRoutes"]


def test_the_witnesses_see_what_leaves(watched):
    code = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('203.0.113.1', 9))"
    _, left = watched(sys.executable, "-c", code)
    assert left[0][:2] == ("socket.connect", "203.0.113.1")
    assert len(left) == 1 + can_be_alone()


def test_a_default_run_stays_on_this_machine(watched, tmp_path):
    for number in range(3):
        write_tone(tmp_path / "songs" / f"{number}.wav", 200 + 10 * number)
    (tmp_path / "tiny.yaml").write_text(TINY)
    command = ("-m", "flows.cli", "run", "--input", "songs", "--config", "tiny.yaml", "training.steps=2")
    done, left = watched(sys.executable, *command)
    assert done.returncode == 0, done.stderr
    assert left == []
    assert "mix  " in done.stdout


@pytest.mark.parametrize("server", ["prefect", "mlflow"])
def test_the_servers_as_documented_stay_on_this_machine(watched, tmp_path, server):
    """In the repository's root, where prefect.toml lies."""
    told, *ui = shlex.split(ui_command(Workspace(root=tmp_path)))
    address, *command = {
        "prefect": ["http://127.0.0.1:4200/api/health", "prefect", "server", "start"],
        "mlflow": ["http://127.0.0.1:5000/health", *ui, "--workers", "1"],
    }[server]
    if not can_be_alone():
        pytest.skip("their ports may be another's")
    (tmp_path / "home").mkdir()
    done, left = watched(
        sys.executable, "-c", SERVED, address, sys.executable, "-m", *command,
        folder=ROOT, PREFECT_HOME=str(tmp_path / "home"), **dict([told.split("=")]),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert left == []


SAID = """
import os, sys
from pathlib import Path
from flows.runtime import prepare_environment
prepare_environment(Path(sys.argv[1]))
import prefect.settings, mlflow.telemetry.utils
analytics = prefect.settings.get_current_settings().server.analytics_enabled
print(analytics, os.environ["MLFLOW_DISABLE_TELEMETRY"], os.environ["DO_NOT_TRACK"])
"""


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({}, "False true 1"),
        (
            {
                "PREFECT_SERVER_ANALYTICS_ENABLED": "true",
                "MLFLOW_DISABLE_TELEMETRY": "false",
                "DO_NOT_TRACK": "0",
            },
            "True false 0",
        ),
    ],
)
def test_telemetry_is_off_unless_the_user_says_so(watched, tmp_path, said, told):
    done, left = watched(sys.executable, "-c", SAID, tmp_path / "workspace", **said)
    assert done.stdout.strip() == told, done.stderr
    assert left == []
