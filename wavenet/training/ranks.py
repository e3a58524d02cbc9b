"""Several processes that train one network: who they are, sums over all of them, and what the first says.

`torchrun` starts them and says who is who in the environment; without it a process is alone. Knows
nothing of networks. The invariant: what all ranks hold after either is the same to the bit.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Ranks:
    """This process among all: rank of world, and its place on its machine."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes files and reports."""
        return self.rank == 0

    def share(self, count: int) -> int:
        """How many of so many things are this rank's: number rank, rank + world, ..."""
        return len(range(self.rank, count, self.world))

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all ranks, in place."""
        if self.world > 1:
            distributed.all_reduce(tensor)
        return tensor

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace each gradient by the sum over all ranks, in one exchange."""
        gradients = [p.grad for p in parameters if p.grad is not None] if self.world > 1 else []
        if not gradients:
            return
        flat = self.sum(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, summed in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(summed.view_as(gradient))

    def first_says(self, number: int) -> int:
        """The first rank's number, on all of them."""
        said = torch.tensor(number)
        if self.world > 1:
            distributed.broadcast(said, 0)
        return int(said)

    def any(self, here: bool, device: torch.device) -> bool:
        """Whether it is so on any rank."""
        return bool(self.sum(torch.tensor(float(here), device=device)) > 0) if self.world > 1 else here


ALONE = Ranks()


@contextmanager
def join_ranks() -> Iterator[Ranks]:
    """The ranks that `torchrun` has started, connected until the end; alone without it.

    After an error they stay connected until the process ends: the others fail when their peer is gone, and
    it is to say first why it goes.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield ALONE
        return
    # sums are of tensors on cards and of numbers on the CPU
    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    yield Ranks(distributed.get_rank(), world, int(os.environ.get("LOCAL_RANK", "0")))
    distributed.destroy_process_group()
