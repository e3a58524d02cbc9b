"""Work apart: what a worker does to itself it does to no other call, and none outlives its parent."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor
from multiprocessing import forkserver
from pathlib import Path

import psutil
import pytest

from tasks import pool
from tasks.pool import run_apart
from wavenet.data.shards.format import read_manifest
from wavenet.errors import AudioDecodeError, ConfigError, ShardFormatError

WORKERS = 2
CRASHES = {
    "exit": "import os; os._exit(7)",
    "segfault": "import ctypes; ctypes.string_at(0)",
    "killed": "import signal; signal.raise_signal(signal.SIGKILL)",
}


def run(function, *args, timeout=60.0, what="a.wav"):
    return run_apart(function, *args, timeout=timeout, what=what, workers=WORKERS)


def test_what_a_function_returns_comes_back():
    assert run(divmod, 17, 5) == (3, 2)
    assert run(os.getpid) != os.getpid()


@pytest.mark.parametrize(("crash", "status"), [("exit", 7), ("segfault", -11), ("killed", -9)])
def test_a_worker_that_crashes_is_told_in_words(crash, status):
    with pytest.raises(AudioDecodeError) as caught:
        run(exec, CRASHES[crash])
    assert str(caught.value).startswith(
        f"a.wav: the process that read it broke down twice (exit status {status});"
    )
    assert run(divmod, 17, 5) == (3, 2)


def test_what_a_killed_worker_was_at_is_done_by_another(tmp_path):
    """Or a run would go on without the song that it was reading, and decide by the others who is held out."""
    mark = str(tmp_path / "tried")
    run(exec, f"import os; os.path.exists({mark!r}) or (open({mark!r}, 'w'), os.kill(os.getpid(), 9))")
    assert os.path.exists(mark)


@pytest.mark.parametrize("who", ["workers", "their server"])
def test_processes_that_are_killed_with_nothing_to_do_cost_no_call(who):
    pids = (
        {run(os.getpid) for _ in range(20)} if who == "workers" else {forkserver._forkserver._forkserver_pid}
    )
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    time.sleep(1)  # for the pool to find out
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda number: run(divmod, number, 5), range(4))) == [
            (0, n) for n in range(4)
        ]


def test_a_worker_that_hangs_is_given_up():
    before = time.monotonic()
    with pytest.raises(AudioDecodeError, match=r"a\.wav: reading it took longer than 1 s and was given up"):
        run(time.sleep, 600, timeout=1)
    assert time.monotonic() - before < 20
    assert run(divmod, 17, 5) == (3, 2)


def test_a_crash_or_a_hang_costs_its_own_call_and_no_other():
    """Four calls end badly among forty that do not, two workers between them."""
    bad = [(exec, (CRASHES[crash],), 60.0) for crash in CRASHES] + [(time.sleep, (600,), 1.0)]
    calls = [(divmod, (number, 5), 60.0) for number in range(40)]
    for place, call in zip((3, 12, 13, 30), bad, strict=True):
        calls.insert(place, call)

    def outcome(call):
        function, args, timeout = call
        try:
            return run(function, *args, timeout=timeout)
        except AudioDecodeError as error:
            return str(error)

    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(outcome, calls))
    told = [one for one in outcomes if isinstance(one, str)]
    assert [one for one in outcomes if not isinstance(one, str)] == [divmod(n, 5) for n in range(40)]
    assert [place for place, one in enumerate(outcomes) if isinstance(one, str)] == [3, 12, 13, 30]
    assert "exit status 7" in told[0]
    assert "took longer" in told[3]


def test_what_is_stopped_ends_at_once_and_later_calls_go_on():
    with ThreadPoolExecutor(3) as threads:
        futures = [threads.submit(run, time.sleep, 600, timeout=900) for _ in range(3)]  # one has to wait
        assert wait_until(lambda: len(pool._under_way) == 3)
        before = time.monotonic()
        pool.stop_workers()
        told = [future.exception(timeout=30) for future in futures]
    assert [type(error) for error in told] == [CancelledError] * 3
    assert time.monotonic() - before < 20
    assert not pool._under_way
    assert run(divmod, 17, 5) == (3, 2)


def test_c_libraries_write_nothing_amid_the_progress_and_python_still_does():
    assert os.path.samestat(run(os.fstat, 2), os.stat(os.devnull))
    assert run(eval, "__import__('sys').stderr.fileno()") != 2


def test_exceptions_of_the_function_come_back_as_they_are(tmp_path):
    with pytest.raises(ShardFormatError, match=r"no manifest\.json"):
        run(read_manifest, tmp_path)
    with pytest.raises(FileNotFoundError) as caught:
        run(os.listdir, str(tmp_path / "nowhere"))
    assert caught.value.filename == str(tmp_path / "nowhere")
    with pytest.raises(TimeoutError, match="the line is dead"):
        run(exec, "raise TimeoutError('the line is dead')")


def test_an_exception_that_cannot_travel_is_told_and_leaves_the_pool_as_it_was():
    code = "class Odd(Exception):\n def __init__(self, a, b): super().__init__(f'{a} {b}')\nraise Odd(1, 2)"
    with pytest.raises(RuntimeError, match="Odd: 1 2"):
        run(exec, code)
    assert run(divmod, 17, 5) == (3, 2)


@pytest.mark.parametrize("call", [(divmod, lambda: 1, 5), (eval, "lambda: 1")], ids=["there", "back"])
def test_what_cannot_travel_costs_its_own_call(call):
    with pytest.raises(Exception, match=r"Can't pickle|broke down"):
        run(*call)
    assert run(divmod, 17, 5) == (3, 2)


def test_threads_that_come_at_once_share_one_pool(monkeypatch):
    made = []

    def make_slowly(**options):
        time.sleep(0.2)
        made.append(ProcessPool(**options))
        return made[-1]

    ProcessPool = pool.ProcessPool  # noqa: N806
    monkeypatch.setattr(pool, "ProcessPool", make_slowly)
    pool._pool.cache_clear()
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: run(os.getpid), range(4)))
    assert len(made) == 1


def is_alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(true, seconds=60.0):
    """Whether something comes true in time."""
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return true()


SCRIPT = """
import sys
from tasks.pool import run_apart

with open(sys.argv[1], "a") as counted:
    counted.write("run")
print(run_apart(divmod, 17, 5, timeout=60, what="it"))
"""


@pytest.mark.parametrize("how", ["a file", "a module"])
def test_a_script_of_somebodys_is_not_run_again_by_each_worker(tmp_path, how):
    """Nor Prefect's, which takes seconds; multiprocessing asks scripts to guard against it."""
    (tmp_path / "script.py").write_text(SCRIPT)
    called = [tmp_path / "script.py"] if how == "a file" else ["-m", "script"]
    done = subprocess.run(
        [sys.executable, *called, tmp_path / "counted"], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(pool.__file__).parents[1])}, timeout=100,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "(3, 2)\n"
    assert (tmp_path / "counted").read_text() == "run"


PARENT = """
import sys, threading
from tasks.pool import run_apart

if __name__ == "__main__":
    apart = {"timeout": 600, "what": "a.wav", "workers": 2}
    for name in sys.argv[1:]:
        code = f"import os, time; open({name!r}, 'w').write(str(os.getpid())); time.sleep(300)"
        threading.Thread(target=run_apart, args=(exec, code), kwargs=apart, daemon=True).start()
    sys.stdin.read()
"""


@pytest.fixture
def parent(tmp_path):
    """A process of its own whose two workers are at work; and all that it started, by id."""
    script, marks = tmp_path / "parent.py", [tmp_path / "one", tmp_path / "two"]
    script.write_text(PARENT)
    process = subprocess.Popen(
        [sys.executable, script, *marks],
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(pool.__file__).parents[1])},
    )
    assert wait_until(lambda: all(mark.exists() and mark.read_text() for mark in marks), 60)
    pids = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    assert {int(mark.read_text()) for mark in marks} < set(pids)
    yield process, pids
    process.kill()
    process.wait()
    process.stdin.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel does it, where it is Linux")
@pytest.mark.parametrize("end", ["kill -9", "the end of its input"])
def test_no_worker_outlives_its_parent(parent, end):
    """Whether it was killed or ended: its workers are busy for five minutes more, and end at once."""
    process, pids = parent
    if end == "kill -9":
        process.send_signal(signal.SIGKILL)
    else:
        process.stdin.close()
    process.wait(30)
    assert wait_until(lambda: not any(map(is_alive, pids)))


LATE = """
import os, sys, time
from tasks.pool import die_with_parent

starter = os.getpid()
if os.fork() == 0:
    while sys.argv[2] == "orphan" and os.getppid() == starter:
        time.sleep(0.01)
    die_with_parent()
    open(sys.argv[1], "w").close()
    os._exit(0)
if sys.argv[2] != "orphan":
    os.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel ends nobody for another")
@pytest.mark.parametrize(("who", "lives"), [("orphan", False), ("child", True)])
def test_a_worker_whose_parent_was_gone_before_it_began_ends_itself(tmp_path, who, lives):
    """The kernel ends a process with its parent only if it was told so while the parent lived."""
    begun = tmp_path / "begun"
    process = subprocess.Popen(
        [sys.executable, "-c", LATE, str(begun), who], stdout=subprocess.PIPE, env=dict(os.environ)
    )
    process.stdout.read()  # until both are gone
    assert process.wait() == 0
    assert begun.exists() == lives


def test_a_worker_that_may_start_no_processes_says_what_to_set(monkeypatch):
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)
    with pytest.raises(ConfigError, match="DASK_DISTRIBUTED__WORKER__DAEMON=False"):
        run(os.getpid)
