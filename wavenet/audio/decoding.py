"""Audio files as streams of float32 blocks, whatever the container, and the facts of what they hold.

Knows nothing of songs or stems, nor of what becomes of the blocks. The invariants: what a reader yields
is finite float32, or AudioDecodeError says why not; and each file is decoded by one decoder, chosen by
what is in it, since decoders differ in what they cut off at its ends.
"""

import math
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from wavenet.audio.metering import Tally
from wavenet.audio.sndfile import SoundDecoder
from wavenet.errors import AudioDecodeError

AUDIO_SUFFIXES = frozenset(
    {
        *(".wav", ".wave", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".flac"),
        *(".ogg", ".oga", ".opus", ".mp3", ".mp2", ".m4a", ".m4b", ".mp4", ".m4v", ".mov", ".3gp", ".aac"),
        *(
            ".wma",
            ".asf",
            ".webm",
            ".weba",
            ".mkv",
            ".mka",
            ".ac3",
            ".eac3",
            ".dts",
            ".ape",
            ".wv",
            ".tta",
            ".amr",
        ),
    }
)
"""What is taken for audio in a folder; how a file is decoded depends on what is in it."""
BLOCK_FRAMES = 1 << 16
BLOCK_VALUES = 1 << 20
"""Of all channels: more than 16 of them come in shorter blocks."""
LOWEST_RATE, HIGHEST_RATE = 1000, 768000
"""Hz. A header that states less lies, and would make hours of minutes; no recorder goes faster."""
FOR_EVER = 1e9  # seconds, 31 years

Waveform = NDArray[np.float32]


@dataclass(frozen=True)
class AudioSource:
    """A file, or a part of one. start, end: seconds. stream: which audio stream of a container."""

    path: Path
    start: float = 0.0
    end: float | None = None
    stream: int = 0


@dataclass(frozen=True)
class AudioFacts:
    """What a file (or the part that was read) holds, as decoded: before downmix and resampling."""

    codec: str  # such as "WAV/PCM_16", "OGG/VORBIS", "mp4/aac"
    sample_rate: int
    num_channels: int
    num_frames: int
    peak: float
    clipped_share: float  # of all values, at full scale
    dc_offset: float  # mean of all values


class Decoder(Protocol):
    """An open file, read once from its start, or from a frame that was gone to before."""

    codec: str
    sample_rate: int
    num_channels: int

    def seek(self, frame: int) -> bool:
        """Go to a frame, exactly. Returns whether that was possible; if not, nothing has moved."""

    def read(self, num_frames: int) -> Waveform:
        """The next frames, (frames, channels): as many as asked, fewer before the end, none at it.

        Raises AudioDecodeError for damage, and at an end that is not the file's own.
        """

    def close(self) -> None:
        """Let go of the file."""


class AudioReader:
    """One pass over a source."""

    def __init__(self, source: AudioSource, decoder: Decoder) -> None:
        self.source, self._decoder, self._tally = source, decoder, Tally()
        self.sample_rate, self.num_channels = decoder.sample_rate, decoder.num_channels
        self._block_frames = max(1, min(BLOCK_FRAMES, BLOCK_VALUES // self.num_channels))
        if not LOWEST_RATE <= self.sample_rate <= HIGHEST_RATE:
            raise AudioDecodeError(
                f"{source.path.name}: states a rate of {self.sample_rate} Hz; expected {LOWEST_RATE} "
                f"to {HIGHEST_RATE}; export it again or drop it"
            )

    def blocks(self) -> Iterator[Waveform]:
        """Decoded blocks, each (frames, channels) float32: BLOCK_FRAMES of them, the last may be shorter.

        Raises AudioDecodeError.
        """
        first, last = self._frame_range()
        position = self._go_to(first)
        while position < last and len(block := self._decoder.read(min(self._block_frames, last - position))):
            if not self._tally.add(block):
                self._refuse_values(block, position)
            position += len(block)
            yield block
        if not self._tally.num_frames:
            self._refuse_emptiness(position)

    @property
    def facts(self) -> AudioFacts:
        """Of the blocks that were read."""
        return AudioFacts(
            codec=self._decoder.codec,
            sample_rate=self.sample_rate,
            num_channels=self.num_channels,
            num_frames=self._tally.num_frames,
            peak=self._tally.peak,
            clipped_share=self._tally.clipped_share,
            dc_offset=self._tally.dc_offset,
        )

    def _frame_range(self) -> tuple[int, int]:
        end = math.inf if self.source.end is None else self.source.end
        first, last = min(self.source.start, FOR_EVER), min(end, 2 * FOR_EVER)
        return round(first * self.sample_rate), round(last * self.sample_rate)

    def _go_to(self, frame: int) -> int:
        """Leave out what lies before a frame. Returns the frame that is next: an earlier one at the end."""
        if not frame or self._decoder.seek(frame):
            return frame
        position = 0
        while position < frame:
            num_read = len(self._decoder.read(min(self._block_frames, frame - position)))
            if not num_read:
                break
            position += num_read
        return position

    def _refuse_values(self, block: Waveform, position: int) -> None:
        place = position + int(np.isfinite(block).all(axis=1).argmin())
        raise AudioDecodeError(
            f"{self.source.path.name}: holds NaN or infinite samples at {place / self.sample_rate:.1f} s; "
            "export it again"
        )

    def _refuse_emptiness(self, num_frames: int) -> None:
        name, (first, last) = self.source.path.name, self._frame_range()
        if first == last:
            raise AudioDecodeError(
                f"{name}: is to be read from {self.source.start:g} s to {self.source.end:g} s, "
                "less than a sample; give a later end or drop it"
            )
        if first:
            raise AudioDecodeError(
                f"{name}: is to be read from {self.source.start:g} s, but ends at "
                f"{num_frames / self.sample_rate:g} s; give an earlier start or drop it"
            )
        raise AudioDecodeError(f"{name}: holds no samples; export it again or drop it")


@contextmanager
def open_audio(source: Path | AudioSource) -> Iterator[AudioReader]:
    """A reader of a file or a part of it. Raises AudioDecodeError."""
    source = source if isinstance(source, AudioSource) else AudioSource(source)
    _check_part(source)
    with _open_file(source.path) as file, closing(_choose_decoder(source, file)) as decoder:
        yield AudioReader(source, decoder)


def read_blocks(source: Path | AudioSource) -> Iterator[Waveform]:
    """Decoded blocks of a file or a part of it, see `AudioReader.blocks`. Raises AudioDecodeError."""
    with open_audio(source) as reader:
        yield from reader.blocks()


def sample_rate_of(source: Path | AudioSource) -> int:
    """Sample rate of an audio file in Hz. Raises AudioDecodeError."""
    with open_audio(source) as reader:
        return reader.sample_rate


def _check_part(source: AudioSource) -> None:
    start, end = source.start, math.inf if source.end is None else source.end
    if not 0 <= start < end or not math.isfinite(start):
        raise AudioDecodeError(
            f"{source.path.name}: is to be read from {start:g} s to {end:g} s; expected 0 <= start < end; "
            "correct them or drop it"
        )


def _open_file(path: Path) -> BinaryIO:
    try:
        if not path.is_file():  # opening a pipe would wait for ever
            raise _cannot_decode(path, "not a file" if path.exists() else "no such file")
        if not path.stat().st_size:
            raise _cannot_decode(path, "the file is empty")
        return path.open("rb", buffering=0)
    except OSError as error:
        raise _cannot_decode(path, error.strerror or str(error)) from None


def _choose_decoder(source: AudioSource, file: BinaryIO) -> Decoder:
    """libsndfile where it opens the file, FFmpeg where it does not. Raises AudioDecodeError."""
    reasons = []
    if source.stream == 0:
        try:
            return SoundDecoder(file, source.path.name)
        except ValueError as error:
            reasons.append(f"libsndfile: {error}")
    from wavenet.audio.ffmpeg import FFmpegDecoder  # its libraries take their time to load

    try:
        return FFmpegDecoder(file, source.path.name, source.stream)
    except ValueError as error:
        reasons.append(f"FFmpeg: {error}")
    raise _cannot_decode(source.path, "; ".join(reasons))


def _cannot_decode(path: Path, reason: str) -> AudioDecodeError:
    return AudioDecodeError(
        f"{path.name}: cannot be decoded as audio ({reason}); "
        "it may be damaged, truncated or not audio at all; copy or export it again"
    )
