"""A process that prints goes on when nobody reads it any more, and loses nothing while somebody does."""

import os
import subprocess
import sys
from pathlib import Path

from flows.outliving import STARTED_BY_A_WORKER
from tests.loopback import wait_for

ROOT = Path(__file__).parents[2]
PRINTER = """
import subprocess, sys, time
from pathlib import Path
from flows.outliving import outlive_worker

outlive_worker()
outlive_worker()  # a second flow in one process
print("a nul: \\0 and on")
subprocess.run([sys.executable, "-c", "print('a child')"], check=True)
began = time.monotonic()
Path(sys.argv[2]).with_suffix(".begun").touch()
while time.monotonic() - began < float(sys.argv[1]):
    print("one line of many", file=sys.stderr, flush=True)
print("the last line")
Path(sys.argv[2]).write_text("to the end")
"""
READER = """
import subprocess, sys

with subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
    for line in process.stdout:
        pass
"""


def start(program, *arguments, **options):
    environment = {**os.environ, STARTED_BY_A_WORKER: "x", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, text=True, **options)


def test_all_that_is_printed_arrives_also_what_children_print(tmp_path):
    printer = start(PRINTER, 0.2, tmp_path / "end", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = printer.communicate(timeout=60)
    assert out.splitlines() == ["a nul: \0 and on", "a child", "the last line"]
    assert set(err.splitlines()) == {"one line of many"}
    assert printer.returncode == 0


def test_who_prints_all_the_time_outlives_who_reads_it(tmp_path):
    ends = [tmp_path / f"end-{number}" for number in range(4)]
    readers = [start(READER, sys.executable, "-c", PRINTER, 4, end) for end in ends]
    wait_for(lambda: all(end.with_suffix(".begun").exists() for end in ends))
    for reader in readers:
        reader.kill()
        reader.wait()
    wait_for(lambda: all(end.exists() for end in ends))
