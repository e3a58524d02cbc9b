"""What the network's last layer means: a distribution over levels.

Every output is a distribution over the same whole levels, so nats of one compare with nats of the
other. Knows nothing of layers or sampling. The invariant: the probabilities of all levels sum to 1.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from wavenet.config import ModelConfig

PARAMETERS_A_LOGISTIC = 3
START_LOG_SCALE = math.log(0.25)
"""Half as wide as the distance of logistics where there are few; together about uniform."""
LEAST_LOG_SCALE = -12.0
"""A scale of 6e-6, a fifth of a step of 16 bits: sharper is certainty, and beyond it floats overflow."""


def count_outputs(config: ModelConfig, quantization_channels: int) -> int:
    """Channels of the last layer."""
    if config.output == "softmax":
        return quantization_channels
    return PARAMETERS_A_LOGISTIC * config.num_mixtures


def negative_log_likelihood(
    outputs: Tensor, codes: Tensor, config: ModelConfig, quantization_channels: int
) -> Tensor:
    """Nats of each code.

    outputs: (..., count_outputs) float32, what the last layer says; codes: (...) integers. Returns (...).
    """
    if config.output == "softmax":
        flat = F.cross_entropy(outputs.flatten(0, -2), codes.flatten(), reduction="none")
        return flat.view(codes.shape)
    return -logistics_log_likelihood(outputs, codes, quantization_channels)


def logistics_log_likelihood(outputs: Tensor, codes: Tensor, quantization_channels: int) -> Tensor:
    """Log-probability of codes under a discretized mixture of logistics.

    outputs: (..., 3 * mixtures): weights before a softmax, means (-1 to 1 from the lowest level to the
    highest), logs of scales. codes: (...) integers. Returns (...) nats. The outermost levels have all that
    lies beyond them. Salimans et al., PixelCNN++ (2017), 2.1; the difference of two sigmoids is written
    s(a) - s(b) = s(a) s(-b) (1 - e^(b - a)), which loses no digits where a and b are close.
    """
    weights, upper, lower, width = _borders(outputs, codes, quantization_channels)
    inside = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-width))
    lowest, highest = (codes == 0)[..., None], (codes == quantization_channels - 1)[..., None]
    each = torch.where(lowest, F.logsigmoid(upper), torch.where(highest, F.logsigmoid(-lower), inside))
    return torch.logsumexp(weights + each, dim=-1)


def _borders(outputs: Tensor, codes: Tensor, quantization_channels: int) -> tuple[Tensor, ...]:
    """Log-weights, and the borders of the codes' levels and their distance, in scales of each logistic."""
    logits, means, log_scales = outputs.chunk(PARAMETERS_A_LOGISTIC, dim=-1)
    sharpness = torch.exp(-log_scales.clamp(min=LEAST_LOG_SCALE))
    half = 1 / (quantization_channels - 1)
    distance = (2 * half * codes.to(outputs.dtype) - 1)[..., None] - means
    upper, lower = sharpness * (distance + half), sharpness * (distance - half)
    return logits.log_softmax(dim=-1), upper, lower, 2 * half * sharpness


def starting_bias(num_mixtures: int) -> Tensor:
    """The last layer's bias for logistics that start evenly spread: about ln(levels) nats a code."""
    means = torch.linspace(-1, 1, num_mixtures + 2)[1:-1]
    return torch.cat([torch.zeros(num_mixtures), means, torch.full((num_mixtures,), START_LOG_SCALE)])
