"""A folder of damaged files: each is kept or set aside with a reason, whatever is wrong with it.

Every format that can be written here, cut off, hit by stray bits, lied about in its header, zeroed, with
garbage behind it or under another's suffix. Run with -s to see what became of each format.
"""

import io
import re
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from flows.doctor import examine_input
from flows.prepare import prepare_shards
from wavenet.data.shards.checker import verify_shards

RATE, SECONDS = 16000, 0.6
FIELDS_A_FORMAT, LIES_A_FIELD = 6, 2
CONFIG = """
ingest: {sample_rate: 8000, workers: 2}
segmentation: {segment_seconds: 0.2, heldout_share: 0.3}
model: {dilation_cycle: 5, num_cycles: 1}
"""

Damage = Callable[[bytes, np.random.Generator], bytes]


@dataclass(frozen=True)
class Field:
    """A number in a header: so many bytes, so far behind where a mark begins."""

    mark: bytes
    offset: int
    num_bytes: int


RIFF = [
    *(Field(b"fmt ", offset, size) for offset, size in ((8, 2), (10, 2), (12, 4), (20, 2), (22, 2))),
    Field(b"data", 4, 4),
    Field(b"RIFF", 4, 4),
]
MP4 = [
    *(Field(b"mdhd", offset, 4) for offset in (16, 20)),
    *(Field(b"mp4a", offset, 2) for offset in (20, 22, 28)),
    *(Field(b"stsz", offset, 4) for offset in (8, 12, 16)),
    Field(b"stco", 12, 4),
    Field(b"esds", 40, 2),
]
MATROSKA = [Field(b"\xb5\x88", 2, 8), Field(b"\x9f\x81", 2, 1), Field(b"\x44\x89\x88", 3, 8)]
OGG = [Field(b"OggS", 6, 8), Field(b"OggS", 26, 1)]


@dataclass(frozen=True)
class Format:
    """How a format is written, and the numbers in its header: rates, sizes, channels, lengths, depths."""

    suffix: str
    encode: Callable[[np.ndarray], bytes]
    fields: list[Field]


def by_soundfile(container: str, subtype: str) -> Callable[[np.ndarray], bytes]:
    def encode(waveform: np.ndarray) -> bytes:
        file = io.BytesIO()
        soundfile.write(file, waveform, RATE, format=container, subtype=subtype)
        return file.getvalue()

    return encode


def by_ffmpeg(container: str, codec: str, rate: int = RATE) -> Callable[[np.ndarray], bytes]:
    def encode(waveform: np.ndarray) -> bytes:
        file = io.BytesIO()
        with av.open(file, "w", format=container) as out:
            stream = out.add_stream(codec, rate=rate, layout="stereo")
            stream.bit_rate = 48000
            for at in range(0, len(waveform), 1024):
                columns = np.ascontiguousarray(waveform[at : at + 1024].T, np.float32)
                frame = av.AudioFrame.from_ndarray(columns, format="fltp", layout="stereo")
                frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
        return file.getvalue()

    return encode


FORMATS = {
    "wav-16": Format("wav", by_soundfile("WAV", "PCM_16"), RIFF),
    "wav-24": Format("wav", by_soundfile("WAV", "PCM_24"), RIFF),
    "wav-float": Format("wav", by_soundfile("WAV", "FLOAT"), RIFF),
    "wav-extensible": Format(
        "wav",
        by_soundfile("WAVEX", "PCM_16"),
        [*RIFF, Field(b"fmt ", 26, 2), Field(b"fmt ", 28, 4), Field(b"fmt ", 32, 2)],
    ),
    "rf64": Format(
        "rf64", by_soundfile("RF64", "PCM_16"), [*RIFF, *(Field(b"ds64", at, 8) for at in (8, 16, 24))]
    ),
    "aiff": Format(
        "aiff",
        by_soundfile("AIFF", "PCM_16"),
        [Field(b"COMM", 8, 2), Field(b"COMM", 10, 4), Field(b"COMM", 14, 2), Field(b"COMM", 16, 4)]
        + [Field(b"SSND", 4, 4), Field(b"SSND", 8, 4)],
    ),
    "au": Format("au", by_soundfile("AU", "PCM_16"), [Field(b".snd", at, 4) for at in range(4, 24, 4)]),
    "caf": Format(
        "caf",
        by_soundfile("CAF", "PCM_16"),
        [Field(b"desc", 12, 8), *(Field(b"desc", at, 4) for at in range(20, 44, 4)), Field(b"data", 4, 8)],
    ),
    "flac": Format(
        "flac",
        by_soundfile("FLAC", "PCM_16"),
        [Field(b"fLaC", offset, size) for offset, size in ((5, 3), (8, 2), (10, 2), (18, 3), (18, 8), (21, 5))],
    ),
    "ogg": Format(
        "ogg",
        by_soundfile("OGG", "VORBIS"),
        [*OGG, *(Field(b"\x01vorbis", at, size) for at, size in ((7, 4), (11, 1), (12, 4), (28, 1)))],
    ),
    "opus": Format(
        "opus",
        by_soundfile("OGG", "OPUS"),
        [*OGG, *(Field(b"OpusHead", at, n) for at, n in ((8, 1), (9, 1), (10, 2), (12, 4), (16, 2), (18, 1)))],
    ),
    "mp3": Format(
        "mp3",
        by_soundfile("MP3", "MPEG_LAYER_III"),
        [*(Field(mark, at, 4) for mark in (b"Xing", b"Info") for at in (4, 8, 12)), Field(b"\xff\xf3", 2, 2)],
    ),
    "m4a": Format("m4a", by_ffmpeg("ipod", "aac"), MP4),
    "mp4": Format("mp4", by_ffmpeg("mp4", "aac"), MP4),
    "aac": Format("aac", by_ffmpeg("adts", "aac"), [Field(b"\xff\xf1", at, 2) for at in (2, 3, 4)]),
    "wma": Format(
        "wma",
        by_ffmpeg("asf", "wmav2"),
        [Field(b"\x61\x01\x02\x00", at, size) for at, size in ((0, 2), (2, 2), (4, 4), (8, 4), (12, 2))]
        + [Field(b"\xa1\xdc\xab\x8c", at, size) for at, size in ((40, 8), (64, 8), (92, 4), (96, 4))],
    ),
    "webm": Format("webm", by_ffmpeg("webm", "libopus", 48000), MATROSKA),
    "mkv": Format("mkv", by_ffmpeg("matroska", "pcm_s16le"), [*MATROSKA, Field(b"\x62\x64\x81", 3, 1)]),
}


def truncate_header(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: int(rng.integers(1, 60))]


def truncate_middle(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: int(rng.integers(len(content) // 4, 3 * len(content) // 4))]


def truncate_end(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: -int(rng.integers(1, max(2, len(content) // 50)))]


def flip_header(content: bytes, rng: np.random.Generator) -> bytes:
    return flip_bits(content, rng.integers(0, min(64, len(content)), 3), rng)


def flip_middle(content: bytes, rng: np.random.Generator) -> bytes:
    return flip_bits(content, rng.integers(len(content) // 3, 2 * len(content) // 3, 8), rng)


def flip_everywhere(content: bytes, rng: np.random.Generator) -> bytes:
    return flip_bits(content, rng.integers(0, len(content), len(content) // 100), rng)


def flip_bits(content: bytes, places: np.ndarray, rng: np.random.Generator) -> bytes:
    flipped = np.frombuffer(content, np.uint8).copy()
    flipped[places] ^= (1 << rng.integers(0, 8, len(places))).astype(np.uint8)
    return flipped.tobytes()


def append_garbage(content: bytes, rng: np.random.Generator) -> bytes:
    return content + rng.bytes(3000)


def zero_middle(content: bytes, rng: np.random.Generator) -> bytes:
    start, end = len(content) // 3, len(content) // 2
    return content[:start] + bytes(end - start) + content[end:]


def zero_all_but_header(content: bytes, rng: np.random.Generator) -> bytes:
    return content[:100] + bytes(len(content) - 100)


def swap_halves(content: bytes, rng: np.random.Generator) -> bytes:
    return content[len(content) // 2 :] + content[: len(content) // 2]


DAMAGES: list[Damage] = [
    truncate_header, truncate_middle, truncate_end, flip_header, flip_middle, flip_everywhere,
    append_garbage, zero_middle, zero_all_but_header, swap_halves,
]  # fmt: skip


def lie(content: bytes, field: Field, rng: np.random.Generator) -> bytes | None:
    """A header with another number in a field: none, the least, the most, half of it, or one that is near."""
    place = content.find(field.mark)
    if place < 0:
        return None
    start, end = place + field.offset, place + field.offset + field.num_bytes
    truth, size = content[start:end], field.num_bytes
    near = bytes(byte ^ 3 if byte else 0 for byte in truth)
    lies = [bytes(size), b"\1".rjust(size, b"\0"), b"\1".ljust(size, b"\0"), b"\xff" * size,
            b"\x7f".ljust(size, b"\xff"), b"\x7f".rjust(size, b"\xff"), near]  # fmt: skip
    return content[:start] + lies[int(rng.integers(len(lies)))] + content[end:]


def restore_checksums(content: bytes) -> bytes:
    """Ogg pages with the checksums of what is in them (RFC 3533, 6): the lie is all that is wrong."""
    pages = bytearray(content)
    for start in [match.start() for match in re.finditer(b"OggS", content)]:
        num_segments = pages[start + 26]
        end = start + 27 + num_segments + sum(pages[start + 27 : start + 27 + num_segments])
        pages[start + 22 : start + 26] = bytes(4)
        pages[start + 22 : start + 26] = struct.pack("<I", ogg_checksum(bytes(pages[start:end])))
    return bytes(pages)


def ogg_checksum(page: bytes) -> int:
    checksum = 0
    for byte in page:
        checksum ^= byte << 24
        for _ in range(8):
            checksum = (checksum << 1 ^ (0x04C11DB7 if checksum & 0x80000000 else 0)) & 0xFFFFFFFF
    return checksum


def make_clip(seed: int) -> np.ndarray:
    """A plucked chord over quiet noise in two channels, another for each seed: (time, 2)."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(SECONDS * RATE)) / RATE
    chord = sum(np.sin(2 * np.pi * frequency * time) for frequency in rng.uniform(80, 2000, 5))
    plucked = 0.1 * chord * np.exp(-6 * (time % 0.2))
    return np.stack([plucked, 0.7 * plucked], axis=1) + rng.normal(0, 0.01, (len(time), 2))


def variants(name: str, seed: int) -> Iterator[tuple[str, bytes]]:
    """(file name, content) of everything that is done to a format; each has a clip of its own."""
    one, rng = FORMATS[name], np.random.default_rng(seed)

    def encode() -> bytes:
        return one.encode(make_clip(int(rng.integers(1 << 30))))

    for damage in DAMAGES:
        yield f"{name} {damage.__name__}.{one.suffix}", damage(encode(), rng)
    yield f"{name} swapped.{'mp3' if one.suffix != 'mp3' else 'wav'}", encode()
    fields = [field for field in one.fields if encode().find(field.mark) >= 0]
    for number in rng.permutation(len(fields))[:FIELDS_A_FORMAT]:
        for time in range(LIES_A_FIELD):
            content = lie(encode(), fields[number], rng)
            repaired = restore_checksums(content) if name in {"ogg", "opus"} else content
            yield f"{name} field {number} lie {time}.{one.suffix}", repaired


def write_variants(folder: Path, seed: int) -> int:
    """A folder of everything that is done to all formats, and two good files. Returns how many are not good."""
    folder.mkdir()
    for number in range(2):
        soundfile.write(folder / f"good {number}.wav", make_clip(number + (1 << 31)), RATE)
    damaged = [one for number, name in enumerate(FORMATS) for one in variants(name, seed + number)]
    for name, content in damaged:
        (folder / name).write_bytes(content)
    assert len({name for name, _ in damaged}) == len(damaged)
    return len(damaged)
