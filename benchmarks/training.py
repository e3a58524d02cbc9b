"""One training step, plain and fast: rates, the share of what the machine can compute, memory, bf16.

`standard` is a network of the size that papers train; targets are of it alone. With --quick a smaller one is
measured, which is judged by nothing.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from benchmarks.harness import Apart, Result, Setting, ask_in_turn, fresh_pool
from benchmarks.steps import FAST, PLAIN, Copy, Product, Trainer, choose_loss
from benchmarks.workload import Workload
from wavenet.audio.mulaw import encode_mu_law
from wavenet.config import ModelConfig
from wavenet.data.dataset import CodeRun, WindowSampler, tile_windows
from wavenet.data.demo_album import write_demo_album
from wavenet.model.wavenet import WaveNet
from wavenet.training.likelihood import score_windows
from wavenet.training.precision import computes_in_bf16
from wavenet.training.windows import Windows

STANDARD = Workload(
    "standard",
    ModelConfig(dilation_cycle=10, num_cycles=3, residual_channels=64, gate_channels=64, skip_channels=256),
    batch_size=4,
    scored_length=8192,
)
SMALL = Workload(
    "small",
    ModelConfig(dilation_cycle=6, num_cycles=2, residual_channels=32, gate_channels=32, skip_channels=64),
    batch_size=2,
    scored_length=2048,
)
RATE, FLOPS = "scored samples/s", "FLOP/s"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
ITEM_BYTES = 2
"""Of bf16."""


def measure(setting: Setting) -> Iterator[Result]:
    """The CPU's cases, what bf16 learns, and a GPU's cases where there is one."""
    work = SMALL if setting.quick else STANDARD
    yield from measure_cpu(work, setting)
    yield measure_heldout(setting)
    if torch.cuda.is_available():
        yield from measure_cuda(work, setting)


# On the CPU

PRODUCT_SIZE = 2048
LEAST_SPEEDUP = {"fast-fp32": 2.2, "fast-bf16": 5.0}
LEAST_SHARE = 0.4
"""Of the rate of a large product, by all of a step: in the end a step is products."""
MOST_MEMORY = 0.5
NO_BF16 = "no bf16 arithmetic here"


def measure_cpu(work: Workload, setting: Setting) -> Iterator[Result]:
    """Steps and products in processes of their own, asked in turn, and the memory of those that train."""
    threads = setting.num_threads
    with ExitStack() as stack:
        others = {way: stack.enter_context(Apart(Trainer, way, work, threads)) for way in (PLAIN, *FAST)}
        for name, dtype in DTYPES.items():
            others[name] = stack.enter_context(Apart(Product, dtype, PRODUCT_SIZE, threads))
        seconds = ask_in_turn(others, setting.repeats)
        memory = {way: others[way].ask("memory") for way in (PLAIN, *FAST)}
    has_bf16 = computes_in_bf16(torch.device("cpu"))
    yield from cpu_results(work, seconds, memory, has_bf16)


def cpu_results(
    work: Workload, seconds: Mapping[str, float], memory: Mapping[str, int], has_bf16: bool
) -> Iterator[Result]:
    """What the figures say. seconds: of a step each way, and of a product in fp32 and in bf16; memory: bytes
    of each way. Without bf16 arithmetic its speed is told and not judged."""
    products = {name: 2 * PRODUCT_SIZE**3 / seconds[name] for name in DTYPES}
    plain, prefix = work.num_scored / seconds[PLAIN], f"training/{work.name}"
    limit = products["fp32"] * work.num_scored / work.flops()
    yield Result(f"{prefix}/{PLAIN}", RATE, plain, "its FLOP in fp32 products", limit)
    for way in FAST:
        dtype, case = way.removeprefix("fast-"), f"{prefix}/{way}"
        judged = work == STANDARD and (has_bf16 or dtype == "fp32")
        told = None if has_bf16 or dtype == "fp32" else NO_BF16
        rate, flops = work.num_scored / seconds[way], work.flops() / seconds[way]
        least = LEAST_SPEEDUP[way] if judged else None
        share = LEAST_SHARE if judged and dtype == "fp32" else None
        most = MOST_MEMORY if work == STANDARD else None
        yield Result(case, RATE, rate, PLAIN, plain, least, note=told)
        name = f"{dtype} product of {PRODUCT_SIZE}^3"
        yield Result(f"{case}/of-product", FLOPS, flops, name, products[dtype], share, note=told)
        yield Result(f"{case}/memory", "bytes", memory[way], PLAIN, memory[PLAIN], at_most=most)
    told = None if has_bf16 else NO_BF16
    yield Result("training/product/bf16", FLOPS, products["bf16"], "fp32", products["fp32"], note=told)


# What is learnt in bf16

STEM, SAMPLE_RATE = "bass", 8000
SONGS, SONG_SECONDS = 4, 10.0
STEPS, QUICK_STEPS = 500, 20
LEARNING_RATE = 2e-3
HELDOUT_LENGTH = 1 << 14
WITHIN = 0.01


def measure_heldout(setting: Setting) -> Result:
    """Bits a held-out sample of the demo album's bass, after as many steps in bf16 and in fp32."""
    album = write_demo_album(
        setting.folder / "heldout", num_songs=SONGS, seconds=SONG_SECONDS, sample_rate=SAMPLE_RATE
    )
    steps = QUICK_STEPS if setting.quick else STEPS
    with fresh_pool(2) as pool:
        bf16, fp32 = pool.map(partial(train_briefly, album=album, steps=steps), reversed(FAST))
    bounds = {} if setting.quick else {"at_least": 1 - WITHIN, "at_most": 1 + WITHIN}
    case, note = f"training/{SMALL.name}/bf16-vs-fp32-heldout-bits", f"after {steps} steps"
    return Result(case, "bits/sample", bf16, "fp32", fp32, **bounds, note=note)


def train_briefly(way: str, album: Path, steps: int) -> float:
    """Train on all songs but the last, one thread; bits a sample of the last, scored in fp32."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, loss = WaveNet(SMALL.model, SMALL.levels), choose_loss(way)
    *train, heldout = read_stem(album)
    sampler = WindowSampler(train, model.receptive_field, SMALL.scored_length, SMALL.batch_size, seed=0)
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for step in range(steps):
        optimizer.zero_grad(set_to_none=True)
        loss(model, _to_windows(sampler.batch(step)), None).backward()
        optimizer.step()
        schedule.step()
    return score_heldout(model, heldout)


def read_stem(album: Path) -> list[CodeRun]:
    """The stem of every song as codes, in order."""
    runs = []
    for song in sorted(path for path in album.iterdir() if path.is_dir()):
        waveform, _ = soundfile.read(song / f"{STEM}.wav", dtype="float32")
        runs.append(CodeRun(song.name, song.name, 0, encode_mu_law(waveform, SMALL.levels)))
    return runs


def score_heldout(model: WaveNet, run: CodeRun) -> float:
    """Mean bits of every sample of a run that has its whole context."""
    tiles = tile_windows([run], model.receptive_field, HELDOUT_LENGTH)
    return score_windows(model, (_to_windows(window[None]) for window in tiles))


def _to_windows(codes: NDArray[np.integer]) -> Windows:
    return Windows(torch.from_numpy(codes.astype(np.int64)), None)


# On a GPU

CUDA_WAYS = ("fast-bf16", "compiled-bf16")
CUDA_BATCH = 16
CUDA_PRODUCT_SIZE = 8192
COPIED_BYTES = 1 << 30
WANTED_RATE = 10e6
"""Scored samples a second, of a card such as an H100."""
H100_CAPABILITY = (9, 0)


def measure_cuda(work: Workload, setting: Setting) -> Iterator[Result]:
    """Steps on the first GPU in turn with a large product and a large copy. Larger batches than on a CPU."""
    work = replace(work, batch_size=CUDA_BATCH)
    with ExitStack() as stack:
        others = {
            way: stack.enter_context(Apart(Trainer, way, work, 1, "cuda")) for way in (PLAIN, *CUDA_WAYS)
        }
        bf16 = torch.bfloat16
        others["product"] = stack.enter_context(Apart(Product, bf16, CUDA_PRODUCT_SIZE, 1, "cuda"))
        others["copy"] = stack.enter_context(Apart(Copy, COPIED_BYTES, "cuda"))
        seconds = ask_in_turn(others, setting.repeats)
    judged = work.name == STANDARD.name and torch.cuda.get_device_capability() >= H100_CAPABILITY
    yield from cuda_results(work, seconds, torch.cuda.get_device_name(), judged)


def cuda_results(work: Workload, seconds: Mapping[str, float], card: str, judged: bool) -> Iterator[Result]:
    """What the figures say. seconds: of a step each way, of a product and of a copy, which reads and writes
    every byte. The quicker way in bf16 is judged."""
    prefix, plain = f"training/{work.name}/cuda", work.num_scored / seconds[PLAIN]
    for way in CUDA_WAYS:
        yield Result(f"{prefix}/{way}", RATE, work.num_scored / seconds[way], "plain, fp32", plain, note=card)
    best = min(CUDA_WAYS, key=lambda way: seconds[way])
    rate, flops = work.num_scored / seconds[best], work.flops() / seconds[best]
    moved, copied = work.least_bytes(ITEM_BYTES) / seconds[best], 2 * COPIED_BYTES / seconds["copy"]
    product, note = 2 * CUDA_PRODUCT_SIZE**3 / seconds["product"], f"{best}, {card}"
    name = f"bf16 product of {CUDA_PRODUCT_SIZE}^3"
    least = 1 if judged else None
    yield Result(f"{prefix}/bf16", RATE, rate, "10 M/s", WANTED_RATE, least, note=note)
    yield Result(f"{prefix}/bf16/of-product", FLOPS, flops, name, product, note=note)
    yield Result(f"{prefix}/bf16/of-bandwidth", "bytes/s", moved, "one large copy", copied, note=note)
