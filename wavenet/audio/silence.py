"""Where a file sounds and where it is silent, from its envelope: the mean square of frames of 20 ms.

Knows nothing of files or segments. The invariants: silence is measured against the file's own level, so
that gain changes nothing above its quantization noise; whatever is not silent sounds somewhere; and unless
all of a file is silent, what is left out is never shorter than `min_seconds`.
"""

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from wavenet.audio.metering import EnvelopeMeter
from wavenet.audio.resampling import resample_blocks
from wavenet.config import SilenceConfig

Envelope = NDArray[np.float32]
Waveform = NDArray[np.float32]
Regions = list[tuple[float, float]]
"""Sorted, disjoint stretches of a file: (start, end) in seconds."""

FLOOR_POWER = 1e-10
"""-100 dBFS: silent in whatever file. What is stored in coarser steps has a higher floor."""
STEP = 2.0**-15
"""Of 16 bits. Its square is the floor of what lies on such steps, -90 dBFS: plain dither is 5 to 6 dB lower,
a recording of -80 dBFS stands 10 dB above. Coarser steps have no higher floor: one of 8 bits can be heard."""
MOST_DITHER = 64 * STEP
"""No dither of 16 bits is louder: sox's most strongly shaped, high-shibata, reaches 62 steps."""
HEARD_RATE = 16000
"""Hz. Noise is shaped to lie above what this keeps: below 8 kHz even that dither is under -105 dBFS."""
CLICK_FRAMES = 5
"""As many of the loudest frames may be a click, a pop, a bumped microphone: 0.1 s of 20 ms."""
CLICK_SHARE = 0.05


def lies_on_steps(block: Waveform) -> bool:
    """Whether every sample is a whole number of steps of 16 bits: such audio has their noise in its rests."""
    in_steps = block * np.float32(1 / STEP)
    return bool((in_steps == np.rint(in_steps)).all())


def is_only_dither(blocks: Iterable[Waveform], sample_rate: int, num_channels: int) -> bool:
    """Whether below 8 kHz no 20 ms of audio reach a step of 16 bits. blocks: each (frames, channels).

    That is silence with dither, if no sample exceeds MOST_DITHER: noise shaping moves its noise up, where
    it may be as loud as a quiet recording (-67 dBFS at 44.1 kHz), which has something lower as well.
    """
    rate = min(sample_rate, HEARD_RATE)
    meter = EnvelopeMeter(rate)
    for block in resample_blocks(blocks, sample_rate, rate, num_channels):
        meter.add(block)
    return bool(meter.envelope().max(initial=0.0) < STEP**2)


def own_level_db(envelope: Envelope, floor_power: float = FLOOR_POWER) -> float | None:
    """The level at which a file plays where it plays, dB of full scale; None where all of it is silent.

    envelope: (frames,) mean squares of consecutive frames; what is below floor_power is silent. The median
    of the frames weighted by their amplitude: half of all the amplitude there is lies in frames at least so
    loud. A percentile of the frames themselves would be that of the noise floor in a separated vocal that
    rests for most of a song; weighed by amplitude, noise 60 dB under the voice would have to last a thousand
    times as long. Neither the mean nor the maximum would do: both follow a click. The loudest 0.1 s (of a
    short file: the loudest twentieth) has no say at all.
    """
    power = _own_power(envelope, floor_power)
    return None if power is None else 10 * math.log10(power)


def find_sounding(
    envelope: Envelope, frame_seconds: float, config: SilenceConfig, floor_power: float = FLOOR_POWER
) -> Regions:
    """The stretches that sound; [] for a file that is silent throughout.

    envelope: (frames,) mean squares; what is below floor_power never sounds. A stretch sounds if it stays
    above own level - below_db and somewhere rises hysteresis_db above that (at most to the own level): noise
    at the threshold starts nothing, a fade-in or fade-out is kept in one piece. Rests and edges shorter than
    min_seconds are no silence.
    """
    own_power = _own_power(envelope, floor_power)
    if own_power is None:
        return []
    closing_power = own_power * 10 ** (-config.below_db / 10)
    opening_power = own_power * 10 ** (min(0.0, config.hysteresis_db - config.below_db) / 10)
    starts, ends = _find_runs(envelope >= max(closing_power, floor_power))
    opened = np.maximum.reduceat(envelope, starts) >= opening_power  # what lies between runs is quieter
    starts, ends = _join_short_rests(
        starts[opened], ends[opened], len(envelope), config.min_seconds / frame_seconds
    )
    return [
        (float(start * frame_seconds), float(end * frame_seconds))
        for start, end in zip(starts, ends, strict=True)
    ]


def complement(regions: Regions, num_seconds: float) -> Regions:
    """What lies between regions, within 0 and num_seconds. Regions: sorted, disjoint."""
    edges = [0.0, *(edge for region in regions for edge in region), num_seconds]
    return [
        (start, min(end, num_seconds))
        for start, end in zip(edges[::2], edges[1::2], strict=True)
        if start < min(end, num_seconds)
    ]


def silence_share(sounding: Regions, num_seconds: float) -> float:
    """The share of a file that does not sound, 0 to 1; 1 for a file of no length."""
    if num_seconds <= 0:
        return 1.0
    return sum(end - start for start, end in complement(sounding, num_seconds)) / num_seconds


def _own_power(envelope: Envelope, floor_power: float) -> float | None:
    audible = np.sort(envelope[envelope >= floor_power].astype(np.float64))
    if not len(audible):
        return None
    num_clicks = min(CLICK_FRAMES, int(CLICK_SHARE * len(audible)))
    considered = audible[: len(audible) - num_clicks]
    amplitude = np.cumsum(np.sqrt(considered))
    return float(considered[np.searchsorted(amplitude, amplitude[-1] / 2)])


def _find_runs(mask: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Starts and ends (exclusive) of the stretches where a mask is true."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False))
    return edges[::2], edges[1::2]


def _join_short_rests(
    starts: NDArray[np.intp], ends: NDArray[np.intp], num_frames: int, min_frames: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Runs of frames, those joined between which there are fewer than min_frames; so too at the edges."""
    shortest = math.ceil(round(min_frames, 6))  # 0.06 s are 3 frames of 0.02 s, not 3.0000000000000004
    before = np.concatenate([[0], ends])
    after = np.concatenate([starts, [num_frames]])
    rest = (after - before >= shortest) & (after > before)
    starts, ends = after[:-1][rest[:-1]], before[1:][rest[1:]]
    first = [] if rest[0] else [0]
    last = [] if rest[-1] else [num_frames]
    return np.concatenate([first, starts]).astype(np.intp), np.concatenate([ends, last]).astype(np.intp)
