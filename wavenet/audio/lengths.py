"""Whether a file holds as much as its chunks or packets state, of formats that FFmpeg shortens in silence.

Knows nothing of decoders. The invariant: what a file does not state, or states as unknown, is not guessed.
Sources: Apple's Core Audio Format specification 1.0; Microsoft's ASF specification 01.20.05, sections 2 to 5;
ISO/IEC 13818-1, 2.4.3 (transport packets).
"""

from dataclasses import dataclass
from typing import BinaryIO, Literal

SHORT_OF_HEADER = 0.99
"""A file that holds less than this share of what its header promises is truncated."""
STREAMED_SIZES = (range(0x7FFF0000, 0x80000001), range(0xFFFF0000, 0x1_0000_0000), range(1 << 62, 1 << 64))
"""Sizes that sox, ffmpeg and others write into a header when they cannot know the end; -1 is among them."""
MOST_CHUNKS = 1000
"""Before the one with the audio; a file of more is not walked through to its end."""
ASF_HEADER, ASF_DATA, ASF_PROPERTIES = (
    bytes.fromhex(guid)
    for guid in (
        "3026b2758e66cf11a6d900aa0062ce6c",
        "3626b2758e66cf11a6d900aa0062ce6c",
        "a1dcab8c47a9cf118ee400c00c205365",
    )
)
ASF_FLAGS = 88
"""Where the flags lie in ASF's file properties; the lowest says broadcast: no size is to be believed."""
ASF_SEARCHED = 1 << 20
"""Bytes in which the file properties are looked for; a picture of the cover may lie before them."""
TS_PACKETS = {188: 0, 192: 4, 204: 0}
"""Bytes of an MPEG transport stream's packets (plain, with a time stamp, with error correction), and where
in each the sync byte is."""
TS_SYNC = 0x47


@dataclass(frozen=True)
class Chunks:
    """How a format is cut into chunks: each a name, a size of 8 bytes, and its content."""

    audio: bytes  # the name of the chunk that holds it
    first: int  # where the first chunk begins
    order: Literal["big", "little"]
    includes_header: bool  # whether a size counts name and size too


CAF = Chunks(b"data", 8, "big", includes_header=False)
ASF = Chunks(ASF_DATA, 0, "little", includes_header=True)


def falls_short(there: int, stated: int) -> bool:
    """Whether so many bytes are clearly fewer than a header states, if what it states is a size."""
    return there < SHORT_OF_HEADER * stated and not any(stated in sizes for sizes in STREAMED_SIZES)


def sizes_of_audio(file: BinaryIO) -> tuple[int, int] | None:
    """Bytes there and bytes stated of the audio in a CAF or an ASF (wma), see `falls_short`.

    None where nothing is stated. File position: moved.
    """
    file.seek(0)
    head = file.read(16)
    if head.startswith(b"caff"):
        return _sizes_of_chunk(file, CAF)
    if head == ASF_HEADER and not _is_broadcast(file):
        return _sizes_of_chunk(file, ASF)
    return None


def ends_amid_ts_packet(file: BinaryIO) -> bool:
    """Whether an MPEG transport stream ends with the first part of a packet. File position: moved."""
    end = file.seek(0, 2)
    file.seek(max(0, end - 2048))
    tail = file.read()
    for size, lead in TS_PACKETS.items():
        last = len(tail) - end % size + lead
        if last < len(tail) and set(tail[last::-size]) == {TS_SYNC}:
            return True
    return False


def _sizes_of_chunk(file: BinaryIO, chunks: Chunks) -> tuple[int, int] | None:
    start, end, header_size = chunks.first, file.seek(0, 2), len(chunks.audio) + 8
    for _ in range(MOST_CHUNKS):
        if start + header_size > end:
            return None
        file.seek(start)
        header = file.read(header_size)
        name, size = header[:-8], int.from_bytes(header[-8:], chunks.order)
        size -= header_size if chunks.includes_header else 0
        start += header_size
        if name == chunks.audio:
            return end - start, size
        start += max(0, size)
    return None


def _is_broadcast(file: BinaryIO) -> bool:
    """Whether the header of an ASF says that it was written as it was sent, or says nothing of it."""
    file.seek(0)
    head = file.read(ASF_SEARCHED)
    place = head.find(ASF_PROPERTIES)
    flags = head[place + ASF_FLAGS :][:4] if place >= 0 else b"\xff"
    return bool(int.from_bytes(flags, "little") & 1)
