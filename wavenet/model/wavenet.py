"""WaveNet (van den Oord et al. 2016): the distribution of the next sample given those before it.

Reads like the paper; whatever is faster elsewhere is tested against it. Knows nothing of files,
sampling or training. The invariant: outputs[:, :, t] depends on codes[:, t : t + receptive_field], on
what was told of the samples that follow them, and on nothing else.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from wavenet.config import ModelConfig
from wavenet.model.conditioning import Condition, ConditionEncoder, ConditionForm
from wavenet.model.inputs import INPUTS
from wavenet.model.layers import OutputHead, ResidualLayer

UNCONDITIONAL = ConditionForm()


class WaveNet(nn.Module):
    """Codes in, a stack of gated residual layers with skips, and a head."""

    def __init__(
        self, config: ModelConfig, quantization_channels: int, form: ConditionForm = UNCONDITIONAL
    ) -> None:
        super().__init__()
        self.config, self.quantization_channels, self.form = config, quantization_channels, form
        self.input = INPUTS[config.input](quantization_channels, config)
        self.encoder = ConditionEncoder(form, config) if form else None
        width = self.encoder.width if self.encoder else 0
        layers = [ResidualLayer(config, dilation, width) for dilation in config.dilations]
        self.layers = cast(Sequence[ResidualLayer], nn.ModuleList(layers))
        self.head = OutputHead(config, quantization_channels)

    @property
    def receptive_field(self) -> int:
        """Samples that one output depends on."""
        return self.config.receptive_field

    def forward(
        self, codes: Tensor, condition: Condition | None = None, masks: Tensor | None = None
    ) -> Tensor:
        """What is expected of the sample that follows each full context.

        codes: (batch, time) integers, time >= receptive_field. condition: what the windows are told;
        nothing if None. masks: (batch, layers, gate) of `draw_masks`. Returns (batch, outputs, time -
        receptive_field + 1), logits of levels or parameters of logistics; the last is for the sample
        after codes.
        """
        num_outputs = codes.shape[1] - self.receptive_field + 1
        if num_outputs < 1:
            raise ValueError(f"{codes.shape[1]} codes, the receptive field needs {self.receptive_field}")
        x = self.input(codes)
        told = self._tell(codes, condition)
        skips = []
        for i, layer in enumerate(self.layers):
            heard = told if told is None else told[:, :, layer.shrinkage - x.shape[2] :]
            x, skip = layer(x, num_outputs, heard, None if masks is None else masks[:, i])
            skips.append(skip)
        return self.head(torch.cat(skips, dim=1) if self.config.skip == "concat" else _sum(skips))

    def _tell(self, codes: Tensor, condition: Condition | None) -> Tensor | None:
        """(batch, condition, time): each frame's condition held over its samples."""
        if self.encoder is None:
            return None
        condition = condition or self.encoder.nothing(codes)
        encoded = self.encoder(condition)
        index = self.encoder.index(condition, encoded.shape[2])
        return encoded.gather(2, index[:, None].expand(-1, encoded.shape[1], -1))

    def draw_masks(self, batch: int, generator: torch.Generator | None) -> Tensor | None:
        """Which gated channels each window hears, (batch, layers, gate); None without dropout.

        A channel is silenced for a whole window, in context and scored part alike; the rest are louder by
        as much (Tompson et al. 2015).
        """
        heard = 1 - self.config.dropout
        if heard == 1:
            return None
        shape = (batch, len(self.layers), self.config.gate_channels)
        return torch.full(shape, heard).bernoulli_(heard, generator=generator) / heard


def _sum(skips: list[Tensor]) -> Tensor:
    total = skips[0]
    for skip in skips[1:]:
        total = total + skip
    return total


def create_model(
    config: ModelConfig, quantization_channels: int, seed: int, form: ConditionForm = UNCONDITIONAL
) -> WaveNet:
    """A network with the weights that a seed stands for; the global generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return WaveNet(config, quantization_channels, form)


def count_parameters(model: nn.Module) -> int:
    """Trainable numbers of a model."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
