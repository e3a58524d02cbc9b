"""Measure a value and its baseline in turn, in one run, and say what that gives.

Knows nothing of what is measured. The invariants: whoever is measured first changes from repeat to
repeat, so that a machine that warms up or is busy for a while slows both; figures are medians; and
nothing is said of the machine that could name it or its owner.
"""

import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import psutil

Answer = TypeVar("Answer")

PACKAGES = ("numpy", "numba", "pyarrow", "soundfile", "soxr", "torch", "torchaudio")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Setting:
    """What a benchmark is to measure with. A quick one ends within a minute."""

    folder: Path  # an empty one, for what is written
    quick: bool = False
    audio: Path | None = None  # a folder of music; the demo album where there is none
    threads: int | None = None  # of a training; all cores where nothing is said

    @property
    def repeats(self) -> int:
        """How often each of value and baseline is measured."""
        return 3 if self.quick else 7

    @property
    def num_threads(self) -> int:
        """How many threads a training has."""
        return self.threads or len(available_cores())


@dataclass(frozen=True)
class Result:
    """One case: a value, what it is held against, and what the ratio of the two should be."""

    case: str
    unit: str
    value: float
    baseline: str  # in words
    baseline_value: float
    at_least: float | None = None
    at_most: float | None = None
    note: str | None = None  # what a reader of the ratio should know

    @property
    def ratio(self) -> float:
        """Of value to baseline."""
        return self.value / self.baseline_value

    @property
    def met(self) -> bool | None:
        """Whether the ratio is as it should be; None where nothing is asked for."""
        if self.at_least is None and self.at_most is None:
            return None
        high_enough = self.at_least is None or self.ratio >= self.at_least
        return high_enough and (self.at_most is None or self.ratio <= self.at_most)

    def to_json(self) -> dict[str, Any]:
        """As the benchmark's object has it: targets only where there are some."""
        fields = {**asdict(self), "ratio": self.ratio, "met": self.met}
        return {name: _rounded(value) for name, value in fields.items() if value is not None}


def describe_run(name: str, results: Iterable[Result]) -> dict[str, Any]:
    """The benchmark's one object, ready for JSON."""
    return {
        "benchmark": name,
        "machine": describe_machine(),
        "results": [result.to_json() for result in results],
    }


def describe_machine() -> dict[str, Any]:
    """Processor, cores, memory and versions."""
    return {
        "processor": _processor_name(),
        "cores": len(available_cores()),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def measure_in_turn(
    value: Callable[[], object], baseline: Callable[[], object], repeats: int
) -> tuple[float, float]:
    """Median seconds of a call of each, after one call of each to warm up."""
    calls = (value, baseline)
    for call in calls:
        call()
    seconds: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats):
        order = (0, 1) if repeat % 2 == 0 else (1, 0)
        for which in order:
            seconds[which].append(seconds_of(calls[which]))
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def seconds_of(call: Callable[[], object]) -> float:
    """How long a call takes. What it returns lives on until the clock has stopped."""
    start = time.perf_counter()
    kept = call()
    stop = time.perf_counter()
    del kept
    return stop - start


def compare_rates(
    case: str,
    unit: str,
    count: int,
    value: Callable[[], object],
    baseline: tuple[str, Callable[[], object]],
    repeats: int,
    at_least: float | None = None,
) -> Result:
    """How many of `count` things are done a second, by both in turn. baseline: its name, and its call."""
    name, call = baseline
    seconds, baseline_seconds = measure_in_turn(value, call, repeats)
    return Result(case, unit, count / seconds, name, count / baseline_seconds, at_least)


def available_cores() -> list[int]:
    """Numbers of the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def run_pinned(function: Callable[..., Answer], *args: Any) -> Answer:
    """Call a module's function in a fresh process that has one core and one thread of each library."""
    with pinned_pool(1) as pool:
        return pool.submit(function, *args).result()


def run_apart(function: Callable[..., Answer], *args: Any) -> Answer:
    """Call a module's function in a fresh process with all cores, one thread of each library."""
    with fresh_pool(1) as pool:
        return pool.submit(function, *args).result()


class Apart:
    """An object in a fresh process, made there and asked over a pipe while this one goes on."""

    def __init__(self, make: Callable[..., Any], *args: Any) -> None:
        """make: a module's class or function, called with args in the other process."""
        self._pool = fresh_pool(1, initializer=_hold, initargs=(make, args))
        self._pool.submit(int)  # so that the process starts now, beside others

    def ask(self, method: str, *args: Any) -> Any:
        """What a method of the object answers."""
        return self._pool.submit(_ask, method, args).result()

    def __enter__(self) -> "Apart":
        return self

    def __exit__(self, *problem: object) -> None:
        self._pool.shutdown(cancel_futures=True)


_held: list[Any] = []  # in a process of `Apart`: its object


def _hold(make: Callable[..., Any], args: tuple[Any, ...]) -> None:
    _held.append(make(*args))


def _ask(method: str, args: tuple[Any, ...]) -> Any:
    return getattr(_held[0], method)(*args)


def ask_in_turn(others: Mapping[str, Apart], repeats: int) -> dict[str, float]:
    """Median of the seconds that each one's `run()` answers, after one of each to warm up."""
    for other in others.values():
        other.ask("run")
    names, seconds = list(others), {name: [] for name in others}
    for repeat in range(repeats):
        first = repeat % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(others[name].ask("run"))
    return {name: statistics.median(each) for name, each in seconds.items()}


def pinned_pool(workers: int) -> ProcessPoolExecutor:
    """A `fresh_pool` each of whose processes has a core of its own, as far as there are some."""
    turns = multiprocessing.get_context("spawn").Value("i", 0)
    return fresh_pool(workers, initializer=_take_core, initargs=(turns,))


def fresh_pool(workers: int, **options: Any) -> ProcessPoolExecutor:
    """A pool of processes that share nothing with this one, in which libraries take one thread each."""
    os.environ.update(ONE_THREAD)  # read by libraries as they are loaded, in the processes to come
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), **options)


def _take_core(turns: Any) -> None:
    with turns.get_lock():
        turn, turns.value = turns.value, turns.value + 1
    cores = available_cores()[::-1]  # the first has most interrupts to serve
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {cores[turn % len(cores)]})


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _rounded(value: Any) -> Any:
    """Five digits say all that such figures mean."""
    return float(f"{value:.5g}") if isinstance(value, float) else value
