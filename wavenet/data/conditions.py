"""What shards know of a track besides its codes: labels, and features frame by frame, scaled for a network.

Knows nothing of networks. The invariants: frame i covers samples [i * hop_length, (i + 1) * hop_length) of
its track; no scale depends on the data, so weights mean the same on other data; what is resident is what
the shards store, scaled no sooner than it is fetched.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from wavenet.audio.features import CONTEXT_NAMES, FEATURE_DIMS, HIGHEST_HZ, LOWEST_HZ, count_frames
from wavenet.config import ModelConfig
from wavenet.data.shards.format import DIMS, NOTES, Manifest, label_columns, make_schema, read_manifest
from wavenet.data.shards.reader import brief, read_parquet, read_shards
from wavenet.data.splits import Split
from wavenet.errors import IncompatibleDataError, ShardFormatError

if TYPE_CHECKING:
    from wavenet.data.dataset import CodeRun

Frames = NDArray[np.float32]

QUIET_DB = -80.0
"""Level that becomes 0; full scale becomes 1."""
SHARP_DB = 30.0
"""Onset that becomes 1: a drum alone. A plucked bass has a third of it."""
UNVOICED_HZ = LOWEST_HZ / 2
"""Pitch that becomes 0, an octave below the lowest there is: that one is told from none."""
OCTAVES = np.float32(math.log2(HIGHEST_HZ / UNVOICED_HZ))
LOUDEST_VELOCITY = np.float32(127)


@dataclass(frozen=True)
class ConditionFacts:
    """What a model is told of and the shards have.

    labels: the values of each. features: numbers a frame of each. Both in the model's order. hop_length:
    samples a frame, 1 without features.
    """

    labels: dict[str, list[str]]
    features: dict[str, int]
    hop_length: int


@dataclass(frozen=True)
class FrameRun:
    """The frames of a run of codes as they are stored, (frames, dims) of each feature.

    first_frame: the number in its track of the first of them.
    """

    first_frame: int
    stored: dict[str, NDArray]

    @property
    def end_frame(self) -> int:
        """One more than the last."""
        return self.first_frame + len(next(iter(self.stored.values())))

    def fill(self, frames: Frames, first_frame: int) -> None:
        """Put what this run has of the track's frames from first_frame on into frames, scaled.

        frames: (frames, dims + 1), of which the features lie side by side; the last channel becomes 1
        where there is a frame. Rows that the run does not have stay as they are.
        """
        begin = max(first_frame, self.first_frame)
        end = max(begin, min(first_frame + len(frames), self.end_frame))
        told = frames[begin - first_frame : end - first_frame]
        here = slice(begin - self.first_frame, end - self.first_frame)
        parts = [SCALES[name](each[here]) for name, each in self.stored.items()]
        told[:, :-1] = np.concatenate(parts, axis=1)
        told[:, -1] = 1


def between(runs: Sequence[FrameRun], first_frame: int, end_frame: int) -> Sequence[FrameRun]:
    """Those runs of a track, given in the order of time, that have any of its frames in that range."""
    begin = bisect_right(runs, first_frame, key=attrgetter("end_frame"))
    return runs[begin : bisect_left(runs, end_frame, key=attrgetter("first_frame"))]


def condition_facts(manifest: Manifest, config: ModelConfig) -> ConditionFacts:
    """What there is of what a model asks for. Raises IncompatibleDataError where the shards lack it."""
    dims = {feature.name: feature.dims for feature in manifest.features}
    _refuse_missing_features(manifest, config.features)
    if missing := [name for name in config.labels if name not in manifest.labels]:
        raise IncompatibleDataError(
            f"{manifest.stem}: model.labels asks for {', '.join(missing)}, the shards have "
            f"{', '.join(manifest.labels) or 'no labels'}; say of each track what it is in the input's "
            "manifest, or take it out of model.labels"
        )
    return ConditionFacts(
        labels={name: manifest.labels[name] for name in config.labels},
        features={name: dims[name] for name in config.features},
        hop_length=manifest.hop_length if config.features else 1,
    )


def load_labels(folder: Path, split: Split, names: Collection[str]) -> dict[str, dict[str, str]]:
    """What is said of each track of a split: of those labels the ones it has, by track id."""
    columns = label_columns(read_manifest(folder).labels)
    asked = {name: columns[name] for name in names if name in columns}
    rows = read_shards(folder, split, ["track_id", *asked.values()]).drop_duplicates("track_id")
    return {
        row["track_id"]: {name: row[column] for name, column in asked.items() if isinstance(row[column], str)}
        for row in rows.to_dict("records")
    }


def load_frames(
    folder: Path, split: Split, runs: Sequence["CodeRun"], names: Sequence[str]
) -> list[FrameRun]:
    """The frames of those features beside each run of a split; runs: all that `load_runs` gives.

    They are views of one array a feature: 256 bytes a frame of notes, 4 a number of any other. Raises
    IncompatibleDataError on a feature that the shards lack, ShardFormatError on a wrong count.
    """
    manifest = read_manifest(folder)
    _refuse_missing_features(manifest, names)
    stored = _read_features(folder, manifest, split, names)
    counts = [count_frames(len(run.codes), manifest.hop_length) for run in runs]
    for name, each in stored.items():
        if len(each) != sum(counts):
            raise ShardFormatError(
                f"{folder}: found {len(each)} frames of {name}, expected {sum(counts)}, as many as the runs "
                "of codes have; prepare the shards again"
            )
    return [
        FrameRun(
            run.start_sample // manifest.hop_length,
            {name: each[end - count : end] for name, each in stored.items()},
        )
        for run, count, end in zip(runs, counts, accumulate(counts), strict=True)
    ]


def _refuse_missing_features(manifest: Manifest, names: Sequence[str]) -> None:
    there = [str(feature.name) for feature in manifest.features]
    if missing := [name for name in names if name not in there]:
        raise IncompatibleDataError(
            f"{manifest.stem}: model.features asks for {', '.join(missing)}, the shards have "
            f"{', '.join(there) or 'no features'}; prepare them with "
            f"features.names=[{','.join(there + missing)}]"
        )


def _read_features(
    folder: Path, manifest: Manifest, split: Split, names: Sequence[str]
) -> dict[str, NDArray]:
    """All frames of a split, (frames, dims) of each feature, file by file: nothing is held twice."""
    lengths = read_shards(folder, split, ["num_samples"])["num_samples"].to_numpy(np.int64)
    counts = -(-lengths // manifest.hop_length)
    stored = {name: np.empty((counts.sum(), DIMS[name]), _dtype(name)) for name in names}
    row = frame = 0
    for path in (folder / file.name for file in manifest.files if file.split == split):
        table = _read_file(path, manifest, names)
        here = counts[row : row + len(table)]
        for name, each in stored.items():
            _check_sizes(path, name, table.column(name), here * DIMS[name])
            values = _values(table.column(name), each.dtype)
            each[frame : frame + here.sum()] = values.reshape(-1, DIMS[name])
        row, frame = row + len(table), frame + here.sum()
    return stored


def _dtype(name: str) -> np.dtype:
    return np.dtype(np.uint8 if name == NOTES else np.float32)


def _read_file(path: Path, manifest: Manifest, names: Sequence[str]) -> pa.Table:
    schema = make_schema(manifest.features, [])
    schema = pa.schema([schema.field(name) for name in names])
    try:
        return read_parquet(path, schema.names).select(schema.names).cast(schema)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise ShardFormatError(f"{path}: cannot be read ({brief(error)}); prepare the shards again") from None


def _check_sizes(path: Path, name: str, rows: pa.ChunkedArray, expected: NDArray[np.int64]) -> None:
    sizes = (pc.binary_length if name == NOTES else pc.list_value_length)(rows).fill_null(0).to_numpy()
    if not np.array_equal(sizes, expected):
        raise ShardFormatError(
            f"{path}: found {sizes.sum()} values of {name} in rows whose samples have {expected.sum()}; "
            "prepare the shards again"
        )


def _values(rows: pa.ChunkedArray, dtype: np.dtype) -> NDArray:
    """What consecutive rows hold, joined."""
    if pa.types.is_binary(rows.type):
        return np.frombuffer(b"".join(rows.to_pylist()), dtype)
    return np.concatenate([chunk.flatten().to_numpy(zero_copy_only=False) for chunk in rows.chunks])


# From what is stored to about 0 to 1


def _scale_energy(level_db: Frames) -> Frames:
    level: Frames = np.maximum(0, 1 - level_db / QUIET_DB)
    return level


def _scale_onset(rise_db: Frames) -> Frames:
    return rise_db / SHARP_DB


def _scale_f0(f0: Frames) -> Frames:
    """Octaves above UNVOICED_HZ, the highest pitch 1, no pitch 0; periodicity as it is."""
    pitch, periodicity = f0[:, :1], f0[:, 1:]
    height: Frames = np.log2(np.maximum(pitch, UNVOICED_HZ) / UNVOICED_HZ)
    return np.concatenate([height / OCTAVES, periodicity], axis=1)


def _scale_chroma(classes: Frames) -> Frames:
    return classes


def _scale_notes(velocities: NDArray[np.uint8]) -> Frames:
    return velocities.astype(np.float32) / LOUDEST_VELOCITY


def _scale_context(context: Frames) -> Frames:
    """Its parts, each as where it is told of the stem itself."""
    borders = np.cumsum([FEATURE_DIMS[name] for name in CONTEXT_NAMES])[:-1]
    parts = zip(CONTEXT_NAMES, np.split(context, borders, axis=1), strict=True)
    return np.concatenate([SCALES[name](part) for name, part in parts], axis=1)


SCALES: dict[str, Callable[[NDArray], Frames]] = {
    "energy": _scale_energy,
    "onset": _scale_onset,
    "f0": _scale_f0,
    "chroma": _scale_chroma,
    "notes": _scale_notes,
    "context": _scale_context,
}
"""What each feature's numbers become: (frames, dims) as stored to (frames, dims) float32."""
