"""The quantization floor: how good a rate and a number of levels can sound at best, on given audio.

Knows nothing of models: whatever a model learns, it plays through this. The invariant: figure and clip
of a setting are of the same excerpts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
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
    """One setting on one stem. snr_db: signal to quantization noise, None where there is no noise."""

    stem: str
    sample_rate: int
    quantization_channels: int
    law: str
    snr_db: float | None
    configured: bool
    clip: str  # WAV, what the setting makes of the first excerpt


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
    floors = []
    for rate, levels in settings_around(sample_rate, quantizer.quantization_channels):
        one = Quantizer(quantizer.law, levels, quantizer.dither)
        noise, clip = NoiseMeter(one), f"{rate}-{levels}.wav"
        for number, (waveform, source_rate) in enumerate(originals):
            resampled = soxr.resample(waveform, source_rate, rate, quality="HQ")
            codes = one.encode(resampled, seed=number)
            noise.add(resampled, codes)
            if number == 0:
                write_audio(folder / clip, one.decode(codes)[: round(CLIP_SECONDS * rate)], rate)
        here = (rate, levels) == (sample_rate, quantizer.quantization_channels)
        floors.append(
            Floor(stem, rate, levels, quantizer.law, _rounded(noise.signal_to_noise_db), here, clip)
        )
    return floors


def _read_mono(source: AudioSource) -> tuple[Waveform, int]:
    waveform, sample_rate = read_audio(source)
    return mix_down(waveform, 1)[:, 0], sample_rate


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
