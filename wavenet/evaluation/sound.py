"""What can be measured of a few seconds of sound: level, onsets, flatness, clipping, silence, repetition.

Knows waveforms and nothing of takes, models or shards. The invariants: training audio and takes are cut into
the same windows and measured in the same way, so that their figures compare; and a window in which nothing
sounds has no flatness, rather than one of the noise of its levels.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

from wavenet.audio.metering import CLIPPED_FROM, FLOOR_DB, EnvelopeMeter, envelope_hop, level_db
from wavenet.audio.onsets import find_onsets
from wavenet.audio.quantization import Quantizer

WINDOW_SECONDS, HOP_SECONDS = 4.0, 2.0
"""A bar or two, every half of them: long enough to count hits in, short enough to see a take die."""
CUT_SECONDS = 0.05
"""A window that begins amid a sound begins with an onset that the music does not have."""
FLATNESS_SECONDS = 0.064
LEAST_LENGTH = 16
"""Samples of a frame that has a spectrum to speak of."""
FLATNESS_FLOOR = 1e-12
"""Of a frame's mean power, what a bin has at least: one empty bin would make all of it count as none."""

REPEATED_SECONDS = (0.2, 1.0)
"""A note's own periods are shorter, a bar is longer."""
QUIET_SHARE = 1e-6
"""Of all energy, what is compared must have: in digital silence everything repeats."""

Waveform = NDArray[np.float32]


@dataclass(frozen=True)
class Sound:
    """The figures of one window. Each is of the whole window; flatness_db of the frames that sound.

    level_db: RMS, dB of full scale, not below -120. onsets_per_second: where hits and notes begin
    (`find_onsets`). flatness_db: geometric over arithmetic mean of a frame's power spectrum, in dB, the mean
    of frames: about -2.5 for white noise, -20 and lower for tones; None where nothing sounds for 64 ms.
    clipped_share: of samples at full scale. silent_share: of frames of 20 ms that are silent.
    longest_silence_seconds: of such frames in a row. repetition: the largest autocorrelation at a lag of 0.2
    to 1 s, 1 for what repeats itself exactly; 0 for what is too short.
    """

    level_db: float
    onsets_per_second: float
    flatness_db: float | None
    clipped_share: float
    silent_share: float
    longest_silence_seconds: float
    repetition: float


FIGURES = tuple(Sound.__dataclass_fields__)
"""Names of all figures, in the order in which they are told."""


def clipped_from(quantizer: Quantizer) -> float:
    """Magnitude from which on a sample of these levels is at full scale: that of the outermost level."""
    return min(CLIPPED_FROM, float(np.abs(quantizer.table[[0, -1]]).min()))


def list_windows(num_samples: int, sample_rate: int) -> Iterator[range]:
    """The windows that cover so many samples: one every HOP_SECONDS, the last one up to the end.

    What is shorter than WINDOW_SECONDS is one window; nothing has none.
    """
    length, hop = round(WINDOW_SECONDS * sample_rate), round(HOP_SECONDS * sample_rate)
    last = max(0, num_samples - length)
    starts = [*range(0, last, hop), last] if num_samples else []
    for start in starts:
        yield range(start, min(num_samples, start + length))


def measure_sound(waveform: Waveform, sample_rate: int, silent_db: float, full_scale: float) -> Sound:
    """The figures of a window. waveform: (time,) float32, one sample or more.

    silent_db: RMS level of 20 ms, dB of full scale, below which they are silent. full_scale: as
    `clipped_from`.
    """
    seconds = len(waveform) / sample_rate
    meter = EnvelopeMeter(sample_rate)
    meter.add(waveform[:, None])
    silent = meter.envelope() < 10 ** (silent_db / 10)
    onsets = find_onsets(waveform, sample_rate).seconds
    return Sound(
        level_db=level_db(meter.energy / len(waveform)),
        onsets_per_second=int((onsets >= CUT_SECONDS).sum()) / seconds,
        flatness_db=_measure_flatness(waveform, sample_rate, silent_db),
        clipped_share=float((np.abs(waveform) >= full_scale).mean()),
        silent_share=float(silent.mean()),
        longest_silence_seconds=_longest(silent) * envelope_hop(sample_rate) / sample_rate,
        repetition=_measure_repetition(waveform, sample_rate),
    )


def _measure_flatness(waveform: Waveform, sample_rate: int, silent_db: float) -> float | None:
    """Mean of the flatness in dB of frames that sound; None if there are none."""
    length = max(LEAST_LENGTH, round(FLATNESS_SECONDS * sample_rate))
    if len(waveform) < length:
        return None
    frames = np.lib.stride_tricks.sliding_window_view(waveform, length)[:: length // 2]
    levels = np.square(frames, dtype=np.float64).mean(axis=1)
    frames = frames[levels >= 10 ** (max(silent_db, FLOOR_DB) / 10)]
    if not len(frames):
        return None
    shape = np.hanning(length + 2)[1:-1].astype(np.float32)
    power = np.square(np.abs(np.fft.rfft(frames * shape)[:, 1:]))  # without what is constant
    mean = power.mean(axis=1, keepdims=True)
    if not (mean > 0).all():
        return None
    return float(10 * np.log10(np.maximum(power / mean, FLATNESS_FLOOR)).mean())


def _measure_repetition(waveform: Waveform, sample_rate: int) -> float:
    """Largest autocorrelation at a repetition's lags, normalized by the energies of what is compared."""
    low, high = (round(seconds * sample_rate) for seconds in REPEATED_SECONDS)
    if len(waveform) < 2 * high:
        return 0.0
    centred = waveform.astype(np.float64) - waveform.mean()
    size = next_fast_len(len(centred) + high, real=True)
    products = irfft(np.square(np.abs(rfft(centred, size))), size)[low : high + 1]
    energy = np.square(centred).cumsum()
    lags = np.arange(low, high + 1)
    early, late = energy[len(centred) - lags - 1], energy[-1] - energy[lags - 1]
    norms = np.sqrt(np.maximum(early * late, 0))
    heard = norms > QUIET_SHARE * energy[-1]
    return float(np.clip((products[heard] / norms[heard]).max(initial=0.0), 0, 1))


def _longest(mask: NDArray[np.bool_]) -> int:
    """How many in a row are true, at most."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False))
    return int((edges[1::2] - edges[::2]).max(initial=0))
