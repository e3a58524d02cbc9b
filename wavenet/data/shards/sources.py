"""What shards are made of: a stem's working audio as mono blocks at the shards' rate.

Knows nothing of codes or Parquet. Streams: memory does not grow with the length of a track.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wavenet.audio.decoding import open_audio
from wavenet.audio.io import mix_down, resample_blocks, sample_rate_of
from wavenet.audio.quantization import Quantizer
from wavenet.audio.resampling import regroup_blocks, sum_blocks
from wavenet.data.scores import Note
from wavenet.data.shards.format import DIMS, ROWS_A_GROUP, SAMPLES_A_GROUP, Feature
from wavenet.data.splits import Split

Waveform = NDArray[np.float32]
Regions = list[tuple[float, float]]


@dataclass(frozen=True)
class StemSource:
    """Working audio of one stem of one track, and what is to be known of it."""

    path: Path
    num_samples: int  # at the rate of the working audio
    track_id: str
    track: str
    split: Split
    end_heldout: bool = False
    kept: Regions | None = None  # seconds, on the grid; None keeps all
    gain: float = 1.0
    labels: Mapping[str, str] = field(default_factory=dict)
    licence: str = "not stated"
    notes: list[Note] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)  # the track's other stems, for context


@dataclass(frozen=True)
class ShardFormat:
    """What all rows of a set share. With features, segment_length is a whole number of hop_length."""

    stem: str
    sample_rate: int
    quantizer: Quantizer
    segment_length: int
    heldout_share: float
    hop_length: int
    features: list[str] = field(default_factory=list)
    resample_quality: str = "HQ"
    downmix: str = "mean"  # of working audio that is wider, as separated stems are

    def __post_init__(self) -> None:
        if self.features and self.segment_length % self.hop_length:
            raise ValueError(
                f"segment_length: found {self.segment_length}, expected a multiple of hop_length "
                f"({self.hop_length}), so that no frame lies in two segments"
            )

    @property
    def feature_specs(self) -> list[Feature]:
        return [Feature.model_validate({"name": name, "dims": DIMS[name]}) for name in self.features]

    @property
    def rows_a_group(self) -> int:
        """Segments that are made at a time: memory depends on neither their length nor the track's."""
        return max(1, min(ROWS_A_GROUP, SAMPLES_A_GROUP // self.segment_length))


def count_samples(source: StemSource, fmt: ShardFormat) -> int:
    """Samples of the track at the rate of the shards, within a few where it is resampled."""
    return round(source.num_samples * fmt.sample_rate / sample_rate_of(source.path))


def stem_blocks(source: StemSource, fmt: ShardFormat) -> Iterator[Waveform]:
    """Working audio as mono blocks, (time,), at the shards' rate, with the track's gain."""
    for block in _working_blocks(source.path, fmt):
        yield block if source.gain == 1 else np.float32(source.gain) * block


def segment_chunks(source: StemSource, fmt: ShardFormat) -> Iterator[tuple[int, Waveform]]:
    """The whole track in whole segments, as many as are made at a time: (first sample, samples)."""
    start = 0
    for chunk in regroup_blocks(stem_blocks(source, fmt), fmt.rows_a_group * fmt.segment_length):
        yield start, chunk
        start += len(chunk)


def other_blocks(source: StemSource, fmt: ShardFormat) -> Iterator[Waveform]:
    """The sum of the track's other stems, silent where there are none."""
    silence = _silence(count_samples(source, fmt) + fmt.segment_length)
    for block in sum_blocks([silence, *(_working_blocks(path, fmt) for path in source.others)]):
        yield np.float32(source.gain) * block


def _silence(num_samples: int) -> Iterator[Waveform]:
    block = np.zeros(1 << 16, np.float32)
    for start in range(0, num_samples, len(block)):
        yield block[: num_samples - start]


def _working_blocks(path: Path, fmt: ShardFormat) -> Iterator[Waveform]:
    """Separated stems come wider and faster than the shards' audio."""
    with open_audio(path) as reader:
        mono = (mix_down(block, 1, fmt.downmix) for block in reader.blocks())
        for block in resample_blocks(mono, reader.sample_rate, fmt.sample_rate, 1, fmt.resample_quality):
            yield block[:, 0]
