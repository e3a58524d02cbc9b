"""What a loss that starts, stays or ends where it should not says of its likely cause.

Knows numbers and settings, no networks and no files. The invariant: the same numbers at the same step give
the same words, so a resumed training says what the uninterrupted one would have said.
"""

import math

import torch

from wavenet.config import TrainingConfig
from wavenet.model.wavenet import WaveNet
from wavenet.training.windows import Windows

FAR_BITS = 0.5
"""A network that knows nothing pays log2(levels) bits; so far from it, something is wrong."""
STUCK_SHARE = 0.98
"""Of log2(levels): more after `STUCK_STEPS` of full rate is as good as nothing learnt."""
STUCK_STEPS = 200


def explain_start(bits: float, levels: int, transferred: bool) -> str | None:
    """What is wrong with the first loss, in bits per sample, if anything is."""
    nothing = math.log2(levels)
    if transferred:
        return _explain_transfer(bits, nothing) if bits > nothing + FAR_BITS else None
    if abs(bits - nothing) <= FAR_BITS:
        return None
    return (
        f"the first loss is {bits:.2f} bits; a network that knows nothing yet has log2({levels}) = "
        f"{nothing:.2f}: its last layer begins too large, or its codes are not those of {levels} levels"
    )


def _explain_transfer(bits: float, nothing: float) -> str:
    return (
        f"with the weights taken over the first loss is {bits:.2f} bits, worse than knowing nothing "
        f"({nothing:.2f}): most likely they were trained on another sample rate, law or number of levels; "
        "compare their config.json with the shards' manifest.json, or start without training.init_from"
    )


def explain_stay(bits: float, levels: int, step: int, config: TrainingConfig) -> str | None:
    """What is wrong where the mean loss, in bits, of a line of metrics is what it was at the start.

    Asked at every line; answers at one, the first that is `STUCK_STEPS` beyond the warm-up.
    """
    due = config.warmup_steps + STUCK_STEPS
    nothing = math.log2(levels)
    if not due <= step < due + config.log_every or bits < STUCK_SHARE * nothing:
        return None
    return (
        f"after {step} steps the loss is still {bits:.2f} bits, and {nothing:.2f} is knowing nothing: "
        f"{_why_stuck(config)}"
    )


def _why_stuck(config: TrainingConfig) -> str:
    if config.freeze:
        return f"training.freeze holds {', '.join(config.freeze)}; what is left may be too little to learn"
    rate = f"training.learning_rate is {config.learning_rate:g}, most likely too"
    if config.learning_rate < 1e-4:
        return f"{rate} low; 1e-3 to 6e-3 is usual"
    if config.learning_rate > 2e-2:
        return f"{rate} high; 1e-3 to 6e-3 is usual"
    return (
        "the audio may be noise to this network, which `waveband doctor` lets you hear; or "
        "training.learning_rate does not suit it: try a third of it, and three times as much"
    )


def explain_divergence(
    bits: float, norm: float, step: int, model: WaveNet, windows: Windows, config: TrainingConfig, bf16: bool
) -> str:
    """Why a step's loss, in bits, or the norm of its gradient is not finite.

    model: as it was before the step; windows: those of the step.
    """
    found = f"the loss became {bits:g} at step {step}" if not math.isfinite(bits) else (
        f"the gradient became {norm:g} at step {step}"
    )  # fmt: skip
    return f"{found}: {_why_diverged(bits, step, model, windows, config, bf16)}"


def _why_diverged(
    bits: float, step: int, model: WaveNet, windows: Windows, config: TrainingConfig, bf16: bool
) -> str:
    spoilt = [name for name, weight in model.named_parameters() if not torch.isfinite(weight).all()]
    if spoilt and step == 0:
        return f"weights taken over hold NaN or infinity ({', '.join(spoilt[:3])}); begin with others"
    if windows.condition is not None and not torch.isfinite(windows.condition.frames).all():
        return "features in the shards hold NaN or infinity; check them with `waveband shards verify`"
    if bf16 and math.isfinite(bits):
        return "bfloat16 gave way; set training.precision=fp32, or lower training.clip_norm"
    return (
        f"most likely training.learning_rate is too high (it is {config.learning_rate:g}, after "
        f"{config.warmup_steps} steps of warm-up); take a third of it, or a longer training.warmup_steps; "
        f"training.clip_norm (now {config.clip_norm:g}) may go lower too"
    )
