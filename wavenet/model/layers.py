"""The two building blocks of WaveNet. Plain convolutions over (batch, channels, time).

Nothing is padded: each layer eats the start of its input, so every output has seen only true
samples. Knows nothing of sampling or training.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ResidualLayer(nn.Module):
    """Causal dilated convolution, gated activation, residual and skip (WaveNet 2.3 and 2.4)."""

    def __init__(
        self, residual_channels: int, gate_channels: int, skip_channels: int, kernel_size: int, dilation: int
    ) -> None:
        super().__init__()
        self.shrinkage = (kernel_size - 1) * dilation
        self.dilated = nn.Conv1d(residual_channels, 2 * gate_channels, kernel_size, dilation=dilation)
        self.residual = nn.Conv1d(gate_channels, residual_channels, 1)
        self.skip = nn.Conv1d(gate_channels, skip_channels, 1)

    def forward(self, x: Tensor, num_outputs: int) -> tuple[Tensor, Tensor]:
        """x: (batch, residual, time). Returns the next layer's input, (batch, residual,
        time - shrinkage), and this layer's share of the last num_outputs, (batch, skip, num_outputs)."""
        filtered, gate = self.dilated(x).chunk(2, dim=1)
        activated = torch.tanh(filtered) * torch.sigmoid(gate)
        return x[:, :, self.shrinkage :] + self.residual(activated), self.skip(activated[:, :, -num_outputs:])


class OutputHead(nn.Module):
    """ReLU, 1x1, ReLU, 1x1: from summed skips to logits."""

    def __init__(self, skip_channels: int, quantization_channels: int) -> None:
        super().__init__()
        self.hidden = nn.Conv1d(skip_channels, skip_channels, 1)
        self.logits = nn.Conv1d(skip_channels, quantization_channels, 1)

    def forward(self, skips: Tensor) -> Tensor:
        """skips: (batch, skip, time). Returns logits, (batch, quantization_channels, time)."""
        return self.logits(F.relu(self.hidden(F.relu(skips))))
