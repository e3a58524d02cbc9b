"""The frames of a track's features, as rows need them: in order, and as many as a segment has."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from wavenet.audio.features import extract_context, extract_features
from wavenet.data.scores import notes_roll
from wavenet.data.shards.format import NOTES
from wavenet.data.shards.sources import ShardFormat, StemSource, other_blocks, stem_blocks


class FrameReader:
    """The frames of a track's features, taken in order."""

    def __init__(self, source: StemSource, fmt: ShardFormat) -> None:
        self.fmt, self.notes = fmt, source.notes
        heard = [name for name in fmt.features if name not in (NOTES, "context")]
        self.streams: dict[str, Iterator[dict[str, NDArray]]] = {}
        if heard:
            own = stem_blocks(source, fmt)
            self.streams["own"] = extract_features(own, fmt.sample_rate, fmt.hop_length, heard)
        if "context" in fmt.features:
            others = other_blocks(source, fmt)
            context = extract_context(others, fmt.sample_rate, fmt.hop_length)
            self.streams["others"] = ({"context": frames} for frames in context)
        self.waiting: dict[str, dict[str, NDArray]] = {}

    def take(self, start: int, num_samples: int) -> dict[str, NDArray]:
        """The frames of the next samples, (frames, dims) of each feature in the configured order."""
        count = -(-num_samples // self.fmt.hop_length)
        found: dict[str, NDArray] = {}
        for name, stream in self.streams.items():
            found |= self._take(name, stream, count)
        if NOTES in self.fmt.features:
            first = start // self.fmt.hop_length
            found[NOTES] = notes_roll(self.notes, self.fmt.hop_length, self.fmt.sample_rate, first, count)
        return {name: found[name] for name in self.fmt.features}

    def _take(self, name: str, stream: Iterator[dict[str, NDArray]], count: int) -> dict[str, NDArray]:
        parts = [self.waiting.pop(name)] if name in self.waiting else []
        while sum(_num_frames(part) for part in parts) < count:
            parts.append(next(stream))
        joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        self.waiting[name] = {key: values[count:] for key, values in joined.items()}
        return {key: values[:count] for key, values in joined.items()}


def _num_frames(part: dict[str, NDArray]) -> int:
    return len(next(iter(part.values())))
