"""Some of many, spread evenly. Knows nothing of what they are. The invariant: nothing is left to chance."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def choose_evenly(items: Sequence[T], most: int) -> list[T]:
    """At most so many of items, in order, the first among them; as far apart as can be."""
    count = min(most, len(items))
    return [items[i * len(items) // count] for i in range(count)]
