"""What one training step has to do: its rows, its multiply-adds, the least it moves through memory."""

from dataclasses import dataclass
from itertools import accumulate, pairwise

from wavenet.config import ModelConfig
from wavenet.model.cost import count_products

FORWARD_AND_BACKWARD = 3
"""Each product once forward, once for the gradient of its input, once for that of its weights."""


@dataclass(frozen=True)
class Workload:
    """A network and the windows of one step."""

    name: str
    model: ModelConfig
    batch_size: int
    scored_length: int  # samples a window, after its context
    levels: int = 256

    @property
    def num_scored(self) -> int:
        """Samples that are scored in one step."""
        return self.batch_size * self.scored_length

    def layer_rows(self) -> list[tuple[int, int]]:
        """Rows that go into each layer and come out of it: no more than the scored samples ask for."""
        eaten = [(self.model.kernel_size - 1) * dilation for dilation in self.model.dilations]
        lengths = list(accumulate(reversed(eaten), initial=self.scored_length))
        return list(pairwise(self.batch_size * length for length in reversed(lengths)))

    def flops(self) -> int:
        """Floating-point operations of one step of the fast path, two a multiply-add.

        Forward, a layer's dilated convolution for each row out of it, and the way on (the last layer has
        none); its skip, and the head, for each scored row (`wavenet/model/cost.py`). The backward does each
        twice: no product is left out there, for the embedding wants its gradient too. Biases, gates, the loss
        and the optimiser are not counted.
        """
        products, layers = count_products(self.model, self.levels), self.layer_rows()
        dilated = sum(rows for _, rows in layers) * products.dilated
        onward = sum(rows for _, rows in layers[:-1]) * products.onward
        scored = self.num_scored * (len(layers) * products.skip + products.head)
        return 2 * FORWARD_AND_BACKWARD * (dilated + onward + scored)

    def least_bytes(self, item_bytes: int) -> int:
        """Bytes that one step moves at the least, if caches hold whatever a layer makes and uses at once.

        Forward, a layer reads its input, writes its open gates and output, and adds to the skips; backward it
        reads input and gates and the gradient of the skips, and adds to the gradient of the stream. Each
        matrix of the head is written and read both as itself and as its gradient.
        """
        model, scored, layers = self.model, self.num_scored, self.layer_rows()
        stream = 4 * sum(rows for rows, _ in layers) + sum(rows for _, rows in layers[:-1])
        gates = 2 * sum(rows for _, rows in layers) * 2 * model.gate_channels
        skips = 3 * len(layers) * scored * model.skip_channels
        head = 4 * scored * (model.skip_width + model.head_width + self.levels)
        return item_bytes * (stream * model.residual_channels + gates + skips + head)
