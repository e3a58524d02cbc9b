"""Working audio: any files in, one float32 WAV and its measures out, in bounded memory.

Knows nothing of songs or stems, nor of how a file is decoded. The invariants: levels are kept; several
files become one by plain sum; and digests are of samples, so that the same recording in another container
is the same.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wavenet.audio.decoding import (
    AUDIO_SUFFIXES,
    AudioFacts,
    AudioReader,
    AudioSource,
    open_audio,
    read_blocks,
    sample_rate_of,
)
from wavenet.audio.digests import SamplesHasher
from wavenet.audio.metering import (
    CLIPPED_FROM,
    ENVELOPE_SECONDS,
    EnvelopeMeter,
    Tally,
    envelope_hop,
    level_db,
)
from wavenet.audio.resampling import mix_down, resample_blocks, sum_blocks
from wavenet.audio.wav import open_wav
from wavenet.errors import AudioDecodeError
from wavenet.files import digest_json

__all__ = [
    "AUDIO_SUFFIXES",
    "CLIPPED_FROM",
    "ENVELOPE_SECONDS",
    "AudioFacts",
    "AudioSource",
    "AudioStats",
    "Waveform",
    "convert_audio",
    "envelope_hop",
    "level_db",
    "measure",
    "mix_down",
    "read_audio",
    "read_blocks",
    "resample_blocks",
    "sample_rate_of",
    "write_audio",
]

Waveform = NDArray[np.float32]

LOUDEST = 1e6
"""A peak of so many times full scale is damage, or integers that were stored as floats."""


@dataclass(frozen=True)
class AudioStats:
    """What working audio holds. Levels are of the converted samples, full scale = 0 dB."""

    source_digest: str  # of the decoded samples before conversion: the recording, not its container
    digest: str  # of the converted samples
    num_samples: int
    level_db: float  # RMS
    peak: float
    clipped_share: float
    facts: list[AudioFacts] = field(default_factory=list)  # of each file that went into it


def convert_audio(
    sources: Sequence[AudioSource],
    destination: Path,
    sample_rate: int,
    num_channels: int,
    downmix: str = "mean",
    quality: str = "HQ",
) -> tuple[AudioStats, NDArray[np.float32]]:
    """Decode, mix down, resample and sum files into one float32 WAV; levels are kept as they are.

    num_channels: 1 or 2, and downmix, as in `mix_down`; quality: of soxr. Files are lined up at their
    starts, and silent after their ends. Returns stats, and the envelope: the mean square of each frame of
    `envelope_hop` samples over all channels, (frames,). Streams: memory does not grow with length.
    Raises AudioDecodeError, and leaves no file then.
    """
    meter = Meter(sample_rate, num_channels)
    with ExitStack() as stack:
        readers = [DigestingReader(stack.enter_context(open_audio(source))) for source in sources]
        converted = [reader.convert(sample_rate, num_channels, downmix, quality) for reader in readers]
        with open_wav(destination, sample_rate, num_channels) as out:
            for block in sum_blocks(converted):
                meter.add(block)
                if not meter.peak <= LOUDEST:
                    raise AudioDecodeError(
                        f"{_names(sources)}: has a peak of {meter.peak:.1e} where full scale is 1; "
                        "export it again"
                    )
                out.write(block)
            if not meter.num_samples:
                raise AudioDecodeError(
                    f"{_names(sources)}: too short for one sample at {sample_rate} Hz; drop it"
                )
        digests = [reader.digest for reader in readers]
        source_digest = digests[0] if len(digests) == 1 else digest_json(digests)
        return meter.stats([reader.facts for reader in readers], source_digest), meter.envelope()


def read_audio(source: Path | AudioSource) -> tuple[Waveform, int]:
    """A whole file as (frames, channels) float32 and its sample rate. Raises AudioDecodeError."""
    with open_audio(source) as reader:
        return np.concatenate(list(reader.blocks())), reader.sample_rate


def write_audio(path: Path, waveform: Waveform, sample_rate: int) -> None:
    """Write (frames,) or (frames, channels) float32 as WAV, every bit kept.

    The same samples give the same bytes: libsndfile would put the time of day into a float WAV.
    """
    columns = waveform[:, None] if waveform.ndim == 1 else waveform
    with open_wav(path, sample_rate, columns.shape[1]) as out:
        out.write(np.ascontiguousarray(columns, np.float32))


def measure(waveform: Waveform, sample_rate: int) -> tuple[AudioStats, NDArray[np.float32]]:
    """Stats and envelope of a waveform, (frames, channels), that no file was converted to."""
    meter = Meter(sample_rate, waveform.shape[1])
    meter.add(np.ascontiguousarray(waveform, np.float32))
    return meter.stats(), meter.envelope()


class Meter:
    """Running stats and envelope of working audio."""

    def __init__(self, sample_rate: int, num_channels: int) -> None:
        self._tally, self._envelope = Tally(), EnvelopeMeter(sample_rate)
        self._hasher = SamplesHasher(sample_rate, num_channels)

    @property
    def num_samples(self) -> int:
        return self._tally.num_frames

    @property
    def peak(self) -> float:
        return self._tally.peak

    def add(self, block: Waveform) -> None:
        """Measure a block, (frames, channels), contiguous."""
        self._hasher.add(block)
        self._envelope.add(block)
        self._tally.add(block)

    def stats(self, facts: Sequence[AudioFacts] = (), source_digest: str | None = None) -> AudioStats:
        """Of all blocks, which are themselves the source if no other was converted to them."""
        return AudioStats(
            source_digest=source_digest or self._hasher.digest,
            digest=self._hasher.digest,
            num_samples=self.num_samples,
            level_db=level_db(self._envelope.energy / max(1, self._tally.num_values)),
            peak=self._tally.peak,
            clipped_share=self._tally.clipped_share,
            facts=list(facts),
        )

    def envelope(self) -> NDArray[np.float32]:
        """Of all blocks, see `convert_audio`."""
        return self._envelope.envelope()


class DigestingReader:
    """A source on its way to working audio, digested as it was decoded."""

    def __init__(self, reader: AudioReader) -> None:
        self._reader = reader
        self._hasher = SamplesHasher(reader.sample_rate, reader.num_channels)

    def convert(self, sample_rate: int, num_channels: int, downmix: str, quality: str) -> Iterator[Waveform]:
        """Blocks as `convert_audio` declares."""
        source_rate, width = self._reader.sample_rate, self._reader.num_channels
        width = num_channels if width == num_channels else 1  # resampled once, doubled after
        mixed = (mix_down(block, width, downmix) for block in self._digested_blocks())
        for block in resample_blocks(mixed, source_rate, sample_rate, width, quality):
            yield mix_down(block, num_channels)

    def _digested_blocks(self) -> Iterator[Waveform]:
        for block in self._reader.blocks():
            self._hasher.add(block)
            yield block

    @property
    def digest(self) -> str:
        """Of rate, channels and samples, once all were read."""
        return self._hasher.digest

    @property
    def facts(self) -> AudioFacts:
        return self._reader.facts


def _names(sources: Sequence[AudioSource]) -> str:
    return " + ".join(source.path.name for source in sources)
