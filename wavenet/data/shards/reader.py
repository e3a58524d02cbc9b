"""From a shard set to codes and rows, on a disk or behind a URL.

Knows nothing of models. The invariant: rows come in the order of tracks and time, as many as the
manifest states.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from wavenet.audio.mulaw import Codes, code_dtype
from wavenet.data.shards.format import Manifest, ShardFile, make_schema, read_manifest
from wavenet.data.splits import Split
from wavenet.errors import ShardFormatError

PLACE = ["track_id", "track", "start_sample", "num_samples"]


def read_shards(folder: Path, split: Split, columns: list[str] | None = None) -> pd.DataFrame:
    """The rows of a split in the order of tracks and time. Raises ShardFormatError on a wrong count."""
    manifest = read_manifest(folder)
    schema = _select(manifest, columns)
    tables = [table for _, table in _tables(folder, manifest, split, schema)]
    return pa.concat_tables([schema.empty_table(), *tables]).to_pandas()


def read_codes(folder: Path, split: Split) -> tuple[pd.DataFrame, Codes]:
    """Where each segment of a split lies, and all codes in one array, (samples of the split,).

    The rows have track_id, track, start_sample, num_samples; their codes follow one another. Raises
    ShardFormatError on a wrong count.
    """
    manifest = read_manifest(folder)
    schema = _select(manifest, [*PLACE, "codes"])
    codes = np.empty(manifest.num_samples(split), code_dtype(manifest.quantization_channels))
    places, done = [], 0
    for file, table in _tables(folder, manifest, split, schema):
        _check_lengths(folder / file.name, file, table, codes.itemsize)
        for chunk in table.column("codes").chunks:
            values = _values(chunk, codes.dtype)
            codes[done : done + len(values)] = values
            done += len(values)
        places.append(table.select(PLACE).to_pandas())
    return pd.concat(places, ignore_index=True) if places else pd.DataFrame(columns=PLACE), codes


def read_parquet(path: Path, columns: list[str] | None = None) -> pa.Table:
    """A Parquet file, mapped where it lies on a disk, fetched whole where it does not."""
    source = pa.memory_map(str(path)) if isinstance(path, Path) and path.is_file() else None
    return pq.read_table(source or pa.BufferReader(path.read_bytes()), columns=columns)


def brief(error: Exception) -> str:
    """An error in one line; Arrow's go on with all columns there are."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _select(manifest: Manifest, columns: list[str] | None) -> pa.Schema:
    """Those columns of a set, all if none are named."""
    schema = make_schema(manifest.features, manifest.labels)
    return schema if columns is None else pa.schema([schema.field(name) for name in columns])


def _tables(
    folder: Path, manifest: Manifest, split: Split, schema: pa.Schema
) -> Iterator[tuple[ShardFile, pa.Table]]:
    for file in manifest.files:
        if file.split == split:
            yield file, _read_file(folder / file.name, file, schema)


def _read_file(path: Path, file: ShardFile, schema: pa.Schema) -> pa.Table:
    try:
        table = read_parquet(path, schema.names).select(schema.names)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise ShardFormatError(f"{path}: cannot be read ({brief(error)}); prepare the shards again") from None
    if table.schema.types != schema.types:
        raise ShardFormatError(
            f"{path}: found columns of {table.schema.types}, expected {schema.types}; "
            "prepare the shards again"
        )
    if len(table) != file.num_segments:
        raise ShardFormatError(
            f"{path}: found {len(table)} rows, the manifest says {file.num_segments}; "
            "prepare the shards again"
        )
    return table


def _check_lengths(path: Path, file: ShardFile, table: pa.Table, itemsize: int) -> None:
    """Refuse a file whose rows do not hold as many codes as they and the manifest say."""
    lengths = table.column("num_samples").to_numpy()
    sizes = pc.binary_length(table.column("codes")).to_numpy()
    if lengths.sum() != file.num_samples or not np.array_equal(sizes, lengths * itemsize):
        raise ShardFormatError(
            f"{path}: found {sizes.sum() / itemsize:.0f} codes in rows that state {lengths.sum()}, the "
            f"manifest says {file.num_samples}; prepare the shards again"
        )


def _values(rows: pa.BinaryArray, dtype: np.dtype) -> NDArray:
    """The bytes of consecutive rows as one array; a view."""
    _, offsets, data = rows.buffers()
    if data is None:
        return np.zeros(0, dtype)
    places = np.frombuffer(offsets, np.int32)[rows.offset : rows.offset + len(rows) + 1]
    return np.frombuffer(data, np.uint8)[places[0] : places[-1]].view(dtype)
