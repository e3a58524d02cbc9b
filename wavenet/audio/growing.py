"""Mono audio files that grow: valid whenever anybody looks, and gone on with, whatever ended their writer.

Knows nothing of where samples come from. The invariants: audio is written before the header that counts it,
so a file read at any time holds whole samples and nothing else; and what a file holds does not depend on
how it was cut into blocks, nor on how often its writer was ended in between.
"""

import os
import struct
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from wavenet.audio.wav import wav_header
from wavenet.errors import AudioDecodeError, ConfigError
from wavenet.locks import try_to_hold

Waveform = NDArray[np.float32]
FRAME_LENGTH = 4096
"""Samples of a FLAC frame."""
SUFFIXES = (".wav", ".flac")
NOTHING = np.zeros(0, np.float32)


class Mark(NamedTuple):
    """How far a file is on disk. num_samples: given to it; num_bytes: of it, with what of them is written."""

    num_samples: int
    num_bytes: int


class At(NamedTuple):
    """Where a writer is: replaced as a whole, so that whatever interrupts it finds this and the file agree.

    num_samples: that the header counts; num_bytes: of the file; waiting: samples that are not written yet.
    """

    num_samples: int
    num_bytes: int
    waiting: Waveform


def check_suffix(path: Path) -> None:
    """Raises ConfigError for a file of another kind."""
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{path}: expected a name that ends with {' or '.join(SUFFIXES)}")


def grow_audio(
    path: Path, sample_rate: int, mark: Mark | None = None, waiting: Waveform = NOTHING
) -> "GrowingFile":
    """A new file, WAV in float32 or FLAC in 24 bits by its suffix; or one gone on with at a mark.

    waiting: the last `count_waiting` samples before the mark. Raises ConfigError on another suffix, where
    there is such a file already, or another process is at it; AudioDecodeError where less is there than
    the mark says.
    """
    check_suffix(path)
    kind = GrowingWav if path.suffix.lower() == ".wav" else GrowingFlac
    return kind(path, sample_rate, mark, waiting)


def count_waiting(path: Path, num_samples: int) -> int:
    """How many of so many samples the file at a path does not hold yet, until more come or it is finished."""
    return num_samples % FRAME_LENGTH if path.suffix.lower() == ".flac" else 0


def read_samples(path: Path, start: int, stop: int) -> Waveform:
    """Samples start to stop of a finished file, (time,) float32. Raises AudioDecodeError if it has fewer."""
    try:
        with soundfile.SoundFile(path) as file:
            file.seek(start)
            waveform = file.read(stop - start, dtype="float32")
    except soundfile.SoundFileError as error:
        raise AudioDecodeError(f"{path}: cannot be read from sample {start} on ({error})") from None
    if len(waveform) < stop - start:
        raise AudioDecodeError(
            f"{path}: ends at sample {start + len(waveform)}; expected {stop} or more: it was cut short, "
            "make it again"
        )
    return waveform


class GrowingFile:
    """What both kinds share: bytes at the end first, then those at the start."""

    def __init__(self, path: Path, sample_rate: int, mark: Mark | None, waiting: Waveform) -> None:
        self.path, self.sample_rate = path, sample_rate
        self.at = At(0, 0, NOTHING)
        self._handle: int | None = None
        if mark and mark.num_bytes:
            self._cut_back(mark, waiting)
            return
        if mark is None and path.exists():
            raise ConfigError(f"{path}: is there already; name another file, or delete it")
        path.unlink(missing_ok=True)  # nothing of it is to be kept
        if mark:
            self.at = At(0, 0, waiting)

    @property
    def num_samples(self) -> int:
        """That were given to it."""
        return self.at.num_samples + len(self.at.waiting)

    def write(self, block: Waveform) -> None:
        """Append samples, (time,) in [-1, 1]."""
        raise NotImplementedError

    def finish(self) -> None:
        """Write what waits. More may follow only by opening the file at a mark."""
        raise NotImplementedError

    def header(self, num_samples: int) -> bytes:
        """The file's first bytes, when it holds so many samples; always as many bytes."""
        raise NotImplementedError

    def mark(self) -> Mark:
        """Flush to disk; with this mark, the file can be gone on with."""
        if self._handle is not None:
            os.fsync(self._handle)
        return Mark(self.num_samples, self.at.num_bytes)

    def close(self) -> None:
        """Leave the file as it is."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _append(self, data: bytes, num_samples: int, waiting: Waveform = NOTHING) -> None:
        """Add bytes that hold so many samples; then those are waiting."""
        handle = self._create() if self._handle is None else self._handle
        _write_at(handle, data, self.at.num_bytes)
        total = self.at.num_samples + num_samples
        _write_at(handle, self.header(total), 0)
        self.at = At(total, self.at.num_bytes + len(data), waiting)

    def _create(self) -> int:
        """The file appears with a header. Returns its handle."""
        header = self.header(0)
        temporary = self.path.with_name(f".{self.path.name[:64]}-{os.getpid()}")
        temporary.write_bytes(header)
        os.replace(temporary, self.path)
        self.at = self.at._replace(num_bytes=len(header))
        return self._open()

    def _open(self) -> int:
        self._handle = os.open(self.path, os.O_RDWR)
        if not try_to_hold(self._handle):
            self.close()
            raise ConfigError(f"{self.path}: another process is writing it; wait for its end")
        return self._handle

    def _cut_back(self, mark: Mark, waiting: Waveform) -> None:
        size = self.path.stat().st_size if self.path.exists() else 0
        if size < mark.num_bytes:
            raise AudioDecodeError(
                f"{self.path}: has {size} bytes, expected {mark.num_bytes} at least, as it was left; begin "
                "anew under another name"
            )
        handle = self._open()
        self.at = At(mark.num_samples - len(waiting), mark.num_bytes, waiting)
        _write_at(handle, self.header(self.at.num_samples), 0)
        os.ftruncate(handle, mark.num_bytes)


class GrowingWav(GrowingFile):
    """Float32 WAV: every bit is kept; above 4 GB it becomes an RF64."""

    def __init__(self, path: Path, sample_rate: int, mark: Mark | None, waiting: Waveform) -> None:
        super().__init__(path, sample_rate, mark, waiting)
        if self._handle is None:
            self._create()

    def write(self, block: Waveform) -> None:
        """Append samples."""
        self._append(np.ascontiguousarray(block, "<f4").tobytes(), len(block))

    def finish(self) -> None:
        """Nothing waits."""

    def header(self, num_samples: int) -> bytes:
        """As `wav_header`."""
        return wav_header(4 * num_samples, self.sample_rate, 1)


class GrowingFlac(GrowingFile):
    """FLAC of 24 bits, whole frames of one length and at the end a shorter one; there from the first on.

    Each frame is encoded by libsndfile as a file of its own and numbered here (RFC 9639, 9.1), for an encoder
    cannot take up another's file. No digest of the audio is stated, which the format allows.
    """

    def write(self, block: Waveform) -> None:
        """Append samples; what is less than a frame waits for more."""
        self.at = self.at._replace(waiting=np.concatenate([self.at.waiting, block]))
        while len(self.at.waiting) >= FRAME_LENGTH:
            self._write_frame(FRAME_LENGTH)

    def finish(self) -> None:
        """Write what waits, as the last frame."""
        if len(self.at.waiting):
            self._write_frame(len(self.at.waiting))

    def _write_frame(self, length: int) -> None:
        frame, rest = np.split(self.at.waiting, [length])
        number = self.at.num_samples // FRAME_LENGTH
        self._append(_number_frame(_encode_frame(frame, self.sample_rate), number), length, rest)

    def header(self, num_samples: int) -> bytes:
        """The marker and the metadata block that there has to be (RFC 9639, 8.2): one channel, 24 bits."""
        packed = self.sample_rate << 44 | 0 << 41 | 23 << 36 | num_samples
        stream_info = struct.pack(">HH6xQ16x", FRAME_LENGTH, FRAME_LENGTH, packed)
        return b"fLaC" + bytes([0x80]) + len(stream_info).to_bytes(3, "big") + stream_info


def _write_at(handle: int, data: bytes, place: int) -> None:
    """All of data, from a place in the file on."""
    while len(data):
        count = os.pwrite(handle, data, place)
        data, place = data[count:], place + count


def _encode_frame(waveform: Waveform, sample_rate: int) -> bytes:
    """One FLAC frame, numbered 0.

    Through a file of the system: soundfile writes to an object by calling back, where Ctrl-C is lost."""
    with tempfile.TemporaryFile() as file:
        clipped = np.clip(waveform, -1, 1)
        soundfile.write(file.fileno(), clipped, sample_rate, "PCM_24", format="FLAC", closefd=False)
        file.seek(0)
        data, place = file.read(), 4
    while True:
        last, size = data[place] & 0x80, int.from_bytes(data[place + 1 : place + 4], "big")
        place += 4 + size
        if last:
            return data[place:]


def _number_frame(frame: bytes, number: int) -> bytes:
    """The same frame as the number-th of a stream: its number and both checksums are other."""
    block_size, rate = frame[2] >> 4, frame[2] & 15
    explicit = {6: 1, 7: 2}.get(block_size, 0) + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    head = frame[:4] + _coded_number(number) + frame[5 : 5 + explicit]
    head += bytes([_checksum(head, 0x07, 8)])
    whole = head + frame[6 + explicit : -2]
    return whole + _checksum(whole, 0x8005, 16).to_bytes(2, "big")


def _coded_number(number: int) -> bytes:
    """As in UTF-8, extended to 31 bits."""
    if number < 0x80:
        return bytes([number])
    count = next(n for n in range(1, 6) if number < 1 << (6 * n + 6 - n))
    rest = [0x80 | number >> 6 * i & 0x3F for i in reversed(range(count))]
    return bytes([(0xFF00 >> count + 1) & 0xFF | number >> 6 * count, *rest])


def _checksum(data: bytes, polynomial: int, width: int) -> int:
    """Cyclic redundancy check, most significant bit first, from 0."""
    table, mask = _checksum_table(polynomial, width), (1 << width) - 1
    value = 0
    for byte in data:
        value = (value << 8 & mask) ^ table[value >> width - 8 ^ byte]
    return value


@lru_cache(maxsize=2)
def _checksum_table(polynomial: int, width: int) -> list[int]:
    table = []
    for byte in range(256):
        value = byte << width - 8
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value >> width - 1 else 0)) & (1 << width) - 1
        table.append(value)
    return table
