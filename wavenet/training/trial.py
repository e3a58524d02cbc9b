"""A trial of training: the very steps that a training takes, on random codes, and what they cost here.

Knows nothing of shards or of what there is to learn. The invariants: a step is the loop's own, with as many
windows of the same shapes, told as much; and the machine is asked, nothing is guessed.
"""

import statistics
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from wavenet.config import StemConfig
from wavenet.errors import TrainingStoppedError
from wavenet.model.conditioning import FRAME_REACH, Condition, ConditionForm
from wavenet.model.cost import count_multiply_adds
from wavenet.model.wavenet import WaveNet, count_parameters, create_model
from wavenet.training.checkpoint import Learner, Progress
from wavenet.training.learner import Loss, Tell, choose_loss, take_step
from wavenet.training.likelihood import score_windows
from wavenet.training.memory import peak_memory
from wavenet.training.optimizer import freeze_weights, make_average, make_optimizer
from wavenet.training.precision import choose_device, choose_dtype
from wavenet.training.ranks import ALONE
from wavenet.training.trial_result import TrialResult
from wavenet.training.windows import Windows

LEAST_STEPS = 2
RATE = 0.0
"""Of learning: random codes teach nothing, and weights that stay cannot diverge."""


def try_training(
    config: StemConfig,
    quantization_channels: int,
    form: ConditionForm,
    seconds: float,
    *,
    tell: Tell = lambda message: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrialResult:
    """Train on random codes for so many seconds after a first step and look, for two steps at least.

    form: what the network is told. should_stop: asked after each step; True raises TrainingStoppedError.
    Raises OutOfMemoryError where memory does not hold one window, and ConfigError for a device there is not.
    """
    trial = _Trial(config, quantization_channels, form, tell)
    trial.step()  # what is compiled or made once is so here
    trial.look()
    durations: list[float] = []
    while len(durations) < LEAST_STEPS or sum(durations) < seconds:
        if should_stop():
            raise TrainingStoppedError("the trial was stopped; run it again")
        durations.append(trial.seconds_of(trial.step))
    return TrialResult(
        num_parameters=count_parameters(trial.model),
        multiply_adds=count_multiply_adds(config.model, quantization_channels, form),
        num_steps=len(durations),
        step_seconds=statistics.median(durations),
        look_seconds=trial.seconds_of(trial.look) / config.training.batch_size,
        peak_bytes=trial.peak_bytes(),
        device=trial.device.type,
        precision="bf16" if trial.dtype == torch.bfloat16 else "fp32",
        micro_batch=trial.progress.micro_batch,
    )


class _Trial:
    """A network, random windows, and steps on them."""

    loss: Loss

    def __init__(self, config: StemConfig, levels: int, form: ConditionForm, tell: Tell) -> None:
        self.config, self.tell, self.progress = config.training, tell, Progress()
        self.device = choose_device(self.config.device)
        self.dtype = choose_dtype(self.config.precision, self.device)
        self.loss = choose_loss(self.config, self.device, self.dtype)
        self.model = create_model(config.model, levels, self.config.seed, form)
        freeze_weights(self.model, self.config.freeze)
        self.model.to(self.device)
        optimizer = make_optimizer(self.model, self.config)
        self.learner = Learner(self.model, optimizer, make_average(self.model, self.config.ema_decay))
        self.generator = torch.Generator().manual_seed(self.config.seed)
        self.windows = random_windows(
            self.model, self.config.batch_size, self.config.scored_length, self.generator
        )

    def step(self) -> None:
        masks = self.model.draw_masks(self.config.batch_size, self.generator)
        take_step(
            self.learner, self.windows.to(self.device), None if masks is None else masks.to(self.device),
            self.loss, RATE, self.config, ALONE, self.progress, self.tell,
        )  # fmt: skip

    def look(self) -> None:
        """Score a batch of windows as the loop scores held-out ones, as many at a time as memory holds."""
        score_windows(self.model, self._parts())

    def _parts(self) -> Iterator[Windows]:
        size = self.progress.micro_batch or self.config.micro_batch or self.config.batch_size
        for start in range(0, self.config.batch_size, size):
            yield self.windows.select(slice(start, start + size))

    def seconds_of(self, work: Callable[[], None]) -> float:
        """Seconds until the device has done it."""
        start = time.perf_counter()
        work()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter() - start

    def peak_bytes(self) -> int:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return peak_memory()


def random_windows(model: WaveNet, batch: int, scored_length: int, generator: torch.Generator) -> Windows:
    """Codes and conditions of the shapes that training windows have, drawn at random."""
    length = model.receptive_field + scored_length
    codes = torch.randint(model.quantization_channels, (batch, length), generator=generator)
    return Windows(codes, _random_condition(model.form, batch, length - 1, generator) if model.form else None)


def _random_condition(
    form: ConditionForm, batch: int, num_codes: int, generator: torch.Generator
) -> Condition:
    """As `ConditionSource.tell` gives it for windows that begin with a frame."""
    num_frames = (num_codes + form.hop_length - 2) // form.hop_length + 1
    highest = torch.tensor([len(values) + 1 for values in form.labels.values()])
    drawn = torch.rand(batch, len(form.labels), generator=generator)
    shape = batch, num_frames + 2 * FRAME_REACH, form.frame_channels
    index: Tensor = torch.arange(1, num_codes + 1) // form.hop_length
    return Condition(
        labels=(drawn * highest).long(),
        frames=torch.rand(shape, generator=generator),
        frame_index=index.expand(batch, -1).contiguous(),
    )
