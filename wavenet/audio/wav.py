"""Float32 WAV, written block by block.

Knows nothing of where samples come from. The invariants: the same samples give the same bytes, however
they were cut into blocks; a file that is there states its true size; one that failed is gone.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

RIFF_LIMIT = 0xFFFF0000
"""Bytes of audio up to which 32 bits state the size; above come the values that mean 'not known'."""
BUFFER_BYTES = 1 << 20
_IEEE_FLOAT = 3
_UNKNOWN = 0xFFFFFFFF


def wav_header(num_bytes: int, sample_rate: int, num_channels: int) -> bytes:
    """The bytes before num_bytes of float32 audio.

    RIFF, or above RIFF_LIMIT its 64-bit form RF64. Room for the 64-bit sizes is kept in either (EBU Tech
    3306, 3.5), so that headers are of one length, and a multiple of 4.
    """
    frame_bytes = 4 * num_channels
    large = num_bytes > RIFF_LIMIT
    form = struct.pack(
        "<HHIIHH", _IEEE_FLOAT, num_channels, sample_rate, sample_rate * frame_bytes, frame_bytes, 32
    )
    num_frames = num_bytes // frame_bytes
    riff_bytes = 4 + (8 + 28) + (8 + len(form)) + (8 + 4) + 8 + num_bytes
    sizes = struct.pack("<QQQI", riff_bytes, num_bytes, num_frames, 0)
    return b"".join(
        [
            _chunk_head(b"RF64" if large else b"RIFF", _UNKNOWN if large else riff_bytes),
            b"WAVE",
            _chunk_head(b"ds64" if large else b"JUNK", len(sizes)),
            sizes if large else bytes(len(sizes)),
            _chunk_head(b"fmt ", len(form)),
            form,
            _chunk_head(b"fact", 4),
            struct.pack("<I", min(num_frames, _UNKNOWN)),
            _chunk_head(b"data", _UNKNOWN if large else num_bytes),
        ]
    )


def _chunk_head(name: bytes, size: int) -> bytes:
    return name + struct.pack("<I", size)


class WavWriter:
    """A float32 WAV under way, see `open_wav`."""

    def __init__(self, file: BinaryIO, sample_rate: int, num_channels: int) -> None:
        self._file, self._sample_rate, self._num_channels = file, sample_rate, num_channels
        self._num_bytes = 0
        self._file.write(self._header())

    def write(self, block: NDArray[np.float32]) -> None:
        """Append a block, (frames, channels), contiguous; every bit is kept."""
        data = block.astype("<f4", copy=False).reshape(-1).view(np.uint8)
        self._file.write(data.data)
        self._num_bytes += data.size

    def finish(self) -> None:
        """State the true size."""
        self._file.seek(0)
        self._file.write(self._header())
        self._file.flush()

    def _header(self) -> bytes:
        return wav_header(self._num_bytes, self._sample_rate, self._num_channels)


@contextmanager
def open_wav(path: Path, sample_rate: int, num_channels: int) -> Iterator[WavWriter]:
    """A WAV to write to. After an error in the `with` there is no file."""
    with path.open("wb", buffering=BUFFER_BYTES) as file:
        try:
            writer = WavWriter(file, sample_rate, num_channels)
            yield writer
            writer.finish()
        except BaseException:
            path.unlink(missing_ok=True)
            raise
