"""Audio files in and out, in bounded memory.

Decodes with libsndfile (wav, flac, ogg, opus, mp3, aiff), block by block. Knows nothing of songs
or stems. The invariant: what a reader yields is finite float32, or AudioDecodeError says why not.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io.wavfile
import soundfile
import soxr
from numpy.typing import NDArray

from wavenet.errors import AudioDecodeError
from wavenet.files import DIGEST_LENGTH, digest_bytes

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff"})
BLOCK_FRAMES = 1 << 18
CLIPPED_FROM = 0.999
SHORT_OF_HEADER = 0.99
"""A file that yields less than this share of the frames its header promises is truncated."""
MP3_ESTIMATE_OFF = 2304
"""Frames by which the length of an mp3 without a Xing header, an estimate, may be wrong."""
NO_LENGTH = 1 << 62
"""Frames from which on libsndfile means that the header does not state them."""
STREAMED_SIZES = (range(0x7FFF0000, 0x80000001), range(0xFFFF0000, 0x1_0000_0000))
"""Sizes that sox, ffmpeg and others write into a WAV whose end they could not know."""

Waveform = NDArray[np.float32]


@dataclass(frozen=True)
class AudioStats:
    """What a converted file holds. Levels are of the converted samples, full scale = 0 dB."""

    source_digest: str  # of the decoded samples before conversion: the recording, not its container
    digest: str  # of the converted samples
    num_samples: int
    level_db: float  # RMS
    peak: float
    clipped_share: float


def read_blocks(path: Path) -> Iterator[Waveform]:
    """Decoded blocks of a file, each (frames, channels) float32. Raises AudioDecodeError."""
    num_frames = 0
    try:
        with _Stream(path) as stream:
            _refuse_short_chunk(path, stream.extra_info)
            promised = stream.frames if stream.frames < NO_LENGTH else 0
            # never stream.blocks: where a file ends early, it yields whatever lay in memory
            while len(block := stream.read(BLOCK_FRAMES, dtype="float32", always_2d=True)):
                finite = np.isfinite(block).all(axis=1)
                if not finite.all():
                    seconds = (num_frames + int(finite.argmin())) / stream.samplerate
                    raise AudioDecodeError(
                        f"{path.name}: holds NaN or infinite samples at {seconds:.1f} s; export it again"
                    )
                num_frames += len(block)
                yield block
    except (soundfile.SoundFileError, OSError, TypeError) as error:
        raise AudioDecodeError(
            f"{path.name}: cannot be decoded as audio ({_reason(path, error)}); "
            "it may be damaged, truncated or not audio at all; copy or export it again"
        ) from None
    if num_frames == 0:
        raise AudioDecodeError(f"{path.name}: holds no samples; export it again or drop it")
    if num_frames < min(SHORT_OF_HEADER * promised, promised - MP3_ESTIMATE_OFF):
        raise AudioDecodeError(
            f"{path.name}: truncated: {num_frames} of {promised} frames are there; copy it again"
        )


def sample_rate_of(path: Path) -> int:
    """Sample rate of an audio file in Hz. Raises AudioDecodeError."""
    try:
        return int(soundfile.info(path).samplerate)
    except (soundfile.SoundFileError, OSError, TypeError) as error:
        raise AudioDecodeError(
            f"{path.name}: cannot be opened as audio ({_reason(path, error)}); "
            "expected wav, flac, ogg, opus, mp3 or aiff; export it again or drop it"
        ) from None


def convert_audio(source: Path, destination: Path, sample_rate: int, num_channels: int) -> AudioStats:
    """Decode, downmix, resample and write a file as float32 WAV; levels are kept as they are.

    num_channels: 1 (mean of all channels) or 2 (mono doubled; more than two: the mean doubled).
    Streams: memory does not grow with length. Raises AudioDecodeError.
    """
    source_rate = sample_rate_of(source)
    digest = hashlib.sha256(f"{source_rate}".encode())
    meter = _Meter()

    def digested(blocks: Iterable[Waveform]) -> Iterator[Waveform]:
        for block in blocks:
            digest.update(block.tobytes())
            yield block

    mixed = (mix_down(block, num_channels) for block in digested(read_blocks(source)))
    with soundfile.SoundFile(
        destination, "w", sample_rate, num_channels, subtype="FLOAT", format="WAV"
    ) as out:
        for block in resample_blocks(mixed, source_rate, sample_rate, num_channels):
            meter.add(block)
            out.write(block)
    if not meter.num_samples:
        raise AudioDecodeError(f"{source.name}: too short for one sample at {sample_rate} Hz; drop it")
    return meter.stats(digest.hexdigest()[:DIGEST_LENGTH])


def mix_down(block: Waveform, num_channels: int) -> Waveform:
    """(frames, any channels) to (frames, num_channels), as `convert_audio` declares."""
    if block.shape[1] == num_channels:
        return block
    mono = block.mean(axis=1, keepdims=True, dtype=np.float32)
    return np.repeat(mono, num_channels, axis=1)


def resample_blocks(
    blocks: Iterable[Waveform], source_rate: int, sample_rate: int, num_channels: int
) -> Iterator[Waveform]:
    """Resample a stream of (frames, channels) blocks with soxr, high quality."""
    if source_rate == sample_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(source_rate, sample_rate, num_channels, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros((0, num_channels), np.float32), last=True)


def read_audio(path: Path) -> tuple[Waveform, int]:
    """A whole file as (frames, channels) float32 and its sample rate. Raises AudioDecodeError."""
    return np.concatenate(list(read_blocks(path))), sample_rate_of(path)


def write_audio(path: Path, waveform: Waveform, sample_rate: int) -> None:
    """Write (frames,) or (frames, channels) float32 as WAV, every bit kept.

    The same samples give the same bytes: libsndfile would put the time of day into a float WAV.
    """
    scipy.io.wavfile.write(path, sample_rate, waveform)


def measure(waveform: Waveform) -> AudioStats:
    """Stats of a waveform, (frames, channels); the digest is of its samples."""
    meter = _Meter()
    meter.add(waveform)
    return meter.stats(digest_bytes(waveform.tobytes()))


class _Meter:
    """Running level, peak and clipped share of blocks."""

    def __init__(self) -> None:
        self.num_samples = self.num_values = self.num_clipped = 0
        self.energy, self.peak = 0.0, 0.0
        self.hasher = hashlib.sha256()

    def add(self, block: Waveform) -> None:
        if not block.size:
            return
        self.hasher.update(block.tobytes())
        magnitude = np.abs(block)
        self.num_samples += len(block)
        self.num_values += block.size
        self.num_clipped += int((magnitude >= CLIPPED_FROM).sum())
        self.energy += float(np.square(block, dtype=np.float64).sum())
        self.peak = max(self.peak, float(magnitude.max()))

    def stats(self, source_digest: str) -> AudioStats:
        count = max(1, self.num_values)
        return AudioStats(
            source_digest=source_digest,
            digest=self.hasher.hexdigest()[:DIGEST_LENGTH],
            num_samples=self.num_samples,
            level_db=level_db(self.energy / count),
            peak=self.peak,
            clipped_share=self.num_clipped / count,
        )


def level_db(power: float) -> float:
    """A mean square as dB of full scale, not below -120 (the floor of a 20-bit converter)."""
    return max(-120.0, 10 * float(np.log10(power))) if power > 0 else -120.0


class _Stream(soundfile.SoundFile):
    """A file read once, from start to end.

    soundfile seeks after each read of what it takes for seekable, to where it is already: that makes
    mp3 decoders stumble at every block, and fails where a header states no length.
    """

    def seekable(self) -> bool:
        return False


def _refuse_short_chunk(path: Path, log: str) -> None:
    """libsndfile shortens a truncated WAV or AIFF in silence; its log keeps both sizes."""
    found = re.search(r"^ ?(?:data|SSND) : (\d+) \(should be (\d+)\)", log, re.MULTILINE)
    if found is None:
        return
    stated, there = int(found[1]), int(found[2])
    if there < SHORT_OF_HEADER * stated and not any(stated in sizes for sizes in STREAMED_SIZES):
        raise AudioDecodeError(
            f"{path.name}: truncated: {there} of {stated} bytes of audio are there; copy it again"
        )


def _reason(path: Path, error: Exception) -> str:
    """Why a file does not open, without its path; libsndfile's own words mislead on the simple cases."""
    if not path.is_file():
        return "not a file" if path.exists() else "no such file"
    if not path.stat().st_size:
        return "the file is empty"
    text = str(error).rsplit(": ", 1)[-1].strip().rstrip(".")
    return "no MPEG audio found in it" if "possibly a pipe" in text else text or type(error).__name__
