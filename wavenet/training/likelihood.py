"""The loss: how surprising the scored part of windows is to a network.

Knows nothing of optimisers. The invariant: the fast loss is the plain one, rounding aside.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from wavenet.model.head import mean_softmax_nats
from wavenet.model.outputs import negative_log_likelihood
from wavenet.model.timemajor import forward_rows, head_weights, skip_rows
from wavenet.model.wavenet import WaveNet
from wavenet.training.ranks import ALONE, Ranks
from wavenet.training.windows import Windows


def plain_loss(model: WaveNet, windows: Windows, masks: Tensor | None = None) -> Tensor:
    """Mean negative log-likelihood, in nats, of each window's scored part, by the network as it reads."""
    outputs = model(windows.codes[:, :-1], windows.condition, masks).transpose(1, 2)
    return _mean_nats(model, outputs, windows.codes[:, model.receptive_field :])


def fast_loss(
    model: WaveNet, windows: Windows, masks: Tensor | None = None, dtype: torch.dtype = torch.float32
) -> Tensor:
    """`plain_loss` by the time-major twin; dtype: of its products, float32 or bfloat16."""
    fed = (model, windows.codes[:, :-1], windows.condition, masks, dtype)
    targets = windows.codes[:, model.receptive_field :].t().flatten()
    if model.config.output == "softmax":
        return mean_softmax_nats(skip_rows(*fed), targets, head_weights(model, dtype))
    return _mean_nats(model, forward_rows(*fed).float(), targets)


def _mean_nats(model: WaveNet, outputs: Tensor, targets: Tensor) -> Tensor:
    return negative_log_likelihood(outputs, targets, model.config, model.quantization_channels).mean()


@torch.no_grad()
def score_windows(model: WaveNet, windows: Iterable[Windows], ranks: Ranks = ALONE) -> float:
    """Bits per sample over the scored parts of windows of any length. Every sample counts the same.

    In float32 whatever the training computes in. Each rank scores its share, and all get the whole's figure.
    """
    totals = torch.zeros(2, dtype=torch.float64)
    for number, window in enumerate(windows):
        if number % ranks.world == ranks.rank:
            scored = window.codes[:, model.receptive_field :].numel()
            nats = fast_loss(model, window.to(next(model.parameters()).device))
            totals += torch.tensor([float(nats) * scored, scored], dtype=torch.float64)
    nats, count = ranks.sum(totals).tolist()
    return nats / count / math.log(2)
