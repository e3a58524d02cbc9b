"""What a network costs: its multiply-adds, counted from its settings.

Knows nothing of weights, data or machines. The invariant: what is counted is what the network as it reads
does; biases, gates and the choice of a sample are no products, and the input is looked up in a table.
"""

from dataclasses import dataclass

from wavenet.config import ModelConfig
from wavenet.model.conditioning import FRAME_REACH, ConditionForm
from wavenet.model.outputs import count_outputs
from wavenet.model.wavenet import UNCONDITIONAL


@dataclass(frozen=True)
class Products:
    """Multiply-adds of each part: of one layer for one sample, of the head for one sample, for one frame.

    onward: of what a layer adds for the next, which the last one makes for nobody. frame: of all layers, what
    is told from one frame of features on.
    """

    dilated: int
    onward: int
    skip: int
    head: int
    frame: int


def count_products(
    config: ModelConfig, quantization_channels: int, form: ConditionForm = UNCONDITIONAL
) -> Products:
    """Multiply-adds by part. form: what the network is told."""
    residual, gate = config.residual_channels, config.gate_channels
    outputs = count_outputs(config, quantization_channels)
    return Products(
        dilated=config.kernel_size * residual * 2 * gate,
        onward=gate * residual,
        skip=gate * config.skip_channels,
        head=config.head_width * (config.skip_width + outputs),
        frame=_frame_products(config, form),
    )


def count_multiply_adds(
    config: ModelConfig, quantization_channels: int, form: ConditionForm = UNCONDITIONAL
) -> float:
    """Multiply-adds a generated sample, one stream, earlier samples cached (Le Paine et al. 2016).

    What is told of a frame is shared by its hop_length samples; labels alone are told once for a whole take,
    which is nothing a sample. Guidance above 1, or between 0 and 1, asks two networks and costs twice this.
    """
    products = count_products(config, quantization_channels, form)
    layers = len(config.dilations) * (products.dilated + products.onward + products.skip)
    return layers + products.head + products.frame / form.hop_length


def _frame_products(config: ModelConfig, form: ConditionForm) -> int:
    """From a frame and its neighbours to condition channels, and with the labels beside them to all gates."""
    if not form.features:
        return 0
    taken = form.frame_channels * (2 * FRAME_REACH + 1) * config.condition_channels
    width = len(form.labels) * config.label_channels + config.condition_channels
    return taken + len(config.dilations) * width * 2 * config.gate_channels
