"""The quantization floor: how good a rate and a number of levels can sound at best, on given audio.

Knows nothing of models: whatever a model learns, it plays through this. The invariant: figure and clip
of a setting are of the same excerpts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from wavenet.audio.decoding import AudioSource
from wavenet.audio.io import mix_down, read_audio, write_audio
from wavenet.audio.quantization import NoiseMeter, Quantizer

NEIGHBOUR_RATES = (8000, 10000, 16000, 22050, 44100)
NEIGHBOUR_LEVELS = (64, 256, 1024, 65536)
EXCERPT_SECONDS, CLIP_SECONDS = 10.0, 5.0

Waveform = NDArray[np.float32]


@dataclass(frozen=True)
class Floor:
    """One setting on one stem. snr_db: signal to quantization noise, None where there is none (or no signal).

    configured: the setting that a run would use. clip: a WAV beside whatever tells of it.
    """

    stem: str
    sample_rate: int
    quantization_channels: int
    law: str
    snr_db: float | None
    configured: bool
    clip: str  # what the setting makes of the first excerpt


def settings_around(sample_rate: int, quantization_channels: int) -> list[tuple[int, int]]:
    """(rate, levels) of the configured setting and its neighbours, each once."""
    rates = sorted({sample_rate, *NEIGHBOUR_RATES})
    levels = sorted({quantization_channels, *NEIGHBOUR_LEVELS})
    return [(rate, level) for rate in rates for level in levels]


def measure_floors(
    stem: str, excerpts: Sequence[AudioSource], sample_rate: int, quantizer: Quantizer, folder: Path
) -> list[Floor]:
    """The floor of every setting around (sample_rate, quantizer), its clip written into `folder`.

    excerpts: parts of the user's own audio, at whatever rate it has. Raises AudioDecodeError.
    """
    originals = [_read_mono(excerpt) for excerpt in excerpts]
    settings = settings_around(sample_rate, quantizer.quantization_channels)
    floors = []
    for rate, of_rate in groupby(settings, key=lambda setting: setting[0]):
        resampled = [
            soxr.resample(sound, source_rate, rate, quality="HQ") for sound, source_rate in originals
        ]
        for _, levels in of_rate:
            one = Quantizer(quantizer.law, levels, quantizer.dither)
            clip = f"{rate}-{levels}.wav"
            snr_db = _pass_through(one, resampled, rate, folder / clip)
            here = (rate, levels) == (sample_rate, quantizer.quantization_channels)
            floors.append(Floor(stem, rate, levels, quantizer.law, snr_db, here, clip))
    return floors


def _pass_through(quantizer: Quantizer, sounds: list[Waveform], sample_rate: int, clip: Path) -> float | None:
    """Signal to quantization noise over all sounds, in dB; what is heard of the first goes into the clip."""
    noise = NoiseMeter(quantizer)
    for number, sound in enumerate(sounds):
        codes = quantizer.encode(sound, seed=number)
        noise.add(sound, codes)
        if number == 0:
            write_audio(clip, quantizer.decode(codes)[: round(CLIP_SECONDS * sample_rate)], sample_rate)
    return _rounded(noise.signal_to_noise_db)


def _read_mono(source: AudioSource) -> tuple[Waveform, int]:
    waveform, sample_rate = read_audio(source)
    return mix_down(waveform, 1)[:, 0], sample_rate


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
