"""Some rows at a time: which they are of each matrix, and how many.

Rows are in time-major order, and all layers' end at the same sample (`stack`). Knows nothing of what is
computed. The invariant: whatever belongs to a row is found by counting from the end that all share.
"""

from dataclasses import dataclass

from torch import Tensor

CACHED_BYTES = 1 << 21
"""Of gates, or of another matrix, worked on at a time: they and what is made of them stay in a processor's
last cache, and a call's fixed cost is spread over enough rows. What a core's own cache holds was slower by a
tenth."""
GPU_BYTES = 1 << 25
"""On a GPU, of what is taken in pieces there too."""


@dataclass(frozen=True)
class Rows:
    """Some consecutive output rows of a layer, and what belongs to them in other matrices."""

    start: int
    end: int
    num_outputs: int  # rows of all the layer's outputs
    shift: int  # rows from one tap to the next
    taps: int
    num_scored: int

    def __len__(self) -> int:
        return self.end - self.start

    def tap(self, inputs: Tensor, tap: int) -> Tensor:
        """What one tap reads of the layer's inputs."""
        return inputs[self.start + tap * self.shift : self.end + tap * self.shift]

    def newest(self, inputs: Tensor) -> Tensor:
        return self.tap(inputs, self.taps - 1)

    def at_end(self, values: Tensor) -> Tensor:
        """Of something that has a row a sample of the window, from its end."""
        before = len(values) - self.num_outputs
        return values[before + self.start : before + self.end]

    @property
    def unscored(self) -> int:
        """How many of these rows lie before the scored ones."""
        return min(len(self), max(0, self.num_outputs - self.num_scored - self.start))

    def scored(self, skips: Tensor) -> Tensor:
        """Of something that has a row a scored sample: those among these rows."""
        before = self.num_outputs - self.num_scored
        return skips[max(0, self.start - before) : max(0, self.end - before)]


def count_cached_rows(width: int, x: Tensor) -> int:
    """Rows of so many channels, stored as x is, that are worked on at a time: at least one."""
    num_bytes = CACHED_BYTES if x.device.type == "cpu" else GPU_BYTES
    return max(1, num_bytes // (width * x.element_size()))
