"""What FFmpeg decodes, through PyAV: m4a, wma, mp4, webm, mkv, ac3 and whatever else it knows.

Knows nothing of songs or of other decoders. The invariants: samples are float32 at the stream's own rate
and channels, whatever they are stored as; what is in the file alone decides, never its name, and no other
file or address is opened for it; damage and truncation are errors.

Import it where it is used: FFmpeg's libraries take their time to load.
"""

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, BinaryIO

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.stream import Discard
from numpy.typing import NDArray

from wavenet.audio.lengths import SHORT_OF_HEADER, ends_amid_ts_packet, falls_short, sizes_of_audio
from wavenet.errors import AudioDecodeError

CONTAINERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,dtshd,eac3,flac,flv,iff,matroska,mlp,mov,mp3,mpc,mpc8,mpeg,"
    "mpegts,nut,oga,ogg,oma,rm,shn,tak,truehd,tta,voc,w64,wav,wv"
)
"""Left out: raw formats that take any bytes for audio, and playlists, which open other files."""
STATING_LENGTH = frozenset(
    {"mov", "matroska", "flv", "avi", "ogg", "wav", "w64", "aiff", "caf", "flac", "tta", "wv", "ape"}
)
"""Containers whose length is stated, not guessed from the bit rate."""
LENGTH_OFF_SECONDS = 0.1
"""By which a stated length may be wrong: codec delay and padding are counted, or are not."""
LONGEST_PADDING = 4096
"""Frames that a codec may add to fill up its last packet."""
LONGEST_PACKET = 1 << 16
"""Bytes, more than any frame has of a format whose frames state their length."""
FULL_SCALE = {"u1": 2.0**7, "i2": 2.0**15, "i4": 2.0**31, "f4": 1.0, "f8": 1.0}

Waveform = NDArray[np.float32]


class FFmpegDecoder:
    """One audio stream of a file opened by FFmpeg, see `wavenet.audio.decoding.Decoder`."""

    def __init__(self, file: BinaryIO, name: str, stream: int) -> None:
        """stream: counted from 0 among the audio streams. Raises ValueError with the reason if FFmpeg finds
        no audio, AudioDecodeError if it is not that many streams, or damaged from the start."""
        self._file, self._name, self._num_decoded = file, name, 0
        self._last_packets: deque[Any] = deque(maxlen=2)
        self._ends_damaged = False
        self._container = _open_container(file)
        try:
            self._stream = _choose_stream(self._container, stream, name)
            codec = self._stream.codec_context
            self.codec = f"{_container_name(self._container)}/{codec.codec.canonical_name}"
            self.sample_rate, self.num_channels = int(codec.sample_rate), max(1, codec.layout.nb_channels)
            self._pieces = self._without_padding(self._decode())
            # what a container says of rate and channels may be half of the truth, as for HE-AAC
            self._rest = next(self._pieces, np.zeros((0, self.num_channels), np.float32))
        except BaseException:
            self._container.close()
            raise

    def seek(self, frame: int) -> bool:
        return False

    def read(self, num_frames: int) -> Waveform:
        pieces, missing = [self._rest[:num_frames]], num_frames - len(self._rest)
        self._rest = self._rest[num_frames:]
        while missing > 0 and (piece := next(self._pieces, None)) is not None:
            pieces.append(piece[:missing])
            self._rest = piece[missing:]
            missing -= len(piece)
        block = np.concatenate(pieces)
        if not len(block):
            self._refuse_early_end()
        return block

    def close(self) -> None:
        self._container.close()

    @property
    def _seconds(self) -> float:
        return self._num_decoded / max(1, self.sample_rate)

    def _decode(self) -> Iterator[Waveform]:
        """All frames of the stream. Raises AudioDecodeError for damage, unless it is of the last packet."""
        damage = None
        for packet in self._packets():
            if damage is not None and packet.size:
                raise damage
            try:
                frames = packet.decode()
            except (av.FFmpegError, ValueError) as error:
                damage = self._damaged(_words(error))
                continue
            for frame in frames:
                if packet.is_corrupt or frame.is_corrupt:
                    damage = self._damaged("FFmpeg had to conceal errors")
                yield self._samples_of(frame)
        if damage is not None and not self._num_decoded:
            raise damage
        self._ends_damaged = damage is not None

    def _packets(self) -> Iterator[Any]:
        try:
            for packet in self._container.demux(self._stream):
                if packet.size:
                    self._last_packets.append(packet)
                yield packet
        except (av.FFmpegError, ValueError) as error:
            raise self._damaged(_words(error)) from None

    def _samples_of(self, frame: AudioFrame) -> Waveform:
        form = (int(frame.sample_rate), int(frame.layout.nb_channels))
        if not self._num_decoded:
            self.sample_rate, self.num_channels = form
        elif form != (self.sample_rate, self.num_channels):
            raise AudioDecodeError(
                f"{self._name}: changes from {self.sample_rate} Hz and {self.num_channels} channels to "
                f"{form[0]} Hz and {form[1]} at {self._seconds:.1f} s; expected one of each; export it again"
            )
        try:
            samples = samples_of_frame(frame)
        except ValueError:  # from PyAV: s64 is all that is left out
            raise AudioDecodeError(
                f"{self._name}: its samples are {frame.format.name}; expected up to 32 bits or floats; "
                "export it again"
            ) from None
        self._num_decoded += len(samples)
        return samples

    def _without_padding(self, pieces: Iterator[Waveform]) -> Iterator[Waveform]:
        """The pieces without what fills up the last packet, where the container states the true length."""
        end, position = _stated_frames(self._container, self._stream), 0
        padding: list[Waveform] = []
        for piece in pieces:
            inside = len(piece) if end is None else max(0, end - position)
            position += len(piece)
            if inside:
                yield piece[:inside]
            if inside < len(piece):
                padding.append(piece[inside:])
            if end is not None and position - end > LONGEST_PADDING:  # no padding: what is stated is wrong
                yield from padding
                end, padding = None, []

    def _damaged(self, words: str) -> AudioDecodeError:
        return AudioDecodeError(
            f"{self._name}: damaged or truncated after {self._seconds:.1f} s ({words}); "
            "copy or export it again"
        )

    def _refuse_early_end(self) -> None:
        """Raise AudioDecodeError if the file ends before its end, as far as anything in it tells."""
        found, sizes = None, sizes_of_audio(self._file)
        stated = _stated_seconds(self._container, self._stream)
        if sizes is not None and falls_short(*sizes):
            found = f"{sizes[0]} of {sizes[1]} bytes of audio are there"
        elif stated and self._seconds < min(SHORT_OF_HEADER * stated, stated - LENGTH_OFF_SECONDS):
            found = f"{self._seconds:.1f} of {stated:.1f} s are there"
        elif sizes is None and not stated and self._ends_amid_a_frame():
            found = f"its last frame, at {self._seconds:.1f} s, is cut off"
        if found is not None:
            raise AudioDecodeError(f"{self._name}: truncated: {found}; copy it again")

    def _ends_amid_a_frame(self) -> bool:
        """Whether the last packet is but the first part of one. A cut between two frames cannot be told.

        A tag or padding behind the audio begins unlike a frame, or makes the last packet longer.
        """
        if self.codec.startswith("mpegts/") and ends_amid_ts_packet(self._file):
            return True
        packets = [bytes(packet) for packet in self._last_packets]
        if not packets or packets[0][:2] != packets[-1][:2]:
            return False
        length = _length_by_header(self._stream.codec_context, packets[-1])
        if not length and self._ends_damaged:  # as of ac3 and dts, whose frames are all of one length
            length = len(packets[0])
        return len(packets[-1]) < length


def samples_of_frame(frame: AudioFrame) -> Waveform:
    """The samples of a frame as (frames, channels) float32, full scale = 1."""
    values = frame.to_ndarray()
    columns = values.T if frame.format.is_planar else values.reshape(-1, frame.layout.nb_channels)
    samples = np.ascontiguousarray(columns, dtype=np.float32)
    if values.dtype == np.uint8:
        samples -= np.float32(FULL_SCALE["u1"])
    samples *= np.float32(1 / FULL_SCALE[values.dtype.str[1:]])
    return samples


def _open_container(file: BinaryIO) -> Any:
    file.seek(0)
    options = {"fd": str(file.fileno()), "format_whitelist": CONTAINERS, "protocol_whitelist": "fd"}
    try:
        return av.open("fd:", options=options, metadata_errors="ignore")
    except (av.FFmpegError, ValueError) as error:
        raise ValueError(_words(error)) from None


def _choose_stream(container: Any, number: int, name: str) -> Any:
    """The audio stream of that number; the container is told to leave out all others."""
    streams = container.streams.audio
    if not streams:
        raise ValueError("no audio stream in it")
    if not 0 <= number < len(streams):
        raise AudioDecodeError(
            f"{name}: audio stream {number} is asked for, but they are 0 to {len(streams) - 1}; "
            "ask for one of these or drop it"
        )
    chosen = streams[number]
    if chosen.codec_context is None:
        raise ValueError("its audio is encrypted, or in a codec that FFmpeg does not know")
    for stream in container.streams:
        if stream.index != chosen.index:
            stream.discard = Discard.all
    chosen.codec_context.thread_count = 1
    chosen.codec_context.options = {"err_detect": "crccheck"}
    return chosen


def _container_name(container: Any) -> str:
    """One name of a container that goes by several; not by the file's, which may be anything."""
    names = container.format.name.split(",")
    return "mp4" if "mp4" in names else names[0]


def _stated_frames(container: Any, stream: Any) -> int | None:
    """The length of an MP4's stream in frames, where it is stated to the frame."""
    if "mp4" not in container.format.name.split(",") or not stream.duration:
        return None
    num_frames = stream.duration * stream.time_base * stream.codec_context.sample_rate
    return int(num_frames) if Fraction(num_frames).denominator == 1 else None


def _stated_seconds(container: Any, stream: Any) -> float | None:
    """The length of a stream as its container states it. Where only that of all its streams is, none."""
    if not STATING_LENGTH.intersection(container.format.name.split(",")):
        return None
    if (tag := stream.metadata.get("DURATION")) is not None:  # Matroska's, of one track
        return _seconds_of_tag(tag)
    if stream.duration:
        return float(stream.duration * stream.time_base)
    alone = len(container.streams) == 1 and container.duration
    return container.duration / av.time_base if alone else None


def _length_by_header(codec: Any, packet: bytes) -> int:
    """Bytes of a packet as its own header states them, 0 where it states none.

    A parser of FFmpeg's that is given the packet and zeros behind it cuts off as much as the header says.
    """
    try:
        parsed = codec.parse(packet + bytes(LONGEST_PACKET))
    except (av.FFmpegError, ValueError):  # no parser for a codec without headers of its own
        return 0
    return parsed[0].size if parsed else 0


def _seconds_of_tag(tag: str) -> float | None:
    """Seconds of a duration such as 00:03:20.500000000."""
    try:
        hours, minutes, seconds = tag.split(":")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    except ValueError:
        return None


def _words(error: Exception) -> str:
    """FFmpeg's reason, without the file."""
    text = getattr(error, "strerror", None) or str(error)
    if text.startswith("Error number") or text == "Operation not permitted":  # of FFmpeg's own count
        return "its decoder cannot read it"
    return text.strip().rstrip(".") or type(error).__name__
