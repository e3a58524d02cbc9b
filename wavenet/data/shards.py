"""Parquet shards of one stem: the only owner of the format, its writer beside its reader.

Layout of a shard set, format version 1:

    manifest.json            written last: a folder without it is not a shard set
    train-00000.parquet ...  one row a segment, in the order of tracks and time
    heldout-00000.parquet ...

Columns: track_id (digest of the decoded audio), track (name), stem, split, start_sample,
num_samples, codes (binary: uint8 up to 256 levels, little-endian uint16 above), level_db,
clipped_share. Segments of a track lie on one grid, start_sample = i * segment_length, shared by its
stems; only a track's last segment may be shorter.

Knows nothing of models. The invariant: what the manifest states of rows and bytes is in the files.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from wavenet.audio.io import (
    CLIPPED_FROM,
    level_db,
    mix_down,
    read_blocks,
    resample_blocks,
    sample_rate_of,
)
from wavenet.audio.mulaw import Codes, code_dtype, decoding_table, encode_mu_law
from wavenet.data.splits import SPLITS, Split, split_segments
from wavenet.errors import ShardFormatError
from wavenet.files import digest_file, digest_json, read_json, write_json

MANIFEST = "manifest.json"
ROWS_A_GROUP = 64
SHARD_BYTES = 64 << 20

SCHEMA = pa.schema(
    [
        ("track_id", pa.string()),
        ("track", pa.string()),
        ("stem", pa.string()),
        ("split", pa.string()),
        ("start_sample", pa.int64()),
        ("num_samples", pa.int32()),
        ("codes", pa.binary()),
        ("level_db", pa.float32()),
        ("clipped_share", pa.float32()),
    ]
)
TEXT_COLUMNS = ["track_id", "track", "stem", "split"]


class ManifestPart(BaseModel):
    """Base of what a manifest is made of."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ShardFile(ManifestPart):
    """One Parquet file."""

    name: str
    split: Split
    digest: str
    num_segments: int
    num_samples: int
    num_bytes: int


class ShardTrack(ManifestPart):
    """One track's share in a set. split is None where its last part alone is held out."""

    track_id: str
    track: str
    split: Split | None
    num_samples: int


class Manifest(ManifestPart):
    """What a shard set holds. `digest` stands for all of it, file contents included."""

    format: Literal["waveband-shards"] = "waveband-shards"
    version: Literal[1] = 1
    stem: str
    sample_rate: int
    quantization_channels: int
    law: Literal["mu-law"] = "mu-law"
    segment_length: int
    features: list[str] = []
    quantization_snr_db: float | None  # signal to quantization noise: as good as it can sound
    files: list[ShardFile]
    tracks: list[ShardTrack]
    digest: str = ""

    def num_samples(self, split: Split) -> int:
        """Samples in a split."""
        return sum(file.num_samples for file in self.files if file.split == split)

    def num_segments(self, split: Split) -> int:
        """Rows in a split."""
        return sum(file.num_segments for file in self.files if file.split == split)


@dataclass(frozen=True)
class StemSource:
    """Working audio of one stem of one track, and where it belongs."""

    path: Path
    track_id: str
    track: str
    split: Split | None


@dataclass(frozen=True)
class ShardFormat:
    """The numbers that all rows of a set share."""

    stem: str
    sample_rate: int
    quantization_channels: int
    segment_length: int
    heldout_share: float


def write_shards(sources: Sequence[StemSource], folder: Path, fmt: ShardFormat) -> Manifest:
    """Quantize working audio into a shard set in an empty folder. Streams. Returns its manifest."""
    writers = {split: _SplitWriter(folder, split) for split in SPLITS}
    noise = _NoiseMeter(fmt.quantization_channels)
    tracks = []
    for source in sources:
        segments = list(_segments(source, fmt, noise))
        splits = split_segments(len(segments), source.split, fmt.heldout_share)
        for row, split in zip(segments, splits, strict=True):
            writers[split].add(row)
        length = sum(row["num_samples"] for row in segments)
        tracks.append(
            ShardTrack(track_id=source.track_id, track=source.track, split=source.split, num_samples=length)
        )
    return _write_manifest(
        folder, fmt, [f for w in writers.values() for f in w.close()], tracks, noise.snr_db
    )


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a shard set. Raises ShardFormatError where it is missing or not readable."""
    try:
        manifest = Manifest.model_validate(read_json(folder / MANIFEST))
    except (FileNotFoundError, NotADirectoryError):
        raise ShardFormatError(
            f"{folder}: no {MANIFEST}: not a shard set, or one whose writing was "
            "interrupted; prepare it again"
        ) from None
    except (ValueError, ValidationError) as error:
        raise ShardFormatError(
            f"{folder / MANIFEST}: not a manifest this version can read ({error}); prepare the shards again"
        ) from None
    return manifest


def read_shards(folder: Path, split: Split, columns: list[str] | None = None) -> pd.DataFrame:
    """The rows of a split in the order of tracks and time. Raises ShardFormatError on a wrong count."""
    manifest = read_manifest(folder)
    frames = [_read_file(folder, file, columns) for file in manifest.files if file.split == split]
    if not frames:
        return SCHEMA.empty_table().select(columns or SCHEMA.names).to_pandas()
    return pd.concat(frames, ignore_index=True)


def codes_of(row_codes: bytes, quantization_channels: int) -> Codes:
    """The codes of a row, (num_samples,), a read-only view of its bytes."""
    return np.frombuffer(row_codes, dtype=code_dtype(quantization_channels))


def _read_file(folder: Path, file: ShardFile, columns: list[str] | None) -> pd.DataFrame:
    path = folder / file.name
    try:
        frame = pq.read_table(path, columns=columns).to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise ShardFormatError(f"{path}: cannot be read ({error}); prepare the shards again") from None
    if len(frame) != file.num_segments:
        raise ShardFormatError(
            f"{path}: found {len(frame)} rows, the manifest says {file.num_segments}; "
            "prepare the shards again"
        )
    return frame


def _segments(source: StemSource, fmt: ShardFormat, noise: "_NoiseMeter") -> Iterator[dict[str, Any]]:
    """Rows of one track without their split, in time order."""
    start = 0
    for waveform in _cut(_working_blocks(source.path, fmt.sample_rate), fmt.segment_length):
        codes = encode_mu_law(waveform, fmt.quantization_channels)
        noise.add(waveform, codes)
        yield {
            "track_id": source.track_id,
            "track": source.track,
            "stem": fmt.stem,
            "start_sample": start,
            "num_samples": len(codes),
            "codes": codes.tobytes(),
            "level_db": level_db(float(np.mean(np.square(waveform, dtype=np.float64)))),
            "clipped_share": float((np.abs(waveform) >= CLIPPED_FROM).mean()),
        }
        start += len(codes)


def _working_blocks(path: Path, sample_rate: int) -> Iterator[NDArray[np.float32]]:
    """Working audio as mono blocks, (time,), at sample_rate; separated stems come wider and faster."""
    mono = (mix_down(block, 1) for block in read_blocks(path))
    for block in resample_blocks(mono, sample_rate_of(path), sample_rate, 1):
        yield block[:, 0]


def _cut(blocks: Iterable[NDArray[np.float32]], length: int) -> Iterator[NDArray[np.float32]]:
    """Blocks of any length as pieces of one length; the last may be shorter."""
    rest = np.zeros(0, np.float32)
    for block in blocks:
        rest = np.concatenate([rest, block])
        whole = len(rest) // length * length
        yield from rest[:whole].reshape(-1, length)
        rest = rest[whole:]
    if len(rest):
        yield rest


class _SplitWriter:
    """Parquet files of one split, a new one when one is full."""

    def __init__(self, folder: Path, split: Split) -> None:
        self.folder, self.split = folder, split
        self.files: list[ShardFile] = []
        self.rows: list[dict] = []
        self.writer: pq.ParquetWriter | None = None
        self.num_segments = self.num_samples = self.num_bytes = 0

    def add(self, row: dict) -> None:
        self.rows.append({**row, "split": self.split})
        self.num_segments += 1
        self.num_samples += row["num_samples"]
        self.num_bytes += len(row["codes"])
        if len(self.rows) >= ROWS_A_GROUP:
            self._flush()
        if self.num_bytes >= SHARD_BYTES:
            self._finish()

    def close(self) -> list[ShardFile]:
        if self.num_segments:
            self._finish()
        return self.files

    def _flush(self) -> None:
        if self.writer is None:
            self.writer = pq.ParquetWriter(
                self.folder / self._name(), SCHEMA, use_dictionary=TEXT_COLUMNS, compression="none"
            )
        if self.rows:
            self.writer.write_table(pa.Table.from_pylist(self.rows, SCHEMA))
        self.rows = []

    def _finish(self) -> None:
        self._flush()
        assert self.writer is not None
        self.writer.close()
        path = self.folder / self._name()
        self.files.append(
            ShardFile(
                name=path.name,
                split=self.split,
                digest=digest_file(path),
                num_segments=self.num_segments,
                num_samples=self.num_samples,
                num_bytes=path.stat().st_size,
            )
        )
        self.writer, self.num_segments, self.num_samples, self.num_bytes = None, 0, 0, 0

    def _name(self) -> str:
        return f"{self.split}-{len(self.files):05d}.parquet"


@dataclass
class _NoiseMeter:
    """Signal to quantization noise over all segments."""

    quantization_channels: int
    energy: float = 0.0
    noise: float = 0.0
    table: NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        self.table = decoding_table(self.quantization_channels)

    def add(self, waveform: NDArray[np.float32], codes: Codes) -> None:
        self.energy += float(np.square(waveform, dtype=np.float64).sum())
        self.noise += float(np.square(waveform - self.table[codes], dtype=np.float64).sum())

    @property
    def snr_db(self) -> float | None:
        return (
            round(10 * float(np.log10(self.energy / self.noise)), 2) if self.noise and self.energy else None
        )


def _write_manifest(
    folder: Path, fmt: ShardFormat, files: list[ShardFile], tracks: list[ShardTrack], snr_db: float | None
) -> Manifest:
    manifest = Manifest(
        stem=fmt.stem,
        sample_rate=fmt.sample_rate,
        quantization_channels=fmt.quantization_channels,
        segment_length=fmt.segment_length,
        quantization_snr_db=snr_db,
        files=files,
        tracks=tracks,
    )
    manifest = manifest.model_copy(update={"digest": digest_json(manifest.model_dump(exclude={"digest"}))})
    write_json(folder / MANIFEST, manifest.model_dump())
    return manifest
