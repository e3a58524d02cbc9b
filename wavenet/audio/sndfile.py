"""What libsndfile decodes: wav, aiff, au, caf, flac, ogg, opus, mp3.

Knows nothing of songs or of other decoders. The invariant: a file that was cut short is told from one
that ends, wherever its format leaves a trace of it; what libsndfile gets wrong in silence is left to
another decoder.
"""

import re
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from wavenet.audio.lengths import SHORT_OF_HEADER, falls_short
from wavenet.errors import AudioDecodeError

MP3_COUNT_OFF = 2304
"""Frames by which the count in the header of an mp3 may be wrong; encoders count the header, or do not."""
NO_LENGTH = 1 << 62
"""Frames from which on libsndfile means that the header does not state them."""
SHORT_CHUNK = re.compile(
    r"^ *(?:data|SSND|Data Size|Riff size|riff) +: (\d+) \(should be (\d+)\)", re.MULTILINE
)
"""What libsndfile logs of a WAV, AIFF, AU, RF64 and W64 whose audio is shorter than stated."""
EXACT_SEEK = frozenset({"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC"})
"""Formats in which a frame can be gone to, if samples are stored one by one."""
PLAIN_SAMPLES = ("PCM", "FLOAT", "DOUBLE", "ULAW", "ALAW")
LONGEST_OGG_PAGE = 27 + 255 + 255 * 255

Waveform = NDArray[np.float32]


class _Stream(soundfile.SoundFile):
    """A file read once, from start to end.

    soundfile seeks after each read of what it takes for seekable, to where it is already: that makes
    mp3 decoders stumble at every block, and fails where a header states no length.
    """

    def seekable(self) -> bool:
        return False


class SoundDecoder:
    """A file opened by libsndfile, see `wavenet.audio.decoding.Decoder`."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        """Raises ValueError with the reason where libsndfile is not the one to decode the file."""
        try:  # by its number: libsndfile takes the suffix of a name for a format, and noise for audio
            self._sound = _Stream(file.fileno(), closefd=False)
        except soundfile.SoundFileError as error:
            raise ValueError(_words(error)) from None
        sound = self._sound
        if sound.subtype.startswith("MPEG") and not _states_length(file, sound.format):
            sound.close()
            raise ValueError("an mp3 whose header does not state its length")
        self._file, self._name, self._position = file, name, 0
        self.codec = f"{sound.format}/{sound.subtype}"
        self.sample_rate, self.num_channels = int(sound.samplerate), int(sound.channels)
        self._promised = sound.frames if sound.frames < NO_LENGTH else 0

    def seek(self, frame: int) -> bool:
        exact = self._sound.format in EXACT_SEEK and self._sound.subtype.startswith(PLAIN_SAMPLES)
        if not exact or not frame < self._promised:
            return False
        try:
            self._sound.seek(frame)
        except soundfile.SoundFileError as error:
            raise self._damaged(error, 0) from None
        self._position = frame
        return True

    def read(self, num_frames: int) -> Waveform:
        try:  # never blocks(): where a file ends early, it yields whatever lay in memory
            block = self._sound.read(num_frames, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise self._damaged(error, num_frames) from None
        self._position += len(block)
        if not len(block):
            self._refuse_early_end()
        return block

    def close(self) -> None:
        self._sound.close()

    def _damaged(self, error: soundfile.SoundFileError, num_frames: int) -> AudioDecodeError:
        start, end = (at / self.sample_rate for at in (self._position, self._position + num_frames))
        return AudioDecodeError(
            f"{self._name}: damaged or truncated between {start:.1f} s and {end:.1f} s ({_words(error)}); "
            "copy or export it again"
        )

    def _refuse_early_end(self) -> None:
        """Raise AudioDecodeError if the file ends before its end."""
        found = None
        if (sizes := _sizes_of_short_chunk(self._sound.extra_info)) is not None:
            found = f"{sizes[0]} of {sizes[1]} bytes of audio are there"
        elif self._position < min(SHORT_OF_HEADER * self._promised, self._promised - MP3_COUNT_OFF):
            found = f"{self._position} of {self._promised} frames are there"
        elif self._sound.format == "OGG" and not _ends_its_stream(self._file):
            found = f"its last page, at {self._position / self.sample_rate:.1f} s, does not end the stream"
        if found is not None:
            raise AudioDecodeError(f"{self._name}: truncated: {found}; copy it again")


def _sizes_of_short_chunk(log: str) -> tuple[int, int] | None:
    """Bytes there and bytes stated of truncated plain samples, which libsndfile shortens in silence.

    log: libsndfile's own, which keeps both.
    """
    found = SHORT_CHUNK.search(log)
    if found is None:
        return None
    stated, there = int(found[1]), int(found[2])
    return (there, stated) if falls_short(there, stated) else None


def _states_length(file: BinaryIO, container: str) -> bool:
    """Whether an mp3 begins with a count of its frames (Xing's header) that is of the whole file.

    Otherwise libsndfile guesses from the first frame, and stops at its guess: of an mp3 of varying
    rate it may leave out most. File position: moved, and put back.
    """
    if container != "MP3":  # MPEG audio in a WAV: there the guess is all there is
        return False
    position = file.tell()
    try:
        start, size = _skip_id3(file), file.seek(0, 2)
        file.seek(start)
        head = file.read(64)
    finally:
        file.seek(position)
    place = max(head.find(b"Xing"), head.find(b"Info"))
    if place < 0:
        return False
    flags, _, num_bytes = (int.from_bytes(head[place + at : place + at + 4], "big") for at in (4, 8, 12))
    has_frames, has_bytes = bool(flags & 1), bool(flags & 2)
    return has_frames and (not has_bytes or num_bytes >= 0.95 * (size - start))


def _skip_id3(file: BinaryIO) -> int:
    """Where the audio of an mp3 begins: after its ID3v2 tags."""
    start = 0
    while True:
        file.seek(start)
        head = file.read(10)
        if len(head) < 10 or head[:3] != b"ID3":
            return start
        size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
        start += 10 + size + (10 if head[5] & 0x10 else 0)


def _ends_its_stream(file: BinaryIO) -> bool:
    """Whether the last page of an Ogg file is whole and marked as the last of its stream (RFC 3533, 6)."""
    size = file.seek(0, 2)
    file.seek(max(0, size - 2 * LONGEST_OGG_PAGE))
    tail = file.read()
    page = tail.rfind(b"OggS\0")
    if page < 0 or page + 27 > len(tail):
        return page < 0  # more than a page of something else lies behind it: there is no telling
    lengths = tail[page + 27 : page + 27 + tail[page + 26]]
    return bool(tail[page + 5] & 4) and page + 27 + len(lengths) + sum(lengths) <= len(tail)


def _words(error: Exception) -> str:
    """libsndfile's reason, without the file."""
    text = getattr(error, "error_string", str(error)).removeprefix("Error :").strip().rstrip(".")
    if "possibly a pipe" in text:  # what it says of an mp3 without a header
        return "no MPEG audio found in it"
    return text or type(error).__name__
