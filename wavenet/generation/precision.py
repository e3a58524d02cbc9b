"""Which numbers a model may be played in: the fastest whose bits on real music are as good.

Knows no files. The invariant: nothing is played in lower precision unless its loss on held-out codes was
measured beside float32's and moved by no more than `MOST_NATS`.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from wavenet.errors import ConfigError
from wavenet.generation import processor
from wavenet.model.conditioning import Condition
from wavenet.model.outputs import negative_log_likelihood
from wavenet.model.wavenet import WaveNet

MOST_NATS = 1e-3
"""A sample, up or down: a thousandth of what separates a good model from a better one."""


@dataclass(frozen=True)
class Precision:
    """What was chosen, and by how many nats a sample the loss of each that was measured moved."""

    name: str
    moved: dict[str, float]


def choose_precision(
    model: WaveNet, codes: NDArray[np.integer], condition: Condition | None, asked: str = "auto"
) -> Precision:
    """The fastest precision here that a model may be played in; or the one that is asked for, if it may.

    codes: (windows, time) of held-out music, longer than the receptive field, after which all is scored:
    10,000 samples and more, for of fewer the loss moves by chance. condition: of them, as for the model.
    Raises ConfigError where what is asked for is not to be had here, or moves the loss by more than
    `MOST_NATS`.
    """
    there = processor.list_precisions()
    if asked not in ("auto", *there):
        raise ConfigError(
            f"generation.precision is {asked}; this processor has {', '.join(there)}: take one, or auto"
        )
    moved: dict[str, float] = {}
    for name in there if asked == "auto" else (asked,):
        if name == "fp32":
            return Precision(name, moved)
        moved[name] = measure_move(model, codes, condition, name)
        if abs(moved[name]) <= MOST_NATS:
            return Precision(name, moved)
    raise ConfigError(
        f"generation.precision is {asked}, which moves the held-out loss by {moved[asked]:+.4f} nats a "
        f"sample; at most {MOST_NATS} is allowed: use auto or fp32"
    )


def measure_move(
    model: WaveNet, codes: NDArray[np.integer], condition: Condition | None, precision: str
) -> float:
    """By how many nats a sample the loss of given codes moves from float32 to a precision."""
    nats = [score_codes(model, codes, condition, name) for name in (precision, "fp32")]
    return float(np.mean(nats[0] - nats[1]))


def score_codes(
    model: WaveNet, codes: NDArray[np.integer], condition: Condition | None, precision: str
) -> NDArray[np.float64]:
    """Nats of each code after the receptive field, (windows, scored), by the compiled kernel."""
    from wavenet.generation.kernels.band import begin_band  # numba takes seconds to load

    past = model.receptive_field
    if codes.shape[1] <= past:
        raise ValueError(f"windows of {codes.shape[1]} codes, and the receptive field alone takes {past}")
    (part,) = begin_band(model, codes[:, :past], condition, 1.0, precision, 1)
    outputs = torch.from_numpy(part.score(codes[:, past:])).transpose(0, 1)
    scored = torch.from_numpy(codes[:, past:].astype(np.int64))
    nats = negative_log_likelihood(outputs, scored, model.config, model.quantization_channels)
    return nats.double().numpy()
