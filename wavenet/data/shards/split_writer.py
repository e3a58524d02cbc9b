"""The Parquet files of one split. Knows nothing of how rows are made."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from wavenet.data.shards.format import (
    LABEL_PREFIX,
    ROWS_A_GROUP,
    SAMPLES_A_GROUP,
    SHARD_BYTES,
    TEXT_COLUMNS,
    ShardFile,
)
from wavenet.data.shards.rows import repeat_text
from wavenet.data.splits import Split
from wavenet.files import digest_file


class SplitWriter:
    """Parquet files of one split, a new one when one is full."""

    def __init__(self, folder: Path, split: Split, schema: pa.Schema) -> None:
        self.folder, self.split, self.schema = folder, split, schema
        self.files: list[ShardFile] = []
        self.writer: pq.ParquetWriter | None = None
        self.waiting: list[pa.Table] = []
        self.num_segments = self.num_samples = self.num_bytes = self.num_waiting = 0

    def add(self, table: pa.Table, rows: NDArray[np.bool_], lengths: NDArray[np.int64]) -> None:
        """Append the chosen rows of a table; they are of this split now."""
        if not rows.any():
            return
        chosen = table if rows.all() else table.filter(pa.array(rows))
        place = self.schema.get_field_index("split")
        chosen = chosen.set_column(place, "split", repeat_text(self.split, len(chosen)))
        self.waiting.append(chosen)
        self.num_segments += len(chosen)
        self.num_samples += int(lengths[rows].sum())
        self.num_waiting += int(lengths[rows].sum())
        self.num_bytes += chosen.nbytes
        if sum(map(len, self.waiting)) >= ROWS_A_GROUP or self.num_waiting >= SAMPLES_A_GROUP:
            self._flush()
        if self.num_bytes >= SHARD_BYTES:
            self._finish()

    def close(self) -> list[ShardFile]:
        if self.num_segments:
            self._finish()
        return self.files

    def _flush(self) -> None:
        """Write what waits as one row group; groups of few rows would be more index than codes."""
        if self.waiting:
            self._open().write_table(pa.concat_tables(self.waiting))
        self.waiting, self.num_waiting = [], 0

    def _open(self) -> pq.ParquetWriter:
        if self.writer is None:
            names = self.schema.names
            repeating = [name for name in names if name in TEXT_COLUMNS or name.startswith(LABEL_PREFIX)]
            self.writer = pq.ParquetWriter(
                self.folder / self._name(),
                self.schema,
                use_dictionary=repeating,
                # codes do not shrink enough to be worth it
                compression={**dict.fromkeys(names, "zstd"), "codes": "none"},
                write_statistics=[name for name in names if name != "codes"],
            )
        return self.writer

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
