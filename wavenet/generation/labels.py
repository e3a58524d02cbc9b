"""Global conditions by name: what a person says of a take, as the numbers that a network is told.

Knows nothing of tracks or shards. The invariant: a label is one that the network was trained with, or an
error that lists those.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch

from wavenet.errors import ConfigError
from wavenet.generation.guarded import Tell
from wavenet.model.conditioning import FRAME_REACH, Condition, ConditionForm


def tell_labels(form: ConditionForm, given: Mapping[str, str], beside: Tell) -> Tell:
    """What `beside` tells, those labels set to those values; of a take it tells nothing of, the labels alone.

    given: values by label. Raises ConfigError on one that the network does not know.
    """
    check_labels(form, given)
    if not given:
        return beside

    def tell(first: int, num_codes: int) -> Condition:
        condition = beside(first, num_codes) or _tell_no_more(form, num_codes)
        labels = condition.labels.clone()
        for column, number in enumerate(form.label_ids(given)):
            if number:
                labels[:, column] = number
        return replace(condition, labels=labels)

    return tell


def check_labels(form: ConditionForm, given: Mapping[str, str]) -> None:
    """Raises ConfigError on a label, or a value of one, that a network of this form is not told of."""
    for name, value in given.items():
        if name not in form.labels:
            raise ConfigError(
                f"label {name}={value}: the model is told of {', '.join(form.labels) or 'no labels'}; it was "
                "trained with those of model.labels"
            )
        if value not in form.labels[name]:
            raise ConfigError(f"label {name}={value}: unknown; known are {', '.join(form.labels[name])}")


def _tell_no_more(form: ConditionForm, num_codes: int) -> Condition:
    """No label and no frame."""
    return Condition(
        torch.zeros(1, len(form.labels), dtype=torch.int64),
        torch.zeros(1, 1 + 2 * FRAME_REACH, form.frame_channels),
        torch.zeros(1, num_codes, dtype=torch.int64),
    )
