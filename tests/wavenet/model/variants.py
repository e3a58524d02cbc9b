"""Every kind of network there is, small, with random weights and windows to feed it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from wavenet.config import ModelConfig
from wavenet.model.conditioning import FRAME_REACH, Condition, ConditionForm
from wavenet.model.wavenet import UNCONDITIONAL, WaveNet

LEVELS = 48
TOLD = ConditionForm(
    labels={"artist": ["Ann", "Bo"], "album": ["One"]}, features={"energy": 1, "notes": 5}, hop_length=7
)
LABELLED = ConditionForm(labels={"artist": ["Ann", "Bo"]})

VARIANTS: dict[str, tuple[dict, ConditionForm]] = {
    "paper": ({}, UNCONDITIONAL),
    "kernel 3": ({"kernel_size": 3}, UNCONDITIONAL),
    "own dilations": ({"dilation_cycle": [1, 3, 9, 2]}, UNCONDITIONAL),
    "skips side by side": ({"skip": "concat", "head_channels": 9}, UNCONDITIONAL),
    "no bias": ({"bias": False}, UNCONDITIONAL),
    "weight norm": ({"weight_norm": True}, UNCONDITIONAL),
    "dropout": ({"dropout": 0.3}, UNCONDITIONAL),
    "one-hot": ({"input": "one-hot"}, UNCONDITIONAL),
    "scalar": ({"input": "scalar"}, UNCONDITIONAL),
    "logistics": ({"output": "logistics", "num_mixtures": 4}, UNCONDITIONAL),
    "labels": ({"label_channels": 3}, LABELLED),
    "labels and features": ({"condition_channels": 6}, TOLD),
    "all at once": (
        {
            "kernel_size": 3, "skip": "concat", "weight_norm": True, "dropout": 0.2, "input": "scalar",
            "output": "logistics", "bias": False,
        },
        TOLD,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Windows:
    """What a network is fed: (batch, time + 1) codes, the last of them only to be scored."""

    codes: Tensor
    condition: Condition | None
    masks: Tensor | None


def make_variant(name: str, levels: int = LEVELS) -> WaveNet:
    """A network whose every weight is random, those that start as zeros too."""
    settings, form = VARIANTS[name]
    config = ModelConfig(
        **{
            "dilation_cycle": 4, "num_cycles": 2, "residual_channels": 8, "gate_channels": 6,
            "skip_channels": 10, "labels": list(form.labels), "features": list(form.features), **settings,
        }
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = WaveNet(config, levels, form)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def make_windows(model: WaveNet, num_scored: int = 40, batch: int = 3) -> Windows:
    """Random codes, and all that this network can be told."""
    generator = torch.Generator().manual_seed(5)
    time = model.receptive_field + num_scored - 1
    codes = torch.randint(model.quantization_channels, (batch, time + 1), generator=generator)
    masks = model.draw_masks(batch, generator)
    return Windows(codes, make_condition(model.form, batch, time, generator) if model.form else None, masks)


def make_condition(form: ConditionForm, batch: int, time: int, generator: torch.Generator) -> Condition:
    """Windows that begin at different places of a frame."""
    starts = torch.arange(batch) * 5 % form.hop_length
    frame_index = (starts[:, None] + torch.arange(time) + 1) // form.hop_length
    num_frames = int(frame_index.max()) + 1 + 2 * FRAME_REACH
    highest = torch.tensor([len(values) + 1 for values in form.labels.values()])
    drawn = torch.rand(batch, len(highest), generator=generator)
    frames = torch.rand(batch, num_frames, form.frame_channels, generator=generator)
    return Condition((drawn * highest).long(), frames, frame_index)
