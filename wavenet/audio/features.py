"""What a listener would note of a waveform, frame by frame: level, onsets, pitch, chroma.

Frame i covers samples [i * hop_length, (i + 1) * hop_length); n samples have ceil(n / hop_length) frames.
Levels are absolute: nothing is scaled by the loudest part of a file, for that is not known before its end.
Knows nothing of songs, stems or files. The invariant: a frame depends on the samples in and around it
alone. How the audio was cut into blocks does not change one bit of it.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Waveform = NDArray[np.float32]
Frames = NDArray[np.float32]
Curves = NDArray[np.float32]
"""(frames, lags)"""

FEATURE_DIMS = {"energy": 1, "onset": 1, "f0": 2, "chroma": 12, "context": 14}
"""Columns of each feature. `context` is energy, onset and chroma of what the other stems play together."""
CONTEXT_NAMES = ("energy", "onset", "chroma")

ENERGY_FLOOR_DB = -120.0
SILENT_POWER = 1e-8
"""Mean square, -80 dB of full scale, below which there is neither an onset nor a pitch."""

ONSET_SECONDS = 0.02  # window, unless two frames are longer: short, so that an onset shows in its own frame
HIGHEST_BAND_HZ = 16000.0
BAND_MELS = 1.1  # steps of 73 Hz below 1 kHz, and of 8 % above, on the scale of Slaney's Auditory Toolbox
CHROMA_SECONDS = 0.2  # window, unless a frame is longer: it tells semitones apart from E3 on

LOWEST_HZ, HIGHEST_HZ = 27.5, 2093.0  # A0, the lowest key of a piano, and C7
WINDOW_PERIODS = 1.5  # of the lowest pitch, compared with as many samples one lag later
LEAST_LAG_RATE = 16000  # lags a second: at 8 kHz a parabola through whole samples is 2 % off from E6 on
DIP_BELOW = 0.2  # the paper has 0.1; with 0.2 a rendered bass was taken an octave too low half as often
VOICED_FROM = 0.75

CHUNK_FRAMES, CHUNK_SAMPLES = 64, 1 << 17
"""Frames analysed at a time, fewer if they are more samples than that: bounds memory at any rate."""


def extract_features(
    blocks: Iterable[Waveform], sample_rate: int, hop_length: int, names: Sequence[str]
) -> Iterator[dict[str, Frames]]:
    """Consecutive chunks of frames of a waveform: for each name a (frames, FEATURE_DIMS[name]) float32.

    blocks: any number of (time,) float32, finite, full scale = 1, in order; cut in any way. sample_rate:
    1000 to 192000 Hz. Before its first sample and after its last a waveform is silent; the last frame may
    have fewer samples than hop_length. Memory does not grow with length. Raises ValueError on a name that
    is not made from one waveform.

    energy: RMS of exactly the frame's own samples, dB of full scale, not below -120.
    onset: mean rise of a mel spectrogram's bands since the frame before, dB, 0 or more; it peaks within a
    frame of an attack.
    f0: frequency in Hz, 0 where there is no pitch; periodicity, 0 to 1, also where there is none.
    chroma: strength of the pitch classes C, C#, ... B, the largest 1; fading to 0 below -80 dB.
    """
    unknown = [name for name in names if name not in _ANALYSES]
    if unknown:
        raise ValueError(f"features {unknown} are not made from one waveform; there are {list(_ANALYSES)}")
    return _extract(blocks, sample_rate, hop_length, names)


def extract_context(blocks: Iterable[Waveform], sample_rate: int, hop_length: int) -> Iterator[Frames]:
    """Consecutive chunks of (frames, 14) float32: energy, onset and chroma of what the other stems play.

    blocks: the sum of the track's other stems, as for `extract_features`. Summed as audio, so that a model
    hears the same kind of thing in bands of two stems and of ten.
    """
    for chunk in extract_features(blocks, sample_rate, hop_length, CONTEXT_NAMES):
        yield np.concatenate([chunk[name] for name in CONTEXT_NAMES], axis=1)


def count_frames(num_samples: int, hop_length: int) -> int:
    """Frames of so many samples."""
    return -(-num_samples // hop_length)


@dataclass(frozen=True)
class _Span:
    """Consecutive frames and what lies around them.

    samples: `margin` samples before the first frame, all samples of the frames, `margin` samples after.
    num_samples: of the frames, that the file has; the last frame may have fewer than hop_length.
    """

    samples: Waveform
    margin: int
    num_samples: int
    sample_rate: int
    hop_length: int

    @property
    def num_frames(self) -> int:
        return count_frames(self.num_samples, self.hop_length)

    def windows(self, length: int, before: int = 0) -> Waveform:
        """Windows centred on the frames, and on so many frames before them: (frames, length), a view."""
        start = self.margin + self.hop_length // 2 - length // 2 - before * self.hop_length
        views = np.lib.stride_tricks.sliding_window_view(self.samples[start:], length)
        return views[:: self.hop_length][: before + self.num_frames]


def _extract(
    blocks: Iterable[Waveform], sample_rate: int, hop_length: int, names: Sequence[str]
) -> Iterator[dict[str, Frames]]:
    for span in _cut_spans(blocks, sample_rate, hop_length):
        yield {name: _ANALYSES[name](span) for name in names}


def _cut_spans(blocks: Iterable[Waveform], sample_rate: int, hop_length: int) -> Iterator[_Span]:
    """Cut a waveform on a grid that depends on the rate and the hop alone."""
    margin = _widest_reach(sample_rate, hop_length)
    length = hop_length * max(1, min(CHUNK_FRAMES, CHUNK_SAMPLES // hop_length))
    waiting, num_waiting = [np.zeros(margin, np.float32)], margin
    for block in blocks:
        waiting.append(block)
        num_waiting += len(block)
        if num_waiting >= length + 2 * margin:
            samples = np.concatenate(waiting)
            while len(samples) >= length + 2 * margin:
                yield _Span(samples[: length + 2 * margin], margin, length, sample_rate, hop_length)
                samples = samples[length:]
            waiting, num_waiting = [samples], len(samples)
    samples = np.concatenate(waiting)
    while (left := len(samples) - margin) > 0:
        num_samples = min(left, length)
        whole = hop_length * count_frames(num_samples, hop_length) + 2 * margin
        padded = np.pad(samples[:whole], (0, max(0, whole - len(samples))))
        yield _Span(padded, margin, num_samples, sample_rate, hop_length)
        samples = samples[length:]


def _widest_reach(sample_rate: int, hop_length: int) -> int:
    """Samples that an analysis may look at before the first frame of a span and after its last."""
    onset = _onset_window(sample_rate, hop_length)
    windows = (onset, _chroma_window(sample_rate, hop_length), _f0_window(sample_rate))
    return max(windows) // 2 + hop_length * (1 + _onset_lag(sample_rate, hop_length))


def _energy(span: _Span) -> Frames:
    own = span.samples[span.margin : span.margin + span.num_frames * span.hop_length]
    sums = np.square(own, dtype=np.float64).reshape(span.num_frames, -1).sum(axis=1)
    counts = np.full(span.num_frames, span.hop_length)
    counts[-1] -= len(own) - span.num_samples
    levels = 10 * np.log10(np.maximum(sums / counts, 10 ** (ENERGY_FLOOR_DB / 10)))
    return levels[:, None].astype(np.float32)


def _onset(span: _Span) -> Frames:
    """Spectral flux of a mel spectrogram in dB (Böck and Widmer 2013, without their vibrato filter)."""
    lag = _onset_lag(span.sample_rate, span.hop_length)
    window = _onset_window(span.sample_rate, span.hop_length)
    fft_length = _power_of_two(max(window, span.sample_rate / 40))  # no band between two bins
    power = _power_spectrogram(span.windows(window, before=lag), fft_length)
    bands = 10 * np.log10(1 + power @ _mel_bands(span.sample_rate, fft_length) / SILENT_POWER)
    rises: Frames = np.maximum(0, bands[lag:] - bands[:-lag])
    return rises.mean(axis=1, keepdims=True)


def _onset_window(sample_rate: int, hop_length: int) -> int:
    return max(2 * hop_length, round(ONSET_SECONDS * sample_rate))


def _onset_lag(sample_rate: int, hop_length: int) -> int:
    """Frames back to the one compared with: half a window."""
    return max(1, round(_onset_window(sample_rate, hop_length) / (2 * hop_length)))


def _chroma(span: _Span) -> Frames:
    """Power by pitch class at A = 440 Hz: an estimated tuning would change from chunk to chunk."""
    window = _chroma_window(span.sample_rate, span.hop_length)
    fft_length = _power_of_two(window)
    power = _power_spectrogram(span.windows(window), fft_length)
    classes = power @ _pitch_classes(span.sample_rate, fft_length)
    loudest: Frames = np.maximum(classes.max(axis=1, keepdims=True), SILENT_POWER)
    return classes / loudest


def _chroma_window(sample_rate: int, hop_length: int) -> int:
    return max(hop_length, round(CHROMA_SECONDS * sample_rate))


def _power_spectrogram(windows: Waveform, fft_length: int) -> Frames:
    """(frames, bins): what each bin adds to the mean square of a Hann-windowed frame."""
    shape = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(windows.shape[1]) / windows.shape[1])
    shape *= np.sqrt(2 / (fft_length * np.square(shape).sum()))
    spectra = fft.rfft(windows * shape.astype(np.float32), fft_length)
    power: Frames = np.square(spectra.real) + np.square(spectra.imag)
    return power


@lru_cache(maxsize=8)
def _mel_bands(sample_rate: int, fft_length: int) -> Frames:
    """(bins, bands) weights, triangles of height 1."""
    from librosa import hz_to_mel
    from librosa.filters import mel

    highest = min(sample_rate / 2, HIGHEST_BAND_HZ)
    num_bands = round(float(hz_to_mel(highest)) / BAND_MELS)
    bands = mel(sr=sample_rate, n_fft=fft_length, n_mels=num_bands, fmax=highest, norm=None)
    return np.ascontiguousarray(bands.T)


@lru_cache(maxsize=8)
def _pitch_classes(sample_rate: int, fft_length: int) -> Frames:
    """(bins, 12) weights, from C on."""
    from librosa.filters import chroma

    weights = chroma(sr=sample_rate, n_fft=fft_length, tuning=0.0)
    return np.ascontiguousarray(weights.T)


def _f0(span: _Span) -> Frames:
    """Pitch by YIN: the shortest lag at which a frame resembles itself (de Cheveigné and Kawahara 2002).

    Of their steps 1 to 5 (difference, cumulative mean, threshold, parabola); the sixth, a search among
    neighbouring frames, is left out. Periodicity is 1 less what they call the aperiodic share.
    """
    longest, steps = _longest_lag(span.sample_rate), math.ceil(LEAST_LAG_RATE / span.sample_rate)
    frames = span.windows(_f0_window(span.sample_rate))
    curves = _normalize(_differences(frames, longest, steps))
    lags, dissimilarity = _find_dips(curves, steps * _shortest_lag(span.sample_rate))
    power = np.square(frames, dtype=np.float64).mean(axis=1)
    periodicity = np.where(power > SILENT_POWER, np.clip(1 - dissimilarity, 0, 1), 0)
    frequency = np.where(periodicity >= VOICED_FROM, span.sample_rate * steps / lags, 0)
    return np.stack([frequency, periodicity], axis=1).astype(np.float32)


def _longest_lag(sample_rate: int) -> int:
    return math.ceil(sample_rate / LOWEST_HZ) + 1


def _shortest_lag(sample_rate: int) -> int:
    return max(2, math.floor(sample_rate / HIGHEST_HZ))


def _f0_window(sample_rate: int) -> int:
    longest = _longest_lag(sample_rate)
    return math.ceil(WINDOW_PERIODS * longest) + longest


def _differences(frames: Waveform, longest: int, steps: int) -> Curves:
    """Sum of (x[j] - x[j + lag])^2 over a window: (frames, lags 0 to longest in so many steps a sample).

    From the energy of the window and of its shifted copy, and their product: FFTs give that for all lags,
    and between samples where the spectrum is continued with zeros.
    """
    window = frames.shape[1] - longest
    size = fft.next_fast_len(frames.shape[1], real=True)
    spectra = fft.rfft(frames, size) * fft.rfft(frames[:, :window], size).conj()
    products = steps * fft.irfft(spectra, size * steps)[:, : longest * steps + 1]
    sums = np.square(np.pad(frames, ((0, 0), (1, 0))), dtype=np.float64).cumsum(axis=1)
    energies = (sums[:, window:] - sums[:, : longest + 1]).astype(np.float32)
    if steps > 1:
        whole, part = np.divmod(np.arange(longest * steps + 1), steps)
        rise = np.diff(energies, append=energies[:, -1:])
        energies = energies[:, whole] + rise[:, whole] * (part / steps).astype(np.float32)
    return np.maximum(0, energies[:, :1] + energies - 2 * products)


def _normalize(differences: Curves) -> Curves:
    """Each lag's difference over the mean of all up to it: near 0 at a period."""
    sums = differences[:, 1:].cumsum(axis=1)
    lags = np.arange(1, differences.shape[1], dtype=np.float32)
    normalized = np.ones_like(differences)
    np.divide(differences[:, 1:] * lags, sums, out=normalized[:, 1:], where=sums > 0)
    return normalized


def _find_dips(curves: Curves, shortest: int) -> tuple[Curves, Curves]:
    """The lag, between samples, of each curve's first dip under the threshold, and its depth.

    Where none goes so deep: of its deepest; where it has no dip at all: lag 1 and depth 1.
    """
    left, middle, right = curves[:, :-2], curves[:, 1:-1], curves[:, 2:]
    is_dip = (middle < left) & (middle <= right)
    is_dip[:, : shortest - 1] = False
    slope, bend = (left - right) / 2, left - 2 * middle + right
    bend = np.where(is_dip, bend, np.float32(1))  # of a parabola through three samples; a dip's is above 0
    depths = np.where(is_dip, np.maximum(0, middle - slope**2 / (2 * bend)), np.float32(1))
    deep = depths < DIP_BELOW
    chosen = np.where(deep.any(axis=1), deep.argmax(axis=1), depths.argmin(axis=1))[:, None]
    lags = 1 + chosen + np.take_along_axis(slope / bend * is_dip, chosen, axis=1)
    return lags[:, 0], np.take_along_axis(depths, chosen, axis=1)[:, 0]


def _power_of_two(least: float) -> int:
    return 1 << math.ceil(math.log2(least))


_ANALYSES: dict[str, Callable[[_Span], Frames]] = {
    "energy": _energy,
    "onset": _onset,
    "f0": _f0,
    "chroma": _chroma,
}
