"""What goes wrong in a take, seen in its codes as they come: clipping, runaway noise, a stuck loop, silence.

Knows nothing of networks and draws nothing. The invariant: what is seen at a frame depends on the codes of
the last `Guard.reach` frames up to its end and on the limits; and a watch that begins later sees no trouble
that an earlier one does not.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wavenet.audio.mulaw import Codes
from wavenet.audio.quantization import Quantizer

FRAMES_A_SECOND = 8
NOISE_FRAMES, CLIPPED_FRAMES = 2 * FRAMES_A_SECOND, FRAMES_A_SECOND
"""So long is noise before it is more than a cymbal, and clipping before it is more than a hit."""
GOOD_FRAMES = FRAMES_A_SECOND
"""The last good second, which led to trouble, is not kept."""
LONGEST_SECONDS = 8.0
"""What may last longer than this is not watched: so much more would have to be held back."""
LONGEST_PERIOD = 0.5
"""Seconds. Slower repetition is music."""
FEWEST_PERIODS = 16
NEAR = 0.03
"""Change from one period to others, as a share of all change there is, that is as good as none."""
LONGEST_WINDOW = 512
SILENT_DB = -200.0


@dataclass(frozen=True)
class Limits:
    """What a take may do. The defaults are beyond what music does; `fit_limits` knows the music at hand.

    silence_db: RMS in dB of full scale below which a frame is silent. flatness: of the spectrum of two
    seconds, 0 for a tone, 1 for white noise, where they are louder than noise_db throughout. clipped_share:
    of a second's samples at the outermost codes. repeated_seconds: for so long nothing but one period of half
    a second at most. What may last longer than LONGEST_SECONDS is not watched.
    """

    silence_db: float = -60.0
    silence_seconds: float = 4.0
    noise_db: float = -30.0
    flatness: float = 0.6
    clipped_share: float = 0.05
    repeated_seconds: float = 3.0


@dataclass(frozen=True)
class Guard:
    """How takes are watched. restarts: in a row, none of which got on by a second; then
    it is let go on as it is."""

    quantizer: Quantizer
    sample_rate: int
    limits: Limits = Limits()
    restarts: int = 20

    @property
    def hop(self) -> int:
        """Samples of a frame."""
        return max(1, round(self.sample_rate / FRAMES_A_SECOND))

    @property
    def reach(self) -> int:
        """Frames that what is seen depends on."""
        limits = (self.limits.silence_seconds, self.limits.repeated_seconds)
        watched = [seconds for seconds in limits if seconds <= LONGEST_SECONDS]
        frames = math.ceil(max(watched, default=0) * FRAMES_A_SECOND)
        return max(frames, NOISE_FRAMES, math.ceil(FEWEST_PERIODS * LONGEST_PERIOD * FRAMES_A_SECOND))

    @property
    def held(self) -> int:
        """Frames that are held back, until no trouble can be found in them any more."""
        return self.reach + GOOD_FRAMES


class Trouble(NamedTuple):
    """What is wrong, for how many frames it has been, and how many before, a second at most, led to it."""

    kind: str
    num_frames: int
    led: int = GOOD_FRAMES


class Seen(NamedTuple):
    """What the last frames do, in the words of `Limits`. flatness: 0 where they are not loud throughout."""

    silent_frames: int
    flatness: float
    clipped_share: float
    repeated_frames: int


class Frame(NamedTuple):
    """What is kept of a frame. level_db: RMS about its mean; power: (bins,), without the lowest."""

    level_db: float
    clipped_share: float
    power: NDArray[np.float64]


class Watch:
    """One stream, watched from a frame's beginning on."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.frames: deque[Frame] = deque(maxlen=guard.reach)
        self.codes: deque[Codes] = deque(maxlen=guard.reach)
        table = guard.quantizer.table
        self.waveforms = table.astype(np.float64)
        self.outermost = (0, len(table) - 1)
        self.silence_db = max(guard.limits.silence_db, _decibels(float(np.diff(table).min() / 2) ** 2))

    def hear(self, frame: Codes) -> None:
        """Take in the next frame, (hop,) codes."""
        waveform = self.waveforms[frame]
        level_db = _decibels(float(np.var(waveform)))
        clipped = float(np.isin(frame, self.outermost).mean())
        self.frames.append(Frame(level_db, clipped, _power(waveform)))
        self.codes.append(frame)

    def trouble(self) -> Trouble | None:
        """What is wrong up to here, if anything."""
        limits, seen = self.guard.limits, self.look()
        silence, repeated = (
            seconds * FRAMES_A_SECOND if seconds <= LONGEST_SECONDS else math.inf
            for seconds in (limits.silence_seconds, limits.repeated_seconds)
        )
        if seen.clipped_share > limits.clipped_share:
            return Trouble("clipping", CLIPPED_FRAMES)
        if seen.flatness > limits.flatness:
            return Trouble("noise", NOISE_FRAMES)
        if seen.repeated_frames >= repeated:
            return Trouble("a stuck loop", seen.repeated_frames)
        if seen.silent_frames >= silence:
            return Trouble("silence", seen.silent_frames, self._frames_since_loud(seen.silent_frames))
        return None

    def look(self) -> Seen:
        """What the last frames do."""
        return Seen(
            self._count_silent(),
            self._flatness(),
            self._clipped_share(),
            0 if self._rests() else self._repeats(),
        )

    def _rests(self) -> bool:
        return self.frames[-1].level_db < self.silence_db

    def _count_silent(self) -> int:
        count = 0
        for frame in reversed(self.frames):
            if frame.level_db >= self.silence_db:
                break
            count += 1
        return count

    def _frames_since_loud(self, num_silent: int) -> int:
        """From the end of the loudest frame of the second before a silence on: out of a rest no network finds
        as easily as out of a hit."""
        frames = list(self.frames)[: len(self.frames) - num_silent][-GOOD_FRAMES:]
        levels = [frame.level_db for frame in reversed(frames)]
        return int(np.argmax(levels)) if levels else 0

    def _flatness(self) -> float:
        """Geometric over arithmetic mean of the power spectrum."""
        if len(self.frames) < NOISE_FRAMES:
            return 0.0
        last = list(self.frames)[-NOISE_FRAMES:]
        if min(frame.level_db for frame in last) < self.guard.limits.noise_db:
            return 0.0
        power = np.sum([frame.power for frame in last], axis=0) + 1e-30
        return float(np.exp(np.log(power).mean()) / power.mean())

    def _clipped_share(self) -> float:
        if len(self.frames) < CLIPPED_FRAMES:
            return 0.0
        return float(np.mean([frame.clipped_share for frame in list(self.frames)[-CLIPPED_FRAMES:]]))

    def _repeats(self) -> int:
        longest = round(LONGEST_PERIOD * self.guard.sample_rate)
        codes = np.concatenate(self.codes).astype(np.float64)
        return count_repeated(codes, longest) // self.guard.hop


def count_repeated(codes: NDArray[np.float64], longest_period: int) -> int:
    """For how many samples, up to the last, there is nothing but one period again and again.

    codes: (time,). A period is one sample to longest_period; fewer than FEWEST_PERIODS of it count as none.
    Codes and not amplitudes, for mu-law makes its steps as large as the ear hears them.
    """
    period = _find_period(codes[-2 * longest_period :], longest_period)
    if period == 0 or period * FEWEST_PERIODS > len(codes):
        return 0
    row = period * max(1, longest_period // (4 * period))  # of many samples, so that none decides
    rows = codes[len(codes) % row :].reshape(-1, row)
    changes = ((rows - rows[-1]) ** 2).mean(axis=1) > NEAR**2 * np.var(codes[-2 * longest_period :])
    num_rows = int(np.argmax(changes[::-1])) if changes.any() else len(rows)
    return num_rows * row if num_rows * row >= FEWEST_PERIODS * period else 0


def _find_period(codes: NDArray[np.float64], longest: int) -> int:
    """The shortest lag at which the last `longest` codes are as they were; 0 if there is none.

    codes: (2 * longest,). Small lags of slow waves are no period: the difference has to have risen before.
    """
    if len(codes) < 2 * longest:
        return 0
    centred = codes - codes.mean()
    last, limit = centred[longest:], NEAR**2 * np.var(codes[longest:])
    size = 1 << (3 * longest - 1).bit_length()
    products = np.fft.irfft(np.fft.rfft(centred, size) * np.conj(np.fft.rfft(last, size)), size)
    energy = np.cumsum(np.concatenate([[0.0], centred**2]))
    earlier = energy[longest : 2 * longest] - energy[:longest]  # of the codes from each start on
    difference = (energy[-1] - energy[longest] + earlier - 2 * products[:longest])[::-1] / longest
    risen = np.flatnonzero(difference > limit)  # index i is lag i + 1
    below = np.flatnonzero(difference <= max(limit, 1e-9))
    below = below[below > risen[0]] if len(risen) else below[:0]
    if not len(below):
        return 0
    rise = risen[risen > below[0]]
    dip = difference[below[0] : rise[0] if len(rise) else longest]
    return int(below[0] + np.argmin(dip)) + 1


def _power(waveform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Power spectrum summed over the windows of a frame, the two lowest bins left out."""
    length = min(LONGEST_WINDOW, 1 << (len(waveform).bit_length() - 1))
    windows = waveform[: len(waveform) // length * length].reshape(-1, length)
    spectra = np.fft.rfft((windows - windows.mean(axis=1, keepdims=True)) * np.hanning(length), axis=1)
    power: NDArray[np.float64] = (np.abs(spectra) ** 2).sum(axis=0)[2:]
    return power


def _decibels(power: float) -> float:
    return 10 * math.log10(power) if power > 0 else SILENT_DB


def fit_limits(runs: Iterable[Codes], guard: Guard) -> Limits:
    """Limits that music keeps and that go no further than need be.

    runs: stretches of the music, (time,) codes each. They are watched as a take is. Twice their longest rest
    and a second more are allowed; of all else what is found and half as much again, or what the guard allows
    already. What is silent, and how loud noise is, goes by their level.
    """
    runs = [run for run in runs if len(run) >= guard.hop]
    if not runs:
        return guard.limits
    table = guard.quantizer.table.astype(np.float64)
    level_db = _decibels(float(np.mean([np.mean(table[run] ** 2) for run in runs])))
    limits = replace(
        guard.limits,
        silence_db=min(guard.limits.silence_db, level_db - 40),
        noise_db=min(guard.limits.noise_db, level_db),
    )
    most = _most_of(runs, replace(guard, limits=limits))
    return replace(
        limits,
        silence_seconds=1 + 2 * most.silent_frames / FRAMES_A_SECOND,
        flatness=max(limits.flatness, (1 + most.flatness) / 2),
        clipped_share=max(limits.clipped_share, 1.5 * most.clipped_share),
        repeated_seconds=max(limits.repeated_seconds, 1.5 * most.repeated_frames / FRAMES_A_SECOND),
    )


def _most_of(runs: Iterable[Codes], guard: Guard) -> Seen:
    seen = [Seen(0, 0.0, 0.0, 0)]
    for run in runs:
        watch = Watch(guard)
        for start in range(0, len(run) - guard.hop + 1, guard.hop):
            watch.hear(run[start : start + guard.hop])
            seen.append(watch.look())
    return Seen(*(max(values) for values in zip(*seen, strict=True)))
