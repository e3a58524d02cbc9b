"""From working audio to a shard set. Streams: memory does not grow with the length of a track.

Knows nothing of models or of how splits were decided. The invariant: rows lie on one grid, in the
order of tracks and time, and the manifest is written last.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from wavenet.audio.features import extract_context, extract_features
from wavenet.audio.io import CLIPPED_FROM, level_db, mix_down, read_blocks, resample_blocks, sample_rate_of
from wavenet.audio.quantization import NoiseMeter, Quantizer
from wavenet.data.scores import Note, note_events, notes_roll
from wavenet.data.segments import count_segments, keep_segments
from wavenet.data.shards.card import write_card
from wavenet.data.shards.format import (
    DIMS,
    LABEL_PREFIX,
    MANIFEST,
    NOTE_EVENT,
    NOTE_EVENTS,
    NOTES,
    ROWS_A_GROUP,
    SAMPLES_A_GROUP,
    SHARD_BYTES,
    TEXT_COLUMNS,
    Feature,
    Manifest,
    ShardFile,
    ShardTrack,
    label_columns,
    make_schema,
    manifest_text,
)
from wavenet.data.splits import ALL_SPLITS, Split, split_segments
from wavenet.files import digest_bytes, digest_file, write_text

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


def write_shards(sources: Sequence[StemSource], folder: Path, fmt: ShardFormat) -> Manifest:
    """Quantize working audio into a shard set in an empty folder. Returns its manifest."""
    labels = sorted({name for source in sources for name in source.labels})
    columns = _Columns(make_schema(fmt.feature_specs, labels), label_columns(labels))
    writers = {split: _SplitWriter(folder, split, columns.schema) for split in ALL_SPLITS}
    noise = NoiseMeter(fmt.quantizer)
    tracks = [_write_track(source, fmt, columns, writers, noise) for source in sources]
    files = [file for writer in writers.values() for file in writer.close()]
    manifest = Manifest(
        stem=fmt.stem,
        sample_rate=fmt.sample_rate,
        quantization_channels=fmt.quantizer.quantization_channels,
        law=fmt.quantizer.law,
        dither=fmt.quantizer.dither,
        segment_length=fmt.segment_length,
        hop_length=fmt.hop_length,
        features=fmt.feature_specs,
        labels={name: sorted({s.labels[name] for s in sources if name in s.labels}) for name in labels},
        quantization_snr_db=None if noise.signal_to_noise_db is None else round(noise.signal_to_noise_db, 2),
        files=files,
        tracks=tracks,
    ).sealed()
    write_card(manifest, folder)
    write_text(folder / MANIFEST, manifest_text(manifest))
    return manifest


@dataclass(frozen=True)
class _Columns:
    """All columns of a set, and that of each label."""

    schema: pa.Schema
    of_labels: Mapping[str, str]


def _write_track(
    source: StemSource,
    fmt: ShardFormat,
    columns: _Columns,
    writers: Mapping[Split, "_SplitWriter"],
    noise: NoiseMeter,
) -> ShardTrack:
    keep, splits = _plan_segments(source, fmt)
    features = _FrameReader(source, fmt)
    start = written = 0
    for chunk in _cut(_stem_blocks(source, fmt), fmt.rows_a_group * fmt.segment_length):
        first = start // fmt.segment_length
        rows = slice(first, first + count_segments(len(chunk), fmt.segment_length))
        frames = features.take(start, len(chunk))
        if keep[rows].any():
            table, lengths = _make_table(chunk, start, source, fmt, columns, frames, noise)
            for split, writer in writers.items():
                mine = keep[rows] & (splits[rows] == split)
                writer.add(table, mine, lengths)
                written += int(lengths[mine].sum())
        start += len(chunk)
    return ShardTrack(
        track_id=source.track_id,
        track=source.track,
        split=source.split,
        end_heldout=source.end_heldout,
        num_samples=written,
        total_samples=start,
        licence=source.licence,
    )


def _plan_segments(source: StemSource, fmt: ShardFormat) -> tuple[NDArray[np.bool_], NDArray[np.str_]]:
    """Whether each segment of a track is kept, and its split: of what is kept, the end is held out.

    One more than there may be: resampling may yield a sample more than was computed.
    """
    num_segments = max(1, count_segments(_length(source, fmt), fmt.segment_length))
    keep = np.ones(num_segments, bool)
    if source.kept is not None:
        keep = keep_segments(source.kept, num_segments, fmt.segment_length, fmt.sample_rate, lead=0)
    splits = np.full(num_segments, source.split, "<U8")
    splits[keep] = split_segments(int(keep.sum()), source.split, source.end_heldout, fmt.heldout_share)
    return np.append(keep, keep[-1]), np.append(splits, splits[-1])


def _length(source: StemSource, fmt: ShardFormat) -> int:
    """Samples of the track at the rate of the shards, within a few where it is resampled."""
    return round(source.num_samples * fmt.sample_rate / sample_rate_of(source.path))


def _make_table(
    chunk: Waveform,
    start: int,
    source: StemSource,
    fmt: ShardFormat,
    columns: _Columns,
    frames: dict[str, NDArray],
    noise: NoiseMeter,
) -> tuple[pa.Table, NDArray[np.int64]]:
    """The rows of consecutive segments, and their lengths in samples."""
    starts = np.arange(0, len(chunk), fmt.segment_length)
    ends = np.append(starts[1:], len(chunk))
    seed = _seed(source, fmt.stem, start) if fmt.quantizer.dither else None
    codes = fmt.quantizer.encode(chunk, seed=seed)
    noise.add(chunk, codes)
    texts = {"track_id": source.track_id, "track": source.track, "stem": fmt.stem, "split": source.split}
    values = {
        **{name: _repeat(text, len(starts)) for name, text in texts.items()},
        "start_sample": pa.array(start + starts),
        "num_samples": pa.array((ends - starts).astype(np.int32)),
        "codes": _binary(codes, np.append(starts, len(chunk)) * codes.itemsize),
        "level_db": pa.array(_levels(chunk, starts, ends)),
        "clipped_share": pa.array(_clipped_shares(chunk, starts, ends)),
    }
    for label, column in columns.of_labels.items():
        values[column] = _repeat(source.labels.get(label), len(starts))
    values |= _feature_columns(frames, start + starts, start + ends, fmt, source)
    return pa.table([values[name] for name in columns.schema.names], columns.schema), ends - starts


def _seed(source: StemSource, stem: str, start: int) -> int:
    """The dither's seed, of the place: the same each time, and of its own for each stem of a track."""
    return int(digest_bytes(f"{source.track_id} {stem} {start}".encode())[:15], 16)


def _repeat(text: str | None, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(text, pa.string()), count)


def _binary(values: NDArray, offsets: NDArray[np.int64]) -> pa.Array:
    """Rows of bytes, no copy made."""
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(np.ascontiguousarray(values))]
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)


def _levels(chunk: Waveform, starts: NDArray, ends: NDArray) -> NDArray[np.float32]:
    """RMS of each segment in dB. All but the last are of one length."""
    whole, length = len(starts) - 1, int(ends[0] - starts[0])
    rows = chunk[: whole * length].reshape(whole, length)
    last = chunk[starts[-1] :]
    energies = np.append(np.einsum("ij,ij->i", rows, rows), np.dot(last, last))
    powers = energies.astype(np.float64) / (ends - starts)
    return np.array([level_db(power) for power in powers], np.float32)


def _clipped_shares(chunk: Waveform, starts: NDArray, ends: NDArray) -> NDArray[np.float32]:
    if max(chunk.max(), -chunk.min()) < CLIPPED_FROM:
        return np.zeros(len(starts), np.float32)
    shares = [float((np.abs(part) >= CLIPPED_FROM).mean()) for part in _parts(chunk, starts, ends)]
    return np.array(shares, np.float32)


def _parts(chunk: Waveform, starts: NDArray, ends: NDArray) -> Iterator[Waveform]:
    return (chunk[start:end] for start, end in zip(starts, ends, strict=True))


def _feature_columns(
    frames: dict[str, NDArray], starts: NDArray, ends: NDArray, fmt: ShardFormat, source: StemSource
) -> dict[str, pa.Array]:
    """Columns of the features, row by row as many frames as the segment has."""
    borders = np.append(starts, ends[-1]) - starts[0]
    offsets = -(-borders // fmt.hop_length)
    columns: dict[str, pa.Array] = {}
    for name, values in frames.items():
        steps = offsets * values.shape[1]
        if name == NOTES:
            columns[NOTES] = _binary(values, steps)
            columns[NOTE_EVENTS] = _event_rows(source.notes, starts, ends, fmt.sample_rate)
        else:
            flat = pa.array(values.reshape(-1).astype(np.float32, copy=False))
            columns[name] = pa.ListArray.from_arrays(pa.array(steps.astype(np.int32)), flat)
    return columns


def _event_rows(notes: list[Note], starts: NDArray, ends: NDArray, sample_rate: int) -> pa.Array:
    rows = [note_events(notes, a / sample_rate, b / sample_rate) for a, b in zip(starts, ends, strict=True)]
    return pa.array([[note._asdict() for note in row] for row in rows], pa.list_(NOTE_EVENT))


def _stem_blocks(source: StemSource, fmt: ShardFormat) -> Iterator[Waveform]:
    """Working audio as mono blocks, (time,), at the shards' rate, with the track's gain."""
    for block in _working_blocks(source.path, fmt):
        yield block if source.gain == 1 else np.float32(source.gain) * block


def _other_blocks(source: StemSource, fmt: ShardFormat) -> Iterator[Waveform]:
    """The sum of the track's other stems, silent where there are none."""
    streams = [_cut(_working_blocks(path, fmt), fmt.segment_length) for path in source.others]
    silence = _cut(_silence(_length(source, fmt) + fmt.segment_length), fmt.segment_length)
    for blocks in zip_longest(silence, *streams):
        there = [block for block in blocks if block is not None]
        total = np.zeros(max(map(len, there)), np.float32)
        for block in there:
            total[: len(block)] += np.float32(source.gain) * block
        yield total


def _silence(num_samples: int) -> Iterator[Waveform]:
    block = np.zeros(1 << 16, np.float32)
    for start in range(0, num_samples, len(block)):
        yield block[: num_samples - start]


def _working_blocks(path: Path, fmt: ShardFormat) -> Iterator[Waveform]:
    """Separated stems come wider and faster than the shards' audio."""
    mono = (mix_down(block, 1) for block in read_blocks(path))
    rate = sample_rate_of(path)
    for block in resample_blocks(mono, rate, fmt.sample_rate, 1, quality=fmt.resample_quality):
        yield block[:, 0]


def _cut(blocks: Iterable[Waveform], length: int) -> Iterator[Waveform]:
    """Blocks of any length as pieces of one length; the last may be shorter."""
    waiting: list[Waveform] = []
    num_waiting = 0
    for block in chain(blocks):
        waiting.append(block)
        num_waiting += len(block)
        if num_waiting >= length:
            joined = np.concatenate(waiting)
            whole = len(joined) // length * length
            yield from joined[:whole].reshape(-1, length)
            waiting, num_waiting = [joined[whole:]], len(joined) - whole
    if num_waiting:
        yield np.concatenate(waiting)


class _FrameReader:
    """The frames of a track's features, taken in order."""

    def __init__(self, source: StemSource, fmt: ShardFormat) -> None:
        self.fmt, self.notes = fmt, source.notes
        heard = [name for name in fmt.features if name not in (NOTES, "context")]
        self.streams: dict[str, Iterator[dict[str, NDArray]]] = {}
        if heard:
            own = _stem_blocks(source, fmt)
            self.streams["own"] = extract_features(own, fmt.sample_rate, fmt.hop_length, heard)
        if "context" in fmt.features:
            others = _other_blocks(source, fmt)
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


class _SplitWriter:
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
        chosen = chosen.set_column(place, "split", _repeat(self.split, len(chosen)))
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
