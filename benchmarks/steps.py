"""What is timed in a process of its own: a training step, each way; a product; a copy.

Each is held by a `harness.Apart`, and has `run()`, which does it once and returns the seconds.
"""

from functools import partial

import torch
from torch import Tensor

from benchmarks.harness import seconds_of
from benchmarks.workload import Workload
from wavenet.model.wavenet import WaveNet
from wavenet.training.likelihood import fast_loss, plain_loss
from wavenet.training.memory import keep_memory, peak_memory
from wavenet.training.shares import Loss, add_gradients
from wavenet.training.windows import Windows

PLAIN, FAST = "plain", ("fast-fp32", "fast-bf16")


class Trainer:
    """A network in training on the same random windows, one step a run."""

    def __init__(self, way: str, work: Workload, threads: int, device: str = "cpu") -> None:
        """way: of `choose_loss`. The plain one has allocator and AdamW as they come, others as they train."""
        torch.set_num_threads(threads)
        if way != PLAIN:
            keep_memory()
        torch.manual_seed(0)
        self.device, self.loss, self.shares = device, choose_loss(way), threads if way in FAST else 1
        self.model = WaveNet(work.model, work.levels).to(device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), fused=way != PLAIN or None)
        length = self.model.receptive_field + work.scored_length
        self.windows = Windows(torch.randint(work.levels, (work.batch_size, length)), None).to(device)
        self._add_gradients(Windows(self.windows.codes[:2, : self.model.receptive_field + 1], None))
        self.memory_before = peak_memory()  # code that a first step loads is there now

    def run(self) -> float:
        """Seconds of forward, loss, backward and AdamW."""
        return seconds_of(self._step)

    def memory(self) -> int:
        """Bytes that were resident at the most, above those before the first step."""
        return peak_memory() - self.memory_before

    def _add_gradients(self, windows: Windows) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        add_gradients(self.model, windows, None, self.loss, 1.0, self.shares)

    def _step(self) -> None:
        self._add_gradients(self.windows)
        self.optimizer.step()
        wait_for(self.device)


class Product:
    """One product of two square matrices, as large as a machine likes them: what it can compute."""

    def __init__(self, dtype: torch.dtype, size: int, threads: int, device: str = "cpu") -> None:
        torch.set_num_threads(threads)
        self.device = device
        self.left, self.right, self.out = (
            torch.randn(size, size).to(device=device, dtype=dtype) for _ in range(3)
        )

    def run(self) -> float:
        """Seconds of a product."""
        return seconds_of(self._multiply)

    def _multiply(self) -> None:
        torch.mm(self.left, self.right, out=self.out)
        wait_for(self.device)


class Copy:
    """One copy of so many bytes on a device: what its memory can move."""

    def __init__(self, num_bytes: int, device: str) -> None:
        self.device = device
        self.source = torch.ones(num_bytes, dtype=torch.uint8, device=device)
        self.target = torch.empty_like(self.source)

    def run(self) -> float:
        """Seconds of a copy; each byte is read once and written once."""
        return seconds_of(self._copy)

    def _copy(self) -> None:
        self.target.copy_(self.source)
        wait_for(self.device)


def choose_loss(way: str) -> Loss:
    """Mean nats a scored sample of windows.

    way: plain, by convolutions and autograd, as public implementations train; fast-fp32, fast-bf16, by
    time-major rows, as Waveband trains; or compiled-bf16: the plain network under autocast and torch.compile.
    """
    if way == "compiled-bf16":
        return torch.compile(autocast_loss)
    return {
        PLAIN: plain_loss,
        "fast-fp32": partial(fast_loss, dtype=torch.float32),
        "fast-bf16": partial(fast_loss, dtype=torch.bfloat16),
    }[way]


def autocast_loss(model: WaveNet, windows: Windows, masks: Tensor | None = None) -> Tensor:
    with torch.autocast(windows.codes.device.type, torch.bfloat16):
        return plain_loss(model, windows, masks)


def wait_for(device: str) -> None:
    """Until a device has done all it was told. A CPU has when it says so."""
    if device != "cpu":
        torch.cuda.synchronize(device)
