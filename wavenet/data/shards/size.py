"""How large a shard set becomes, before it is written.

Knows nothing of tracks. The invariant: within a few percent of what the writer makes of music.
"""

from collections.abc import Iterable

from wavenet.audio.features import count_frames
from wavenet.audio.mulaw import code_dtype
from wavenet.data.shards.format import DIMS, NOTES

BYTES_A_NUMBER = 4
"""Float32 as it is: numbers that are heard in music do not compress."""
NOTE_BYTES_A_FRAME = 2
"""Of a roll, which is mostly zeros, and of the events beside it: 1.2 to 2.6 measured on rendered songs."""
BYTES_A_ROW = 30
"""Of all that is not code or feature, compressed: 19 to 28 measured."""


def estimate_bytes(
    num_samples: int,
    quantization_channels: int,
    segment_length: int,
    features: Iterable[str] = (),
    hop_length: int = 1,
) -> int:
    """Bytes of the Parquet files that hold so many samples in whole segments, with these features."""
    frame = sum(NOTE_BYTES_A_FRAME if name == NOTES else BYTES_A_NUMBER * DIMS[name] for name in features)
    return (
        num_samples * code_dtype(quantization_channels).itemsize
        + count_frames(num_samples, hop_length) * frame
        + -(-num_samples // segment_length) * BYTES_A_ROW
    )
