"""The report of a transfer: what was taken over of other weights, and why the rest was not.

Knows names and reasons, nothing of tensors.
"""

import re
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import Any

LAYER = re.compile(r"^layers\.\d+\.")


@dataclass(frozen=True)
class Transfer:
    """What was taken over. partly, fresh: names of weights, and why; unused: what the other had besides."""

    loaded: list[str] = field(default_factory=list)
    partly: dict[str, str] = field(default_factory=dict)
    fresh: dict[str, str] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def reasons(self) -> list[str]:
        """A line for each weight that is not taken over whole, and why; one for those of several layers."""
        groups: dict[tuple[str, str], list[str]] = defaultdict(list)
        for name, why in {**self.partly, **self.fresh}.items():
            groups[LAYER.sub("layers.*.", name), why].append(name)
        return [
            f"{pattern if len(names) > 1 else names[0]} {why}" for (pattern, why), names in groups.items()
        ]

    def counts(self) -> str:
        """How many of all."""
        total = len(self.loaded) + len(self.partly) + len(self.fresh)
        return f"{len(self.loaded)} of {total} weights taken over"

    def summary(self) -> str:
        """One line for people."""
        return "; ".join([self.counts(), *self.reasons()])
