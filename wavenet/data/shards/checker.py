"""Is a shard set what its manifest says, byte by byte and row by row?

Bytes first: only files that are to the byte what was written are looked into, for the others may make a
Parquet reader do anything. The invariant: a set without problems can be trained on as it is; one flipped
byte, one missing row, one foreign file is a problem.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from wavenet.audio.mulaw import code_dtype
from wavenet.data.shards.card import card_text
from wavenet.data.shards.format import (
    CARD,
    DIMS,
    MANIFEST,
    NOTES,
    TEXT_COLUMNS,
    Manifest,
    ShardFile,
    ShardTrack,
    label_columns,
    make_schema,
    manifest_text,
    read_manifest,
)
from wavenet.data.shards.reader import brief, read_parquet
from wavenet.data.splits import ALL_SPLITS
from wavenet.errors import ShardFormatError
from wavenet.files import digest_bytes

FOREIGN = "a foreign file; it is not in"


def verify_shards(folder: Path) -> list[str]:
    """What is wrong with a shard set, in words; nothing if it is whole. Raises nothing for bad files."""
    try:
        manifest = read_manifest(folder)
    except ShardFormatError as error:
        return [str(error)]
    return [
        *_check_manifest(folder, manifest),
        *_check_card(folder, manifest),
        *_check_files(folder, manifest),
    ]


def name_remedy(folder: Path, problems: Sequence[str]) -> str | None:
    """What mends a set with these problems; None for a whole one, and for a folder that is no set."""
    try:
        read_manifest(folder)
    except ShardFormatError:
        return None
    if not problems:
        return None
    if all(FOREIGN in problem for problem in problems):
        return f"move the foreign files out of {folder}"
    return f"delete {folder} and prepare again: what is missing is made again, to the byte"


def _check_manifest(folder: Path, manifest: Manifest) -> Iterator[str]:
    if (folder / MANIFEST).read_bytes() != manifest_text(manifest).encode():
        yield f"{MANIFEST}: its bytes are not those that were written"
    if manifest.digest != manifest.content_digest():
        yield f"{MANIFEST}: its digest is {manifest.digest}, its content gives {manifest.content_digest()}"
    for split in ALL_SPLITS:
        names = [file.name for file in manifest.files if file.split == split]
        if names != [f"{split}-{number:05d}.parquet" for number in range(len(names))]:
            yield f"{MANIFEST}: the files of {split} are not numbered in order: {', '.join(names)}"
    for feature in manifest.features:
        if feature.dims != DIMS[feature.name]:
            yield f"{MANIFEST}: {feature.name} has {feature.dims} values, expected {DIMS[feature.name]}"
    yield from _check_tracks(manifest)
    known = {MANIFEST, CARD, *(file.name for file in manifest.files)}
    for name in sorted(path.name for path in folder.iterdir()):
        if name not in known:
            yield f"{name}: {FOREIGN} {MANIFEST}"


def _check_tracks(manifest: Manifest) -> Iterator[str]:
    times = Counter(track.track_id for track in manifest.tracks)
    for track_id in (track_id for track_id, count in times.items() if count > 1):
        yield f"{MANIFEST}: track {track_id} is there {times[track_id]} times"
    for track in manifest.tracks:
        if track.num_samples > track.total_samples:
            yield (
                f"{MANIFEST}: {track.num_samples} samples of track {track.track_id}, which has "
                f"{track.total_samples}"
            )


def _check_card(folder: Path, manifest: Manifest) -> Iterator[str]:
    try:
        if (folder / CARD).read_bytes() != card_text(manifest).encode():
            yield f"{CARD}: not the card of this manifest"
    except OSError:
        yield f"{CARD}: the card is missing"


def _check_files(folder: Path, manifest: Manifest) -> Iterator[str]:
    rows = _RowChecker(manifest)
    whole = True
    for file in manifest.files:
        problem = _check_bytes(folder / file.name, file)
        if problem is None:
            yield from (f"{file.name}: {told}" for told in rows.check(folder / file.name, file))
        else:
            whole = False
            yield f"{file.name}: {problem}"
    if whole:
        yield from rows.check_counts()


def _check_bytes(path: Path, file: ShardFile) -> str | None:
    try:
        content = path.read_bytes()
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    if len(content) != file.num_bytes:
        return f"{len(content)} bytes, the manifest says {file.num_bytes}"
    digest = digest_bytes(content)
    return None if digest == file.digest else f"its bytes are not those that were written (digest {digest})"


class _RowChecker:
    """The rows of all files of a set, in order: what each says, and what they amount to."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.schema = make_schema(manifest.features, manifest.labels)
        self.tracks = {track.track_id: track for track in manifest.tracks}
        self.order = {track_id: number for number, track_id in enumerate(self.tracks)}
        self.counted = dict.fromkeys(self.tracks, 0)
        self.last: dict[str, tuple[int, int]] = {}
        self.labels: dict[str, set[str]] = {label: set() for label in manifest.labels}

    def check(self, path: Path, file: ShardFile) -> Iterator[str]:
        """What is wrong with the rows of a file."""
        try:
            table = read_parquet(path)
            table.validate(full=True)
        except (OSError, ValueError, pa.ArrowException) as error:
            yield f"not readable as Parquet ({brief(error)})"
            return
        if table.schema.names != self.schema.names or table.schema.types != self.schema.types:
            yield f"columns {table.schema.names}, expected {self.schema.names}"
            return
        labels = label_columns(self.manifest.labels)
        if gaps := [
            name
            for name in self.schema.names
            if table.column(name).null_count and name not in labels.values()
        ]:
            yield f"rows without {', '.join(gaps)}"
            return
        for label, column in labels.items():
            self.labels[label] |= {*table.column(column).unique().to_pylist()} - {None}
        yield from self._check_places(table, file)
        lengths = table.column("num_samples").to_numpy()
        yield from _check_codes(table, lengths, self.manifest)
        yield from _check_features(table, lengths, self.manifest)

    def check_counts(self) -> Iterator[str]:
        """What is wrong with the manifest's sums, once all files were looked into."""
        for track in self.manifest.tracks:
            if self.counted[track.track_id] != track.num_samples:
                found = self.counted[track.track_id]
                yield f"track {track.track_id}: {found} samples, the manifest says {track.num_samples}"
        for label, values in self.manifest.labels.items():
            if sorted(self.labels[label]) != values:
                yield f"label {label}: the values in the rows are not those of the manifest"

    def _check_places(self, table: pa.Table, file: ShardFile) -> Iterator[str]:
        """Which segments the rows are, and whether the manifest says the same of them."""
        rows = table.select([*TEXT_COLUMNS, "start_sample", "num_samples"]).to_pandas()
        if len(rows) != file.num_segments:
            yield f"{len(rows)} rows, the manifest says {file.num_segments}"
        if rows["num_samples"].sum() != file.num_samples:
            yield f"{rows['num_samples'].sum()} samples, the manifest says {file.num_samples}"
        if {*rows["split"]} - {file.split} or {*rows["stem"]} - {self.manifest.stem}:
            yield f"rows of another split or stem than {file.split}, {self.manifest.stem}"
        for track_id in rows.loc[~rows["track_id"].isin(self.tracks), "track_id"].unique():
            yield f"rows of track {track_id}, which the manifest does not know"
        for track_id, mine in rows[rows["track_id"].isin(self.tracks)].groupby("track_id", sort=False):
            self.counted[str(track_id)] += int(mine["num_samples"].sum())
            yield from _check_track(mine, self.tracks[str(track_id)], file, self.manifest.segment_length)
        places = zip(rows["track_id"].map(self.order).fillna(-1), rows["start_sample"], strict=True)
        for place in places:
            if place <= self.last.get(file.split, (-1, -1)):
                yield f"the segment at {place[1]} is out of order or there twice"
            self.last[file.split] = place


def _check_track(
    rows: pd.DataFrame, track: ShardTrack, file: ShardFile, segment_length: int
) -> Iterator[str]:
    """Rows of one track in one file: its name, its side of the split, its grid."""
    if {*rows["track"]} != {track.track}:
        yield f"track {track.track_id} has another name than in the manifest"
    if file.split != track.split and not (track.end_heldout and file.split == "heldout"):
        yield f"track {track.track_id} is of {track.split} in the manifest"
    starts, lengths = rows["start_sample"].to_numpy(), rows["num_samples"].to_numpy()
    expected = np.minimum(segment_length, track.total_samples - starts)
    if np.any(starts % segment_length) or np.any(starts < 0) or np.any(lengths != expected):
        yield f"track {track.track_id}: segments off the grid of {segment_length} samples"


def _check_codes(table: pa.Table, lengths: NDArray, manifest: Manifest) -> Iterator[str]:
    dtype = code_dtype(manifest.quantization_channels)
    for index, row in enumerate(table.column("codes")):
        codes = row.as_buffer()
        if len(codes) != lengths[index] * dtype.itemsize:
            yield f"row {index}: not one code of {dtype.itemsize} bytes a sample"
        elif len(codes) and np.frombuffer(codes, dtype).max() >= manifest.quantization_channels:
            yield f"row {index}: a code above {manifest.quantization_channels - 1}"


def _check_features(table: pa.Table, lengths: NDArray, manifest: Manifest) -> Iterator[str]:
    frames = -(-lengths.astype(np.int64) // manifest.hop_length)
    for feature in manifest.features:
        rows = table.column(feature.name)
        sizes = (pc.binary_length if feature.name == NOTES else pc.list_value_length)(rows)
        if not np.array_equal(sizes.to_numpy(), frames * feature.dims):
            yield f"{feature.name}: not {feature.dims} values a frame of {manifest.hop_length} samples"
