"""What streams are told while they play: checked, encoded, and looked up code by code.

Knows nothing of caches or kernels. The invariant: what is told of a sample depends on its own stream's
condition alone, and never on how many streams there are.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from wavenet.errors import ConfigError, IncompatibleDataError
from wavenet.model.conditioning import FRAME_REACH, Condition, ConditionForm
from wavenet.model.wavenet import WaveNet


@dataclass(frozen=True)
class Told:
    """A condition as the layers take it, held over the samples to come.

    encoded: (streams, width, frames) float32; width 0 for a network that can be told nothing. frame_index:
    (streams, codes) integers, for each code, from the context's first, the frame in which the sample *after*
    it lies. What lies past the last code is told what the last one is.
    """

    encoded: Tensor
    frame_index: Tensor

    def after(self, places: Tensor) -> Tensor:
        """(streams, width, places): what is known of the samples after the codes at places, (places,)."""
        index = self.frame_index[:, places.clamp(max=self.frame_index.shape[1] - 1)]
        return self.encoded.gather(2, index[:, None].expand(-1, self.encoded.shape[1], -1))


@torch.no_grad()
def tell(model: WaveNet, condition: Condition | None, num_streams: int) -> Told:
    """Encode a condition of that many streams; None tells nothing."""
    nobody = torch.zeros(num_streams, 1, dtype=torch.int64)
    if model.encoder is None:
        return Told(torch.zeros(num_streams, 0, 1), nobody)
    condition = condition or model.encoder.nothing(nobody)
    encoded = torch.cat([model.encoder(condition.select(slice(i, i + 1))) for i in range(num_streams)])
    index = model.encoder.index(condition, encoded.shape[2])
    return Told(encoded, index.long().contiguous())


def list_tellings(condition: Condition | None, guidance: float) -> list[Condition | None]:
    """What each network that guidance needs is told: the one told comes first, the one told nothing last.

    Both are one and the same where guidance is 1, as told, or 0, as if told nothing.
    """
    if condition is None or guidance == 0:
        return [None]
    return [condition] if guidance == 1 else [condition, None]


def check_guidance(guidance: float) -> None:
    """Raises ConfigError unless it is 0 or more."""
    if not 0 <= guidance < math.inf:
        raise ConfigError(
            f"guidance is {guidance}; expected 0 (as if told nothing), 1 (as told), more (more than told) or "
            "a number between"
        )


def check_condition(model: WaveNet, condition: Condition, num_streams: int, num_codes: int) -> None:
    """Raises IncompatibleDataError unless the network can be told this of that many streams and codes."""
    form = model.form
    if not form:
        raise IncompatibleDataError(
            "a condition was given to a model that can be told nothing; expected None, or a model trained "
            "with model.labels or model.features"
        )
    _expect("labels", condition.labels, (num_streams, len(form.labels)))
    _expect("frame_index", condition.frame_index, (num_streams, num_codes))
    _expect_labels(form, condition.labels)
    if form.features:
        _expect("frames", condition.frames, (num_streams, condition.frames.shape[1], form.frame_channels))
        _expect_frames(condition)


def _expect(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise IncompatibleDataError(
            f"the condition's {name} have shape {tuple(tensor.shape)}; expected {shape}: one row a stream; "
            "for frame_index one column a code of the context and of all samples but the last"
        )


def _expect_labels(form: ConditionForm, labels: Tensor) -> None:
    for (name, values), ids in zip(form.labels.items(), labels.t(), strict=True):
        if int(ids.min()) < 0 or int(ids.max()) > len(values):
            raise IncompatibleDataError(
                f"the condition's label '{name}' has numbers {sorted(set(ids.tolist()))}; expected 0 (none) "
                f"to {len(values)}"
            )


def _expect_frames(condition: Condition) -> None:
    inside = condition.frames.shape[1] - 2 * FRAME_REACH
    first, last = int(condition.frame_index.min()), int(condition.frame_index.max())
    if first < 0 or last >= inside:
        raise IncompatibleDataError(
            f"the condition's frame_index goes from {first} to {last}, its frames from 0 to {inside - 1}, "
            f"without {FRAME_REACH} more at either end; expected an index inside its frames"
        )
