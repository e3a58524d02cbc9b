"""What changes weights: AdamW over those that may change, and the average of them that is kept.

Knows nothing of losses or data.
"""

from collections.abc import Collection
from fnmatch import fnmatch

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from wavenet.config import TrainingConfig
from wavenet.errors import ConfigError
from wavenet.model.wavenet import WaveNet

Tensors = tuple[Tensor, ...] | list[Tensor]


def make_optimizer(model: WaveNet, config: TrainingConfig, loaded: Collection[str] = ()) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) over all weights that are not frozen.

    loaded: names of weights that come from another training; they are a group of their own, whose rate is
    `init_rate_share` of the others'. Raises ConfigError where nothing is left to learn.
    """
    named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    if not named:
        raise ConfigError(f"training.freeze: {', '.join(config.freeze)} leaves nothing to learn")
    groups = [
        {"params": [weight for name, weight in named if name not in loaded], "rate_share": 1.0},
        {
            "params": [weight for name, weight in named if name in loaded],
            "rate_share": config.init_rate_share,
        },
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        fused=True,
    )


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate_share"]


def freeze_weights(model: WaveNet, patterns: Collection[str]) -> list[str]:
    """Let the weights that a pattern names stay as they are. Returns their names.

    A pattern is a name or the beginning of one, `input`, `layers.0`; * stands for anything. Raises
    ConfigError for a pattern that names nothing.
    """
    weights = dict(model.named_parameters())
    frozen = []
    for pattern in patterns:
        named = [name for name in weights if fnmatch(name, pattern) or fnmatch(name, f"{pattern}.*")]
        if not named:
            modules = ", ".join(name for name, _ in model.named_children())
            raise ConfigError(
                f"training.freeze: no weight is named '{pattern}'; there are {modules}, and layers.0 to "
                f"layers.{len(model.layers) - 1} with dilated, residual and skip"
            )
        frozen += named
    for name in frozen:
        weights[name].requires_grad_(False)
    return frozen


def make_average(model: WaveNet, decay: float) -> AveragedModel | None:
    """A copy that follows the weights slowly; None where decay is 0.

    The first steps weigh less, or the average would be of weights that knew nothing: at step n the decay is
    (1 + n) / (10 + n) where that is less.
    """
    if not decay:
        return None

    @torch.no_grad()
    def follow(average: Tensors, weights: Tensors, num_averaged: Tensor | int) -> None:
        count = float(num_averaged)
        share = 1 - min(decay, (1 + count) / (10 + count))
        torch._foreach_lerp_(average, weights, share)

    return AveragedModel(model, multi_avg_fn=follow)
