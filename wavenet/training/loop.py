"""The training of one stem: windows in, a trained network out, every report a line of metrics.

Knows nothing of Prefect, MLflow or where its folder lies. The invariant: killed at any moment and
started again in the same folder, it ends with the same weights and the same lines of metrics
(timings aside) as if it had not been.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch

from wavenet.config import StemConfig, TrainingConfig
from wavenet.data.dataset import check_compatible
from wavenet.data.shards.format import read_manifest
from wavenet.errors import TrainingDivergedError, TrainingStoppedError
from wavenet.model.wavenet import WaveNet, create_model
from wavenet.training import CHECKPOINTS
from wavenet.training.checkpoint import Learner, copy_weights, load_checkpoint, save_checkpoint
from wavenet.training.diagnosis import explain_divergence, explain_start, explain_stay
from wavenet.training.learner import choose_loss, take_step
from wavenet.training.likelihood import score_windows
from wavenet.training.metrics import (
    FINAL_BITS,
    FREE_BITS,
    GRADIENT_NORM,
    HELDOUT_BITS,
    LEARNING_RATE,
    METRICS,
    SPEED,
    STEP,
    TRAIN_BITS,
    MetricsFile,
    NoMetrics,
    Reporter,
    read_metrics,
)
from wavenet.training.optimizer import freeze_weights, make_average, make_optimizer
from wavenet.training.precision import choose_device, choose_dtype
from wavenet.training.ranks import ALONE, Ranks
from wavenet.training.schedule import learning_rate_at
from wavenet.training.transfer import Transfer, load_into
from wavenet.training.windows import HeldoutWindows, TrainingWindows, Windows, condition_form

Listener = Callable[[int, WaveNet], None]
"""Is given the network, in evaluation mode, every `sample_every` steps; must leave it as it was."""


@dataclass(frozen=True)
class Trained:
    """What a training ends with. free_bits: of the network told nothing, where it has been told something."""

    model: WaveNet
    heldout_bits: float
    free_bits: float | None
    seconds: float
    steps: int
    transfer: Transfer | None


def train_model(
    shards: Path,
    folder: Path,
    config: StemConfig,
    reporters: Sequence[Reporter] = (),
    *,
    init: Path | None = None,
    ranks: Ranks = ALONE,
    should_stop: Callable[[], bool] = lambda: False,
    listener: Listener | None = None,
) -> Trained:
    """Train a network on a shard set, going on from the newest checkpoint in `folder`.

    init: a folder of weights to begin with, where there is no checkpoint. should_stop: asked after each step;
    True saves a checkpoint and raises TrainingStoppedError. The network that comes out has the averaged
    weights where an average is kept, and the best ones where held-out audio may stop it; its bits are per
    sample, of all held-out samples that have their context.
    Raises IncompatibleDataError, IncompatibleCheckpointError, UnreadableError or TrainingDivergedError.
    """
    manifest = read_manifest(shards)
    check_compatible(manifest, config)
    folder.mkdir(parents=True, exist_ok=True)
    form = condition_form(manifest, config.model)
    model = create_model(config.model, manifest.quantization_channels, config.training.seed, form)
    transfer = load_into(model, init) if init else None
    windows = TrainingWindows(shards, model.receptive_field, config.training, form)
    heldout = HeldoutWindows(shards, model.receptive_field, windows.scored_length, form)
    training = _Training(model, windows, heldout, folder, config.training, reporters, ranks, transfer)
    training.should_stop, training.listener = should_stop, listener
    with training.metrics:
        return training.run()


def seed_of_step(seed: int, step: int) -> int:
    """What a step's masks are drawn from: of its own for every step of every seed."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> np.uint64(1))


class _Training:
    """The state of one run of the loop."""

    should_stop: Callable[[], bool]
    listener: Listener | None

    def __init__(
        self,
        model: WaveNet,
        windows: TrainingWindows,
        heldout: HeldoutWindows,
        folder: Path,
        config: TrainingConfig,
        reporters: Sequence[Reporter],
        ranks: Ranks,
        transfer: Transfer | None,
    ) -> None:
        self.config, self.folder, self.ranks = config, folder, ranks
        self.windows, self.heldout = windows, heldout
        self.transfer, self.reporters = transfer, reporters if ranks.leads else ()
        self.levels = model.quantization_channels
        self.device = choose_device(self.config.device, ranks)
        self.dtype = choose_dtype(self.config.precision, self.device)
        self.loss = choose_loss(self.config, self.device, self.dtype)
        freeze_weights(model, self.config.freeze)
        model.to(self.device)
        optimizer = make_optimizer(model, self.config, transfer.loaded if transfer else ())
        self.learner = Learner(model, optimizer, make_average(model, self.config.ema_decay))
        remarks: list[str] = []
        self.progress = load_checkpoint(folder / CHECKPOINTS, self.learner, ranks, remarks.append)
        self.metrics = MetricsFile(folder / METRICS, self.progress.step) if ranks.leads else NoMetrics()
        self._begin(read_metrics(folder / METRICS), remarks)
        self.started = self.saved = time.monotonic()
        self.session_start, self.seconds_before = self.progress.step, self.progress.seconds

    def _begin(self, earlier: list[dict[str, float]], remarks: Sequence[str]) -> None:
        for reporter in self.reporters:
            reporter.begin(earlier)
        for remark in remarks:
            self._tell(remark)
        if self.transfer and not self.progress.step:
            self._tell(self.transfer.summary())

    def run(self) -> Trained:
        while self.progress.step < self.config.steps and not self.progress.watch.says_stop(self.config):
            self._step(self.progress.step)
            if self.ranks.any(self.should_stop(), self.device):
                self._save()
                raise TrainingStoppedError(f"stopped after step {self.progress.step}; run again to go on")
        self._save()
        return self._finish()

    def _step(self, step: int) -> None:
        """One update; progress is told of it only once it is done."""
        rate = learning_rate_at(step, self.config, self.progress.watch)
        windows = self.windows.batch(step, self.ranks.rank, self.ranks.world).to(self.device)
        bits, norm = take_step(
            self.learner, windows, self._masks(step), self.loss, rate, self.config, self.ranks,
            self.progress, self._tell,
        )  # fmt: skip
        if not math.isfinite(bits) or not math.isfinite(norm):
            bf16 = self.dtype == torch.bfloat16
            model, asked = self.learner.model, (bits, norm, step)
            raise TrainingDivergedError(explain_divergence(*asked, model, windows, self.config, bf16))
        if step == 0:
            self._tell_if(explain_start(bits, self.levels, self.transfer is not None))
        self.progress.step, self.progress.seconds = step + 1, self._seconds()
        self.progress.recent_bits = (*self.progress.recent_bits, bits)
        self._after_step(rate, norm)

    def _masks(self, step: int) -> torch.Tensor | None:
        """What this rank's windows hear of each channel: drawn for the whole batch, whoever takes which."""
        generator = torch.Generator().manual_seed(seed_of_step(self.config.seed, step))
        masks = self.learner.model.draw_masks(self.config.batch_size, generator)
        return None if masks is None else masks[self.ranks.rank :: self.ranks.world].to(self.device)

    def _after_step(self, rate: float, norm: float) -> None:
        step = self.progress.step
        if self._is_due(step, self.config.log_every):
            recent = sum(self.progress.recent_bits) / len(self.progress.recent_bits)
            values = {TRAIN_BITS: recent, LEARNING_RATE: rate, GRADIENT_NORM: norm}
            self._report({**values, SPEED: self._speed()})
            self._tell_if(explain_stay(recent, self.levels, step, self.config))
            self.progress.recent_bits = ()
        if self._is_due(step, self.config.heldout_every):
            self._look(step)
        if self.listener and self.config.sample_every and self._is_due(step, self.config.sample_every):
            self.listener(step, self._kept().eval())
        if time.monotonic() - self.saved >= self.config.checkpoint_seconds:
            self._save()

    def _is_due(self, step: int, every: int) -> bool:
        return step % every == 0 or step == self.config.steps

    def _look(self, step: int) -> None:
        """At the same few held-out windows each time."""
        bits = self._score(self._kept(), self.config.heldout_windows)
        watch = self.progress.watch.look(step, bits, self.config)
        if self.config.stop_after and watch.best_step == step:
            self.learner.best = copy_weights(self._kept())
        self.progress.watch = watch
        self._report({HELDOUT_BITS: bits})

    def _kept(self) -> WaveNet:
        """The network as it would be kept now: the average, if there is one."""
        average = self.learner.average
        return self.learner.model if average is None else cast(WaveNet, average.module)

    def _finish(self) -> Trained:
        model = self._kept()
        if self.learner.best is not None:
            model.load_state_dict(self.learner.best)
        bits = self._score(model)
        if not math.isfinite(bits):
            raise TrainingDivergedError(
                "the held-out loss is not finite after the last step; lower training.learning_rate"
            )
        told = {FINAL_BITS: bits}
        if model.form:
            told[FREE_BITS] = self._score(model, told=False)
        self._report(told)
        seconds, steps = self.progress.seconds, self.progress.step
        return Trained(model, bits, told.get(FREE_BITS), seconds, steps, self.transfer)

    def _score(self, model: WaveNet, count: int | None = None, told: bool = True) -> float:
        """Bits per sample of so many held-out windows, spread evenly, or of all."""
        size = self.progress.micro_batch or self.config.micro_batch or self.config.batch_size
        windows: Iterable[Windows] = self.heldout.batches(size, count)
        return score_windows(model, windows if told else (each.untold() for each in windows), self.ranks)

    def _save(self) -> None:
        if self.ranks.leads:
            save_checkpoint(self.folder / CHECKPOINTS, self.learner, self.progress)
        self.saved = time.monotonic()

    def _report(self, values: dict[str, float]) -> None:
        row = {STEP: self.progress.step, **values}
        self.metrics.report(row)
        for reporter in self.reporters:
            reporter.report(row)

    def _tell_if(self, message: str | None) -> None:
        if message is not None:
            self._tell(message)

    def _tell(self, message: str) -> None:
        for reporter in self.reporters:
            reporter.tell(message)

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    def _speed(self) -> float:
        """Scored samples a second in this session, looks at held-out audio included."""
        steps = self.progress.step - self.session_start
        return steps * self.config.batch_size * self.windows.scored_length / (time.monotonic() - self.started)
