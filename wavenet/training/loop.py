"""The training of one stem: windows in, a trained network out, every report a line of metrics.

Knows nothing of Prefect, MLflow or where its folder lies. The invariant: killed at any moment and
started again in the same folder, it ends with the same weights and the same lines of metrics
(timings aside) as if it had not been.
"""

import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wavenet.config import ModelConfig, StemConfig, TrainingConfig
from wavenet.data.dataset import WindowSampler, check_compatible, load_runs, tile_windows
from wavenet.data.shards.format import read_manifest
from wavenet.errors import ConfigError, TrainingDivergedError
from wavenet.model.outputs import negative_log_likelihood
from wavenet.model.wavenet import WaveNet
from wavenet.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from wavenet.training.metrics import (
    FINAL_BITS,
    HELDOUT_BITS,
    LEARNING_RATE,
    SPEED,
    STEP,
    TRAIN_BITS,
    MetricsFile,
    Reporter,
    read_metrics,
)

METRICS = "metrics.jsonl"
CHECKPOINTS = "checkpoints"


def train_model(
    shards: Path, folder: Path, config: StemConfig, reporters: Sequence[Reporter] = ()
) -> tuple[WaveNet, float, float]:
    """Train a network on a shard set, going on from the newest checkpoint in `folder`.

    Returns the network, the bits per sample of all held-out samples that have their context, and the
    seconds spent training, over all sessions.
    Raises IncompatibleDataError, IncompatibleCheckpointError or TrainingDivergedError.
    """
    manifest = read_manifest(shards)
    check_compatible(manifest, config)
    folder.mkdir(parents=True, exist_ok=True)
    training = _Training(shards, folder, config, manifest.quantization_channels, reporters)
    try:
        training.run()
    finally:
        training.metrics.close()
    return training.model, training.final_heldout_bits, training.progress.seconds


def create_model(config: ModelConfig, quantization_channels: int, seed: int) -> WaveNet:
    """A network with the weights that a seed stands for; the global generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return WaveNet(config, quantization_channels)


def window_loss(model: WaveNet, windows: Tensor) -> Tensor:
    """Mean negative log-likelihood, in nats, of each window's scored part.

    windows: (batch, receptive_field + scored) codes: context first, then what is scored.
    """
    outputs = model(windows[:, :-1]).transpose(1, 2)
    targets = windows[:, model.receptive_field :]
    return negative_log_likelihood(outputs, targets, model.config, model.quantization_channels).mean()


def learning_rate_at(step: int, config: TrainingConfig) -> float:
    """Linear warm-up, then a cosine down to final_rate_share of the peak."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    floor = config.final_rate_share
    return config.learning_rate * (floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2)


@torch.no_grad()
def score_windows(model: WaveNet, windows: Sequence[np.ndarray], device: torch.device) -> float:
    """Bits per sample over the scored parts of windows of any length. Every sample counts the same."""
    nats, count = 0.0, 0
    for window in windows:
        scored = len(window) - model.receptive_field
        nats += float(window_loss(model, to_device(window[None], device))) * scored
        count += scored
    return nats / count / math.log(2)


def to_device(codes: np.ndarray, device: torch.device) -> Tensor:
    """Codes as int64 on a device."""
    return torch.from_numpy(codes.astype(np.int64)).to(device)


def choose_device(name: str) -> torch.device:
    """`auto` is the first GPU, or the CPU. Raises ConfigError for what this machine lacks."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(
            f"training.device: '{name}' is no device; expected auto, cpu, cuda or cuda:N"
        ) from None
    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError):
        raise ConfigError(
            f"training.device: torch cannot use '{name}' on this machine; use auto or cpu"
        ) from None
    return device


class _Training:
    """The state of one run of the loop."""

    def __init__(
        self,
        shards: Path,
        folder: Path,
        config: StemConfig,
        quantization_channels: int,
        reporters: Sequence[Reporter],
    ) -> None:
        self.config, self.folder = config.training, folder
        self.device = choose_device(self.config.device)
        self.model = create_model(config.model, quantization_channels, self.config.seed).to(self.device)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=self.config.learning_rate, weight_decay=self.config.weight_decay
        )
        field = config.model.receptive_field
        self.sampler = WindowSampler(
            load_runs(shards, "train"),
            field,
            self.config.scored_length,
            self.config.batch_size,
            self.config.seed,
        )
        self.heldout = list(tile_windows(load_runs(shards, "heldout"), field, self.sampler.scored_length))
        self.progress = load_checkpoint(folder / CHECKPOINTS, self.model, self.optimizer)
        self.metrics = MetricsFile(folder / METRICS, self.progress.step)
        earlier = read_metrics(folder / METRICS)
        for reporter in reporters:
            reporter.begin(earlier)
        self.reporters = reporters
        self.started = self.saved = time.monotonic()
        self.session_start = self.progress.step
        self.seconds_before = self.progress.seconds
        self.final_heldout_bits = math.nan

    def run(self) -> None:
        for step in range(self.progress.step, self.config.steps):
            self._step(step)
        self._save()
        self.final_heldout_bits = score_windows(self.model, self.heldout, self.device)
        if not math.isfinite(self.final_heldout_bits):
            raise TrainingDivergedError(
                "the held-out loss is not finite after the last step; lower training.learning_rate"
            )
        self._report({FINAL_BITS: self.final_heldout_bits})

    def _step(self, step: int) -> None:
        """One update; progress is told of it only once it is done."""
        rate = learning_rate_at(step, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = window_loss(self.model, to_device(self.sampler.batch(step), self.device))
        bits = float(loss.detach()) / math.log(2)
        if not math.isfinite(bits):
            raise TrainingDivergedError(
                f"the loss became {bits} at step {step}; lower training.learning_rate "
                f"(now {self.config.learning_rate:g}) or training.clip_norm"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimizer.step()
        self.progress = Progress(step + 1, (*self.progress.recent_bits, bits), self._seconds())
        self._after_step(rate)

    def _after_step(self, rate: float) -> None:
        step, last = self.progress.step, self.progress.step == self.config.steps
        if step % self.config.log_every == 0 or last:
            recent = self.progress.recent_bits
            self._report({TRAIN_BITS: sum(recent) / len(recent), LEARNING_RATE: rate, SPEED: self._speed()})
            self.progress.recent_bits = ()
        if step % self.config.heldout_every == 0 or last:
            self._report({HELDOUT_BITS: score_windows(self.model, self._some_heldout(), self.device)})
        if time.monotonic() - self.saved >= self.config.checkpoint_seconds:
            self._save()

    def _some_heldout(self) -> list[np.ndarray]:
        """The same few held-out windows each time, spread evenly."""
        count = min(self.config.heldout_windows, len(self.heldout))
        return [self.heldout[i * len(self.heldout) // count] for i in range(count)]

    def _save(self) -> None:
        save_checkpoint(self.folder / CHECKPOINTS, self.model, self.optimizer, self.progress)
        self.saved = time.monotonic()

    def _report(self, values: dict[str, float]) -> None:
        row = {STEP: self.progress.step, **values}
        self.metrics.report(row)
        for reporter in self.reporters:
            reporter.report(row)

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    def _speed(self) -> float:
        """Scored samples a second in this session, looks at held-out audio included."""
        steps = self.progress.step - self.session_start
        return steps * self.config.batch_size * self.sampler.scored_length / (time.monotonic() - self.started)
