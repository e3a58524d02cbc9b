"""What a network is told besides its own past: labels of the track, and features frame by frame.

Knows nothing of where they come from. The invariant: no label is number 0 and no frame is a frame whose
last channel is 0; a dropped condition is all zeros, so a conditioned network also plays unconditionally.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn import functional as F

from wavenet.config import ModelConfig

FRAME_REACH = 1
"""Frames before and after its own that a sample is told of."""


class ConditionForm(BaseModel):
    """What a network can be told: values of each label, numbers a frame of each feature."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    labels: dict[str, list[str]] = {}
    features: dict[str, int] = {}
    hop_length: int = 1

    def __bool__(self) -> bool:
        return bool(self.labels or self.features)

    @property
    def frame_channels(self) -> int:
        """Numbers a frame: those of all features, then 1 where there is a frame."""
        return sum(self.features.values()) + 1 if self.features else 0

    def ordered(self, config: ModelConfig) -> "ConditionForm":
        """The same in the order of a config, which JSON with sorted keys does not keep."""
        labels = {name: self.labels[name] for name in config.labels}
        features = {name: self.features[name] for name in config.features}
        return self.model_copy(update={"labels": labels, "features": features})

    def label_ids(self, values: Mapping[str, str | None]) -> list[int]:
        """A number a label, in order; 0 for one that is not known."""
        return [
            1 + known.index(value) if (value := values.get(label)) in known else 0
            for label, known in self.labels.items()
        ]


@dataclass(frozen=True)
class Condition:
    """What a batch of windows is told.

    labels: (batch, labels) integers, 0 for none. frames: (batch, frames, channels) float32, with
    FRAME_REACH frames more at either end. frame_index: (batch, time), for each code of the window the
    frame in which the sample *after* it lies, counted without those at the start.
    """

    labels: Tensor
    frames: Tensor
    frame_index: Tensor

    def select(self, rows: slice | Tensor) -> "Condition":
        """Those windows alone."""
        return Condition(self.labels[rows], self.frames[rows], self.frame_index[rows])

    def to(self, device: torch.device) -> "Condition":
        return Condition(*(tensor.to(device) for tensor in (self.labels, self.frames, self.frame_index)))

    @staticmethod
    def join(parts: Sequence["Condition"]) -> "Condition":
        """Of all their windows, one part after the other."""
        rows = ((part.labels, part.frames, part.frame_index) for part in parts)
        return Condition(*map(torch.cat, zip(*rows, strict=True)))

    def dropped(self, rows: Tensor) -> "Condition":
        """With nothing told to those windows. rows: (batch,) bool."""
        kept = ~rows
        return replace(self, labels=self.labels * kept[:, None], frames=self.frames * kept[:, None, None])


class ConditionEncoder(nn.Module):
    """From labels and frames to one sequence at frame rate: WaveNet 2.5, global and local together.

    The paper adds one projection of each; here they lie side by side, and a layer's one projection of both
    is the same sum.
    """

    def __init__(self, form: ConditionForm, config: ModelConfig) -> None:
        super().__init__()
        self.form = form
        self.labels = nn.ModuleList(
            nn.Embedding(len(values) + 1, config.label_channels) for values in form.labels.values()
        )
        self.frames = (
            nn.Conv1d(form.frame_channels, config.condition_channels, 2 * FRAME_REACH + 1)
            if form.features
            else None
        )
        self.width = len(self.labels) * config.label_channels + (
            config.condition_channels if form.features else 0
        )

    def forward(self, condition: Condition) -> Tensor:
        """Returns (batch, width, frames), one frame where there are no features."""
        parts = [table(condition.labels[:, i])[:, :, None] for i, table in enumerate(self.labels)]
        if self.frames is not None:
            parts.append(F.relu(self.frames(condition.frames.transpose(1, 2))))
        longest = max(part.shape[2] for part in parts)
        return torch.cat([part.expand(-1, -1, longest) for part in parts], dim=1)

    def index(self, condition: Condition, num_frames: int) -> Tensor:
        """The encoded frame that each code of a window goes by, (batch, time); 0 where there is one."""
        return condition.frame_index if num_frames > 1 else torch.zeros_like(condition.frame_index)

    def nothing(self, codes: Tensor) -> Condition:
        """The condition of windows (batch, time) that are told nothing."""
        frames = torch.zeros(len(codes), 1 + 2 * FRAME_REACH, self.form.frame_channels, device=codes.device)
        labels = torch.zeros(len(codes), len(self.labels), dtype=torch.int64, device=codes.device)
        return Condition(labels, frames, torch.zeros_like(codes, dtype=torch.int64))
