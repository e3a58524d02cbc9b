"""Gradients of some windows, each core working on windows of its own.

A layer's products are small, and cores that share one wait for each other at the end of each; a window is
work for a while. Knows nothing of optimisers or files. The invariants: the shares' gradients are added in the
order of their windows, so that sums depend on the number of shares and not on which thread is first; a batch
takes no more memory than at once, since all of it is under way at once either way.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor

from wavenet.model.wavenet import WaveNet
from wavenet.training.windows import Windows

Loss = Callable[[WaveNet, Windows, Tensor | None], Tensor]


def add_gradients(
    model: WaveNet, windows: Windows, masks: Tensor | None, loss: Loss, weight: float, num_threads: int = 1
) -> float:
    """Add weight times the gradient of the windows' mean loss to the weights' own. Returns the mean loss.

    masks: (windows, ...) or None. num_threads: that torch may use in all; as many shares are made, or as
    there are windows.
    """
    shares = _share_out(len(windows), min(num_threads, len(windows)))
    if len(shares) == 1:
        mean = loss(model, windows, masks)
        (mean * weight).backward()
        return float(mean.detach())
    trained = [p for p in model.parameters() if p.requires_grad]

    def work(rows: slice) -> tuple[float, tuple[Tensor | None, ...]]:
        share = (rows.stop - rows.start) / len(windows)
        mean = loss(model, windows.select(rows), None if masks is None else masks[rows])
        gradients = torch.autograd.grad(mean * (weight * share), trained, allow_unused=True)
        return float(mean.detach()) * share, gradients

    total = 0.0
    for nats, gradients in _pool(len(shares), num_threads // len(shares)).map(work, shares):
        total += nats
        for parameter, gradient in zip(trained, gradients, strict=True):
            if gradient is not None:
                _add(parameter, gradient)
    return total


def _add(parameter: torch.nn.Parameter, gradient: Tensor) -> None:
    """Into memory of its own, laid out as the parameter. A gradient may be a view of others, in another order
    of dimensions, and a fused optimiser takes both as they lie in memory."""
    if parameter.grad is None:
        parameter.grad = torch.empty_like(parameter).copy_(gradient)
    else:
        parameter.grad.add_(gradient)


def _share_out(count: int, num_shares: int) -> list[slice]:
    """Neighbours, as equal in number as can be."""
    borders = [count * i // num_shares for i in range(num_shares + 1)]
    return [slice(start, stop) for start, stop in pairwise(borders)]


@cache
def _pool(workers: int, threads: int) -> ThreadPoolExecutor:
    """Threads that may each use as many of torch's."""
    return ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(threads,))
