"""Rows of consecutive segments as one Arrow table. Knows nothing of files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wavenet.audio.io import CLIPPED_FROM, level_db
from wavenet.audio.mulaw import Codes
from wavenet.audio.quantization import NoiseMeter
from wavenet.data.scores import Note, note_events
from wavenet.data.shards.format import NOTE_EVENT, NOTE_EVENTS, NOTES
from wavenet.data.shards.sources import ShardFormat, StemSource, Waveform
from wavenet.files import digest_bytes


@dataclass(frozen=True)
class Columns:
    """All columns of a set, and that of each label."""

    schema: pa.Schema
    of_labels: Mapping[str, str]


def encode_chunk(
    chunk: Waveform,
    start: int,
    source: StemSource,
    fmt: ShardFormat,
    keep: NDArray[np.bool_],
    noise: NoiseMeter,
) -> Codes:
    """The codes of consecutive segments. keep: (segments,); the noise of those that are kept is added."""
    seed = _seed(source, fmt.stem, start) if fmt.quantizer.dither else None
    codes = fmt.quantizer.encode(chunk, seed=seed)
    kept = slice(None) if keep.all() else np.repeat(keep, fmt.segment_length)[: len(chunk)]
    noise.add(chunk[kept], codes[kept])
    return codes


def make_table(
    chunk: Waveform,
    start: int,
    source: StemSource,
    fmt: ShardFormat,
    columns: Columns,
    frames: dict[str, NDArray],
    codes: Codes,
) -> tuple[pa.Table, NDArray[np.int64]]:
    """The rows of consecutive segments, and their lengths in samples. codes: see `encode_chunk`."""
    starts = np.arange(0, len(chunk), fmt.segment_length)
    ends = np.append(starts[1:], len(chunk))
    texts = {"track_id": source.track_id, "track": source.track, "stem": fmt.stem, "split": source.split}
    values = {
        **{name: repeat_text(text, len(starts)) for name, text in texts.items()},
        "start_sample": pa.array(start + starts),
        "num_samples": pa.array((ends - starts).astype(np.int32)),
        "codes": _binary(codes, np.append(starts, len(chunk)) * codes.itemsize),
        "level_db": pa.array(_levels(chunk, starts, ends)),
        "clipped_share": pa.array(_clipped_shares(chunk, starts, ends)),
    }
    for label, column in columns.of_labels.items():
        values[column] = repeat_text(source.labels.get(label), len(starts))
    values |= _feature_columns(frames, start + starts, start + ends, fmt, source)
    return pa.table([values[name] for name in columns.schema.names], columns.schema), ends - starts


def _seed(source: StemSource, stem: str, start: int) -> int:
    """The dither's seed, of the place: the same each time, and of its own for each stem of a track."""
    return int(digest_bytes(f"{source.track_id} {stem} {start}".encode())[:15], 16)


def repeat_text(text: str | None, count: int) -> pa.Array:
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
