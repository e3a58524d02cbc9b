"""The building blocks of WaveNet. Plain convolutions over (batch, channels, time).

Nothing is padded: each layer eats the start of its input, so every output has seen only true
samples. Knows nothing of sampling or training.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from wavenet.config import ModelConfig
from wavenet.model.outputs import count_outputs, starting_bias


class ResidualLayer(nn.Module):
    """Causal dilated convolution, gated activation, residual and skip (WaveNet 2.3 to 2.5)."""

    def __init__(self, config: ModelConfig, dilation: int, condition_width: int) -> None:
        super().__init__()
        self.shrinkage = (config.kernel_size - 1) * dilation
        residual, gate = config.residual_channels, config.gate_channels
        self.dilated = _convolution(residual, 2 * gate, config, config.kernel_size, dilation)
        self.residual = _convolution(gate, residual, config)
        self.skip = _convolution(gate, config.skip_channels, config)
        self.condition: nn.Conv1d | None = None
        if condition_width:
            self.condition = nn.Conv1d(condition_width, 2 * gate, 1, bias=False)
            nn.init.zeros_(self.condition.weight)  # it starts as the network that is told nothing

    def forward(
        self, x: Tensor, num_outputs: int, told: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """x: (batch, residual, time). told: (batch, condition, time - shrinkage), what is known of each
        sample that follows. mask: (batch, gate), which channels are heard, and how loud. Returns the next
        layer's input, (batch, residual, time - shrinkage), and this layer's share of the last
        num_outputs, (batch, skip, num_outputs)."""
        gates = self.dilated(x)
        if self.condition is not None and told is not None:
            gates = gates + self.condition(told)
        filtered, gate = gates.chunk(2, dim=1)
        activated = torch.tanh(filtered) * torch.sigmoid(gate)
        if mask is not None:
            activated = activated * mask[:, :, None]
        return x[:, :, self.shrinkage :] + self.residual(activated), self.skip(activated[:, :, -num_outputs:])


class OutputHead(nn.Module):
    """ReLU, 1x1, ReLU, 1x1: from all skips to what describes the next sample."""

    def __init__(self, config: ModelConfig, quantization_channels: int) -> None:
        super().__init__()
        num_outputs = count_outputs(config, quantization_channels)
        self.hidden = _convolution(config.skip_width, config.head_width, config)
        self.logits = nn.Conv1d(config.head_width, num_outputs, 1, bias=config.bias or is_mixture(config))
        if is_mixture(config):
            _start_spread(self.logits, config.num_mixtures)
        if config.weight_norm:
            weight_norm(self.logits)

    def forward(self, skips: Tensor) -> Tensor:
        """skips: (batch, skip_width, time). Returns (batch, outputs, time)."""
        return self.logits(F.relu(self.hidden(F.relu(skips))))


def is_mixture(config: ModelConfig) -> bool:
    return config.output == "logistics"


def _start_spread(last: nn.Conv1d, num_mixtures: int) -> None:
    with torch.no_grad():
        last.weight.mul_(0.1)
        last.bias.copy_(starting_bias(num_mixtures))  # type: ignore[union-attr]


def _convolution(
    inputs: int, outputs: int, config: ModelConfig, kernel_size: int = 1, dilation: int = 1
) -> nn.Conv1d:
    layer = nn.Conv1d(inputs, outputs, kernel_size, dilation=dilation, bias=config.bias)
    return weight_norm(layer) if config.weight_norm else layer
