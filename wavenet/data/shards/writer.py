"""From working audio to a shard set. Streams: memory does not grow with the length of a track.

Knows nothing of models or of how splits were decided. The invariant: rows lie on one grid, in the
order of tracks and time, and the manifest is written last.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wavenet.audio.quantization import NoiseMeter
from wavenet.data.segments import count_segments, keep_segments
from wavenet.data.shards.card import write_card
from wavenet.data.shards.format import (
    MANIFEST,
    Manifest,
    ShardTrack,
    label_columns,
    make_schema,
    manifest_text,
)
from wavenet.data.shards.frames import FrameReader
from wavenet.data.shards.rows import Columns, encode_chunk, make_table
from wavenet.data.shards.sources import ShardFormat, StemSource, count_samples, segment_chunks
from wavenet.data.shards.split_writer import SplitWriter
from wavenet.data.splits import ALL_SPLITS, Split, split_segments
from wavenet.files import write_text


def write_shards(sources: Sequence[StemSource], folder: Path, fmt: ShardFormat) -> Manifest:
    """Quantize working audio into a shard set in a folder of its own. Returns its manifest.

    Nothing is flushed to disk: `publish_folder` does that for the folder as a whole. Files that an earlier
    attempt left there, which was killed, are removed; what is no shard stays.
    """
    for left in folder.glob("*.parquet"):
        left.unlink()
    labels = sorted({name for source in sources for name in source.labels})
    columns = Columns(make_schema(fmt.feature_specs, labels), label_columns(labels))
    writers = {split: SplitWriter(folder, split, columns.schema) for split in ALL_SPLITS}
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
    write_text(folder / MANIFEST, manifest_text(manifest), flush=False)
    return manifest


def measure_noise(sources: Sequence[StemSource], fmt: ShardFormat) -> NoiseMeter:
    """The quantization noise of the set that `write_shards` would make of these, without making it."""
    noise = NoiseMeter(fmt.quantizer)
    for source in sources:
        keep, _ = _plan_segments(source, fmt)
        for start, chunk in segment_chunks(source, fmt):
            rows = _rows_of(start, chunk, fmt)
            if keep[rows].any():
                encode_chunk(chunk, start, source, fmt, keep[rows], noise)
    return noise


def _write_track(
    source: StemSource,
    fmt: ShardFormat,
    columns: Columns,
    writers: Mapping[Split, "SplitWriter"],
    noise: NoiseMeter,
) -> ShardTrack:
    keep, splits = _plan_segments(source, fmt)
    features = FrameReader(source, fmt)
    total = written = 0
    for start, chunk in segment_chunks(source, fmt):
        total += len(chunk)
        rows = _rows_of(start, chunk, fmt)
        frames = features.take(start, len(chunk))
        if keep[rows].any():
            codes = encode_chunk(chunk, start, source, fmt, keep[rows], noise)
            table, lengths = make_table(chunk, start, source, fmt, columns, frames, codes)
            for split, writer in writers.items():
                mine = keep[rows] & (splits[rows] == split)
                writer.add(table, mine, lengths)
                written += int(lengths[mine].sum())
    return ShardTrack(
        track_id=source.track_id,
        track=source.track,
        split=source.split,
        end_heldout=source.end_heldout,
        num_samples=written,
        total_samples=total,
        licence=source.licence,
    )


def _rows_of(start: int, chunk: NDArray[np.float32], fmt: ShardFormat) -> slice:
    first = start // fmt.segment_length
    return slice(first, first + count_segments(len(chunk), fmt.segment_length))


def _plan_segments(source: StemSource, fmt: ShardFormat) -> tuple[NDArray[np.bool_], NDArray[np.str_]]:
    """Whether each segment of a track is kept, and its split: of what is kept, the end is held out.

    One more than there may be: resampling may yield a sample more than was computed.
    """
    num_segments = max(1, count_segments(count_samples(source, fmt), fmt.segment_length))
    keep = np.ones(num_segments, bool)
    if source.kept is not None:
        keep = keep_segments(source.kept, num_segments, fmt.segment_length, fmt.sample_rate, lead=0)
    splits = np.full(num_segments, source.split, "<U8")
    splits[keep] = split_segments(int(keep.sum()), source.split, source.end_heldout, fmt.heldout_share)
    return np.append(keep, keep[-1]), np.append(splits, splits[-1])
