"""WaveNet (van den Oord et al. 2016): the distribution of the next sample given those before it.

Reads like the paper; whatever is faster elsewhere is tested against it. Knows nothing of files,
sampling or training. The invariant: logits[:, :, t] depends on codes[:, t : t + receptive_field]
and on nothing else.
"""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from wavenet.config import ModelConfig
from wavenet.model.layers import OutputHead, ResidualLayer


class WaveNet(nn.Module):
    """An embedding, a stack of gated residual layers with skips, and a softmax head."""

    def __init__(self, config: ModelConfig, quantization_channels: int) -> None:
        super().__init__()
        self.config, self.quantization_channels = config, quantization_channels
        self.embedding = nn.Embedding.from_pretrained(
            ordered_embedding(quantization_channels, config.residual_channels), freeze=False
        )
        layers = [
            ResidualLayer(
                config.residual_channels,
                config.gate_channels,
                config.skip_channels,
                config.kernel_size,
                dilation,
            )
            for dilation in config.dilations
        ]
        self.layers = cast(Sequence[ResidualLayer], nn.ModuleList(layers))
        self.head = OutputHead(config.skip_channels, quantization_channels)

    @property
    def receptive_field(self) -> int:
        """Samples that one output depends on."""
        return self.config.receptive_field

    def forward(self, codes: Tensor) -> Tensor:
        """Logits of the sample that follows each full context.

        codes: (batch, time) integers, time >= receptive_field. Returns (batch,
        quantization_channels, time - receptive_field + 1); the last is for the sample after codes.
        """
        num_outputs = codes.shape[1] - self.receptive_field + 1
        if num_outputs < 1:
            raise ValueError(f"{codes.shape[1]} codes, the receptive field needs {self.receptive_field}")
        x = self.embedding(codes).transpose(1, 2)
        skips = torch.zeros((), device=x.device)
        for layer in self.layers:
            x, skip = layer(x, num_outputs)
            skips = skips + skip
        return self.head(skips)


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


def count_parameters(model: nn.Module) -> int:
    """Trainable numbers of a model."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
