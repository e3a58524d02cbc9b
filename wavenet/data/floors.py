"""The quantization floor: how good a rate and a number of levels can sound at best, on given audio.

Knows nothing of models: whatever a model learns, it plays through this. The invariants: the figure of the
configured setting is the one that the shards will state; those of its neighbours, and all clips, are of the
same excerpts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from wavenet.audio.decoding import AudioSource
from wavenet.audio.io import level_db, mix_down, read_audio, write_audio
from wavenet.audio.quantization import NoiseMeter, Quantizer
from wavenet.data.shards.sources import ShardFormat, StemSource
from wavenet.data.shards.writer import measure_noise

NEIGHBOUR_RATES = (8000, 10000, 16000, 22050, 44100)
NEIGHBOUR_LEVELS = (64, 256, 1024, 65536)
EXCERPT_SECONDS, CLIP_SECONDS = 10.0, 5.0
LEAST_SNR_DB = 25.0
"""A configured setting that sounds worse at best is worth a warning: 256 mu-law levels reach 38 dB."""

QUIET_DB = -40.0
"""RMS from which down the steps near zero cost even 256 mu-law levels more than 2 dB."""

Waveform = NDArray[np.float32]


@dataclass(frozen=True)
class SummedFiles:
    """Some seconds of a stem: the files that are summed to it, and the gain of the track."""

    sources: list[AudioSource]
    gain: float = 1.0


@dataclass(frozen=True)
class Floor:
    """One setting on one stem. snr_db: signal to quantization noise, None where there is none (or no signal).

    configured: the setting that a run would use. clip: a WAV beside whatever tells of it. level_db: RMS of
    the excerpts, dB of full scale.
    """

    stem: str
    sample_rate: int
    quantization_channels: int
    law: str
    snr_db: float | None
    configured: bool
    clip: str  # what the setting makes of the first excerpt
    level_db: float | None = None
    overshoots: bool = False


def settings_around(sample_rate: int, quantization_channels: int) -> list[tuple[int, int]]:
    """(rate, levels) of the configured setting and its neighbours, each once."""
    rates = sorted({sample_rate, *NEIGHBOUR_RATES})
    levels = sorted({quantization_channels, *NEIGHBOUR_LEVELS})
    return [(rate, level) for rate in rates for level in levels]


def measure_floors(
    excerpts: Sequence[SummedFiles], tracks: Sequence[StemSource], fmt: ShardFormat, folder: Path
) -> list[Floor]:
    """The floor of every setting around that of the shards, its clip written into `folder`.

    tracks: all that the shards would hold, which the configured setting is measured on. The others are on
    excerpts of it, in the files that the user has, at whatever rate; their figures are moved by as much as
    the configured one differs between excerpts and whole. Raises AudioDecodeError.
    """
    originals = [[_read_mono(source, fmt.downmix) for source in excerpt.sources] for excerpt in excerpts]
    floors = []
    settings = settings_around(fmt.sample_rate, fmt.quantizer.quantization_channels)
    for rate, of_rate in groupby(settings, key=lambda setting: setting[0]):
        sounds = [
            np.float32(excerpt.gain) * _sum_files(files, rate, fmt.resample_quality)
            for excerpt, files in zip(excerpts, originals, strict=True)
        ]
        floors += [_measure_setting(sounds, rate, levels, fmt, folder) for _, levels in of_rate]
    return _move_to_whole(floors, _rounded(measure_noise(tracks, fmt).signal_to_noise_db))


def low_floor_notes(floors: Iterable[Floor]) -> list[str]:
    """Which stems cannot sound well as configured, whatever a model learns, why, and what to do."""
    return [
        f"{floor.stem}: sounds no better than {floor.snr_db:.1f} dB as configured: {_why_low(floor)}"
        for floor in floors
        if floor.configured and floor.snr_db is not None and floor.snr_db < LEAST_SNR_DB
    ]


def _why_low(floor: Floor) -> str:
    if floor.overshoots:
        return (
            "its peaks rise above full scale and are clipped; segmentation.normalize=peak lowers such tracks"
        )
    if floor.level_db is not None and floor.level_db < QUIET_DB:
        return (
            f"its audio is quiet, {floor.level_db:.0f} dBFS where it is loudest; "
            "segmentation.normalize raises tracks that are quiet as a whole"
        )
    return (
        f"{floor.quantization_channels} {floor.law} levels are few; raise quantization.quantization_channels"
    )


def _measure_setting(
    sounds: Sequence[Waveform], sample_rate: int, levels: int, fmt: ShardFormat, folder: Path
) -> Floor:
    """One setting on all sounds; what is heard of the first goes into a clip."""
    quantizer = Quantizer(fmt.quantizer.law, levels, fmt.quantizer.dither)
    noise, clip = NoiseMeter(quantizer), f"{sample_rate}-{levels}.wav"
    overshoot = 0.0
    for number, sound in enumerate(sounds):
        codes = quantizer.encode(sound, seed=number)
        noise.add(sound, codes)
        overshoot += float(np.square(np.maximum(np.abs(sound) - 1, 0)).sum(dtype=np.float64))
        if number == 0:
            heard = codes[: round(CLIP_SECONDS * sample_rate)]
            write_audio(folder / clip, quantizer.decode(heard), sample_rate)
    configured = (sample_rate, levels) == (fmt.sample_rate, fmt.quantizer.quantization_channels)
    snr_db, level = _rounded(noise.signal_to_noise_db), level_db(noise.energy / max(1, sum(map(len, sounds))))
    return Floor(
        stem=fmt.stem,
        sample_rate=sample_rate,
        quantization_channels=levels,
        law=quantizer.law,
        snr_db=snr_db,
        configured=configured,
        clip=clip,
        level_db=round(level, 2),
        overshoots=overshoot > noise.noise / 2,
    )


def _move_to_whole(floors: list[Floor], whole_db: float | None) -> list[Floor]:
    """Figures of the whole audio, from those of excerpts and the configured setting's on all of it.

    Noise keeps its distance to the signal (mu-law) or its level (linear): by either, all figures move alike.
    """
    here = next(floor for floor in floors if floor.configured)
    if whole_db is None or here.snr_db is None:
        return floors
    moved = whole_db - here.snr_db
    return [
        floor if floor.snr_db is None else replace(floor, snr_db=round(floor.snr_db + moved, 2))
        for floor in floors
    ]


def _sum_files(files: Sequence[tuple[Waveform, int]], sample_rate: int, quality: str) -> Waveform:
    """Mono waveforms of any rates, lined up at their starts."""
    parts = [soxr.resample(sound, rate, sample_rate, quality=quality) for sound, rate in files]
    total = np.zeros(max(map(len, parts)), np.float32)
    for part in parts:
        total[: len(part)] += part
    return total


def _read_mono(source: AudioSource, downmix: str) -> tuple[Waveform, int]:
    waveform, sample_rate = read_audio(source)
    return mix_down(waveform, 1, downmix)[:, 0], sample_rate


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
