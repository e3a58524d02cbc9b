"""One step of training: gradients of a batch, however little memory there is, and the update.

Knows nothing of files or of when to stop. The invariants: a batch is the same windows however many are
taken at a time and however many ranks share them; weights move once all gradients of a step are summed.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from wavenet.config import TrainingConfig
from wavenet.errors import OutOfMemoryError
from wavenet.model.wavenet import WaveNet
from wavenet.training.checkpoint import Learner, Progress
from wavenet.training.likelihood import fast_loss, plain_loss
from wavenet.training.memory import is_out_of_memory
from wavenet.training.ranks import Ranks
from wavenet.training.shares import Loss, add_gradients
from wavenet.training.windows import Windows

Tell = Callable[[str], None]


def choose_loss(config: TrainingConfig, device: torch.device, dtype: torch.dtype) -> Loss:
    """The time-major twin; or, where compilation is asked for, the network as it reads, compiled."""
    if not config.compile:
        return lambda model, windows, masks: fast_loss(model, windows, masks, dtype)
    compiled = torch.compile(plain_loss)

    def compiled_loss(model: WaveNet, windows: Windows, masks: Tensor | None) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
            return compiled(model, windows, masks)

    return compiled_loss


def take_step(
    learner: Learner, windows: Windows, masks: Tensor | None, loss: Loss, rate: float, config: TrainingConfig,
    ranks: Ranks, progress: Progress, tell: Tell,
) -> tuple[float, float]:  # fmt: skip
    """Update the weights by one batch. windows, masks: this rank's share.

    Returns the mean bits per sample of all ranks' windows, and the norm of the gradient before clipping.
    Where memory ends, fewer windows are taken at a time from then on, and the step begins anew.
    """
    bits = _sum_gradients(learner, windows, masks, loss, config, ranks, progress, tell)
    parameters = [p for p in learner.model.parameters() if p.requires_grad]
    ranks.sum_gradients(parameters)
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, config.clip_norm))
    if math.isfinite(bits) and math.isfinite(norm):
        for group in learner.optimizer.param_groups:
            group["lr"] = rate * group["rate_share"]
        learner.optimizer.step()
        if learner.average is not None:
            learner.average.update_parameters(learner.model)
    return bits, norm


def _sum_gradients(
    learner: Learner, windows: Windows, masks: Tensor | None, loss: Loss, config: TrainingConfig,
    ranks: Ranks, progress: Progress, tell: Tell,
) -> float:  # fmt: skip
    """Gradients of the batch's mean loss, added up over as many windows at a time as memory holds."""
    on_cpu = windows.codes.device.type == "cpu" and not config.compile
    threads = torch.get_num_threads() if on_cpu else 1
    while True:
        size = progress.micro_batch or config.micro_batch or len(windows.codes)
        try:
            learner.optimizer.zero_grad(set_to_none=True)
            nats = 0.0
            for start in range(0, len(windows.codes), size):
                rows = slice(start, start + size)
                part = windows.select(rows)
                part_masks = None if masks is None else masks[rows]
                share = len(part) / config.batch_size
                nats += share * add_gradients(learner.model, part, part_masks, loss, share, threads)
            return float(ranks.sum(torch.tensor(nats, dtype=torch.float64))) / math.log(2)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            progress.micro_batch = _halve(min(size, len(windows.codes)), error)
            tell(
                f"memory ended with {size} windows at a time; going on with {progress.micro_batch}, as often "
                "as needed: the steps are the same, and slower"
            )


def _halve(size: int, error: BaseException) -> int:
    if size == 1:
        raise OutOfMemoryError(
            "memory does not hold one window; lower training.scored_length or the model's channels, or train "
            f"on a machine with more ({error})"
        ) from None
    return size // 2
