"""Samples a second of compiled generation beside plain cached torch, and as shares of what memory gives.

`small` and `standard` are networks of the sizes that people train on a CPU and on a GPU. All cases are asked
in turn in one run. With --quick fewer samples are played, and nothing is judged but the first use.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import Apart, Result, Setting, ask_in_turn
from benchmarks.players import Band, Compiled, PlainTorch, Reading
from wavenet.config import ModelConfig
from wavenet.generation import processor
from wavenet.generation.engine import BLOCK
from wavenet.model.cost import count_multiply_adds

LEVELS = 256
NETWORKS = {
    "small": ModelConfig(
        dilation_cycle=10, num_cycles=2, residual_channels=32, gate_channels=32, skip_channels=128
    ),
    "standard": ModelConfig(
        dilation_cycle=10, num_cycles=3, residual_channels=64, gate_channels=64, skip_channels=256
    ),
}
ITEM_BYTES = {"fp32": 4, "bf16": 2, "int8": 1}
SAMPLE_RATES = (16000, 22050, 44100)
PLAIN = "plain torch cached"
RATE = "samples/s"


@dataclass(frozen=True)
class Case:
    """Streams of a network in a precision on some threads, and how many times plain torch they should be."""

    network: str
    precision: str
    streams: int = 1
    threads: int = 1
    at_least: float | None = None

    @property
    def name(self) -> str:
        return f"{self.network}/{self.precision}/streams-{self.streams}/threads-{self.threads}"


def list_cases(best: str) -> list[Case]:
    """What is measured; best: the fastest precision here."""
    judged = [
        Case("small", "fp32", at_least=70),
        Case("small", best, at_least=100),
        Case("standard", "fp32", at_least=6.5),
        Case("standard", best, at_least=60),
        Case("standard", best, 16, 1, at_least=120),
        Case("standard", best, 32, 2, at_least=250),
    ]
    others = [Case(network, "bf16") for network in NETWORKS] + [Case("standard", "fp32", 16)]
    return list({case.name: case for case in [*judged, *others]}.values())


CACHES = {"L2": 1 << 19, "L3": 1 << 23}
"""Bytes that fit well into each."""
READ_BYTES = 1 << 30


def measure(setting: Setting) -> Iterator[Result]:
    """Rates, real time, shares of bandwidth, and how long the first take waits for the compiler."""
    best = processor.list_precisions()[0]
    cases = list_cases(best)
    plain_samples, samples = (100, 2000) if setting.quick else (400, 12000)
    with ExitStack() as stack:
        others = {}
        for name, config in NETWORKS.items():
            others[name] = stack.enter_context(Apart(PlainTorch, config, plain_samples))
        for case in cases:
            each = max(1, samples // case.streams)
            arguments = (NETWORKS[case.network], each, case.precision, case.streams, case.threads)
            others[case.name] = stack.enter_context(Apart(Compiled, *arguments))
        for name, size in CACHES.items():
            others[name] = stack.enter_context(Apart(Reading, size, READ_BYTES // size))
        seconds = ask_in_turn(others, setting.repeats)
    rates = {name: plain_samples / seconds[name] for name in NETWORKS}
    rates |= {c.name: c.streams * max(1, samples // c.streams) / seconds[c.name] for c in cases}
    yield from compare_with_plain(cases, rates, judged=not setting.quick)
    yield from compare_with_memory(cases, rates, {name: READ_BYTES / seconds[name] for name in CACHES}, best)
    yield measure_band(setting, best)
    yield from measure_first_use(best)


def compare_with_plain(cases: list[Case], rates: Mapping[str, float], judged: bool) -> Iterator[Result]:
    """Times plain torch with one stream, and real time at the usual rates."""
    for case in cases:
        least = case.at_least if judged else None
        rate = rates[case.name]
        yield Result(f"generation/{case.name}", RATE, rate, PLAIN, rates[case.network], least)
        for sample_rate in SAMPLE_RATES:
            name = f"generation/{case.name}/real-time-at-{sample_rate}"
            yield Result(name, RATE, rate, "as fast as it plays", sample_rate)


STEMS, CORES, BAND_RATE, BAND_SECONDS = 3, 2, 16000, 60


def measure_band(setting: Setting, best: str) -> Result:
    """A mix of three stems by `standard` networks, a stream each: how many times as fast as it plays."""
    seconds = 4 if setting.quick else BAND_SECONDS
    num_samples = seconds * BAND_RATE // BLOCK * BLOCK
    with Apart(Band, NETWORKS["standard"], num_samples, best, STEMS, CORES) as band:
        rate = num_samples / band.ask("run")
    name = f"generation/standard/{best}/mix-of-{STEMS}-stems/{seconds}-s/threads-{CORES}"
    least = None if setting.quick else 1.0
    return Result(name, RATE, rate, "as fast as it plays", BAND_RATE, least)


SHARES = {
    ("small", "fp32"): ("L2", 0.65),
    ("standard", "fp32"): ("L3", 0.95),
    ("standard", "int8"): ("L3", 0.41),
}


def compare_with_memory(
    cases: list[Case], rates: Mapping[str, float], bandwidth: Mapping[str, float], best: str
) -> Iterator[Result]:
    """Bytes of weights that a stream's samples need a second, beside what the cache that holds them gives.

    Each sample needs all of them once. Those of past taps serve several samples a reading, so fewer are read:
    those are a case of their own, of which nothing is asked.
    """
    for case in cases:
        if case.streams == 1 and (case.network, case.precision) in SHARES:
            cache, least = SHARES[case.network, case.precision]
            config, rate = NETWORKS[case.network], rates[case.name]
            size = count_multiply_adds(config, LEVELS) * ITEM_BYTES[case.precision]
            read = size - spared_multiply_adds(config) * ITEM_BYTES[case.precision]
            name, unit, baseline = f"generation/{case.name}/of-{cache}", "bytes/s", f"{cache} read"
            yield Result(name, unit, rate * size, baseline, bandwidth[cache], least)
            yield Result(f"{name}/read", unit, rate * read, baseline, bandwidth[cache])


def spared_multiply_adds(config: ModelConfig) -> float:
    """A sample's, of one stream, whose weights were read for an earlier one: of past taps within a span."""
    from wavenet.generation.kernels.streams import plan_spans  # numba takes seconds to load

    shares = sum(1 - 1 / span for span in plan_spans(np.array(config.dilations), 1))
    return shares * (config.kernel_size - 1) * config.residual_channels * 2 * config.gate_channels


FIRST, CACHED = 15.0, 2.0
PROGRAM = """
import sys, time
from benchmarks.generation import NETWORKS
from benchmarks.players import make_context, make_network
import torch
from wavenet.generation.engine import Player, generate
torch.set_num_threads(1)
model = make_network(NETWORKS["small"])
begin = time.perf_counter()
generate(model, make_context(model, 1), 16, player=Player(precision=sys.argv[1]))
print(time.perf_counter() - begin)
"""


def measure_first_use(precision: str) -> Iterator[Result]:
    """Seconds to the first samples where nothing is compiled yet, and where all is."""
    with tempfile.TemporaryDirectory() as folder:
        for name, most in (("first-use", FIRST), ("from-the-cache", CACHED)):
            seconds = _time_first_samples(precision, Path(folder))
            yield Result(f"generation/{name}", "s", seconds, f"{most:g} s", most, at_most=1)


def _time_first_samples(precision: str, cache: Path) -> float:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", PROGRAM, precision]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1])
