"""How codes enter the network. Each input is a table of what every level becomes.

The invariant: `input(codes)` equals looking codes up in `input.table()`, so that whoever wants speed
needs one lookup, whatever the input is.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wavenet.config import ModelConfig


class EmbeddingInput(nn.Embedding):
    """A learned vector a level, near its neighbours' at the start."""

    def __init__(self, quantization_channels: int, config: ModelConfig) -> None:
        start = ordered_embedding(quantization_channels, config.residual_channels)
        super().__init__(quantization_channels, config.residual_channels, _weight=start)

    def forward(self, codes: Tensor) -> Tensor:
        """codes: (batch, time) integers. Returns (batch, residual, time)."""
        return super().forward(codes).transpose(1, 2)

    def table(self) -> Tensor:
        """(levels, residual)."""
        return self.weight


class OneHotInput(nn.Conv1d):
    """A 1x1 convolution over one-hot levels: the paper's input, which knows no order of levels."""

    def __init__(self, quantization_channels: int, config: ModelConfig) -> None:
        super().__init__(quantization_channels, config.residual_channels, 1, bias=config.bias)

    def forward(self, codes: Tensor) -> Tensor:
        """codes: (batch, time) integers. Returns (batch, residual, time)."""
        return super().forward(F.one_hot(codes, self.in_channels).transpose(1, 2).to(self.weight.dtype))

    def table(self) -> Tensor:
        """(levels, residual)."""
        return _plus(self.weight[:, :, 0].t(), self.bias)


class ScalarInput(nn.Conv1d):
    """A 1x1 convolution over the place of a level on the scale: -1 the lowest, 1 the highest."""

    places: Tensor

    def __init__(self, quantization_channels: int, config: ModelConfig) -> None:
        super().__init__(1, config.residual_channels, 1, bias=config.bias)
        self.register_buffer("places", torch.linspace(-1, 1, quantization_channels), persistent=False)

    def forward(self, codes: Tensor) -> Tensor:
        """codes: (batch, time) integers. Returns (batch, residual, time)."""
        return super().forward(self.places[codes][:, None])

    def table(self) -> Tensor:
        """(levels, residual)."""
        return _plus(self.places[:, None] * self.weight[:, :, 0].t(), self.bias)


AnyInput = EmbeddingInput | OneHotInput | ScalarInput
INPUTS: dict[str, Callable[[int, ModelConfig], AnyInput]] = {
    "embedding": EmbeddingInput,
    "one-hot": OneHotInput,
    "scalar": ScalarInput,
}


def ordered_embedding(quantization_channels: int, channels: int) -> Tensor:
    """Where the embedding starts: neighbouring levels close together, (quantization_channels, channels).

    Sines and cosines of the companded amplitude, from half a period over all levels up to a quarter
    period between neighbours. The paper's one-hot input knows no order of levels and has to learn it; see
    docs/experiments.md for what that costs.
    """
    companded = torch.linspace(-1, 1, quantization_channels)[:, None]
    octaves = torch.linspace(0, math.log2(quantization_channels) - 2, (channels + 1) // 2)
    phases = companded * (math.pi / 2 * 2**octaves)
    return torch.cat([phases.sin(), phases.cos()], dim=1)[:, :channels].contiguous()


def _plus(table: Tensor, bias: Tensor | None) -> Tensor:
    return table if bias is None else table + bias
