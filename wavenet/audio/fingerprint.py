"""Find recordings that are nearly the same: another bitrate, rate or level, or shifted in time.

The hash of Haitsma and Kalker, "A Highly Robust Audio Fingerprinting System" (ISMIR 2002): each bit says
whether the difference of energy between two neighbouring bands grew since the frame before. Knows nothing
of files. The invariants: frames lie on one clock, 32 a second from the first sample on, whatever the sample
rate and however the audio was cut into blocks; and frames in which nothing sounds or changes match nothing.

Two recordings count as one if at most 35% of their bits differ where they overlap, the paper's threshold.
Unrelated music differs in half of them; the paper finds that share normally distributed, and so one false
alarm in 10^19 for 3 s. Here, with fewer frames that overlap less, it has a standard deviation of 1.6% over
2 to 4 s of real songs, stems and loops (400 independent bits a second): the threshold is 6 deviations off
(1e-9) at 1 s, the least that is judged, 8 at 2 s, 13 at 5 s. Of six million places at which such recordings
were laid over each other none came nearer than 0.60 equal bits. Copies through the poorest mp3, half a step
off, differ in 12% of bits, 20% at most.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from wavenet.audio.io import Waveform, resample_blocks

Prints = NDArray[np.uint32]

FRAMES_PER_SECOND = 32
"""An eighth of a frame between neighbours keeps a copy half a step off recognisable; the paper's 86 a second
spare one bit error in ten, for three times the work and memory."""
WORKING_RATE = 5120
WINDOW, HOP = 2048, WORKING_RATE // FRAMES_PER_SECOND
"""0.4 s, so long that a shift by part of it changes little."""
LOWEST_HZ, HIGHEST_HZ, NUM_BANDS = 300.0, 2000.0, 33
HIGHEST_SHARE = 0.45
"""Of a sample rate, what a resampler leaves whole; lower rates than 4.5 kHz have all bands moved down."""

NO_PRINT = 0
"""The value of a frame that tells nothing. A hash of music is never 0: LEAST_ALTERNATIONS."""
FLOOR_POWER = 1e-9
"""-90 dBFS in all bands: below, there is only the noise of 16 bits."""
LEAST_CHANGE = 1e-3
"""Of a frame's energy must move between bands: steady tones have bits that only rounding decides."""
LEAST_ALTERNATIONS = 8
"""Between neighbouring bits. Music has 15 to 21 of 31 and hardly ever less than ten; the attack of a single
pure tone, whose neighbours hear nothing but its leakage, has none to four, whatever the tone."""
LEAST_FRAMES = FRAMES_PER_SECOND
MAX_ERROR_RATE = 0.35

SHARED_SHARE = 0.25
"""Of the shorter recording, what must overlap: a jingle that two songs begin with makes them no duplicates,
nor does a bar of the same synthesizer, to the sample, that ends one and begins the other."""

CHUNK_FRAMES = 256
INDEX_NEIGHBOURS = 16
"""Each value is looked up in as many other recordings that share it."""
SHORT_FRAMES, PARTIAL = 10 * FRAMES_PER_SECOND, [0xFFFFFF00, 0xFFFF00FF, 0xFF00FFFF, 0x00FFFFFF]
"""A loop may have no frame without a bit error; loops are looked up by three quarters of a value as well."""
OFFSETS_PER_PAIR, CANDIDATES_PER_RECORDING = 5, 20


@dataclass(frozen=True)
class NearDuplicate:
    """Two names for one recording, or one that is part of the other.

    offset_seconds: where `second` begins on the clock of `first`. agreement: share of equal bits where the
    two overlap, 0.65 to 1.
    """

    first: str
    second: str
    offset_seconds: float
    agreement: float


@dataclass(frozen=True)
class ClosestPassage:
    """Where a clip is most like a recording: it begins at offset_seconds of it (negative: before it).

    agreement: share of equal bits; about 0.5 to 0.6 for other music, above 0.65 for the same recording.
    """

    name: str
    offset_seconds: float
    agreement: float


def fingerprint_blocks(blocks: Iterable[Waveform], sample_rate: int) -> Prints:
    """The prints of a recording: (frames,) uint32, 32 a second, NO_PRINT where nothing sounds or changes.

    blocks: (time,) or (time, 1) float32, in order; how they are cut makes no difference. Value n tells how
    0.4 s of sound change from n / 32 s to the next; what is shorter than 0.44 s has none. Prints are
    comparable for all sample rates from 4.5 kHz on; those of lower rates only among themselves.
    """
    edges = _band_edges(sample_rate)
    energies = [np.zeros((0, NUM_BANDS), np.float32)]
    energies += [_measure_bands(frames, edges) for frames in _cut_frames(blocks, sample_rate)]
    return _hash_changes(np.concatenate(energies))


def find_near_duplicates(prints: Mapping[str, Prints]) -> list[NearDuplicate]:
    """Pairs of recordings of which at most 35% of bits differ over their overlap, most alike first.

    prints: (frames,) uint32 by name. Overlaps with less than 1 s of prints, or less than a quarter of the
    shorter recording, are not judged. Candidates come from an inverted index: pairs and offsets at which
    equal values coincide, those with most of them first. Of many copies of one recording each is paired
    with some of the others, not with all.
    """
    names = list(prints)
    best: dict[tuple[int, int], tuple[float, int]] = {}
    for first, second, offset in _find_candidates([prints[name] for name in names]):
        agreement = _measure_agreement(prints[names[first]], prints[names[second]], offset)
        if agreement >= 1 - MAX_ERROR_RATE:
            best[first, second] = max(best.get((first, second), (0.0, 0)), (agreement, offset))
    found = [
        NearDuplicate(names[first], names[second], offset / FRAMES_PER_SECOND, agreement)
        for (first, second), (agreement, offset) in best.items()
    ]
    return sorted(found, key=lambda pair: (-pair.agreement, pair.first, pair.second))


def find_closest(clip: Prints, prints: Mapping[str, Prints]) -> ClosestPassage | None:
    """The passage most like a clip, among all offsets of all recordings; None if no frame tells anything.

    An exhaustive search: it finds the closest however far it is. Where a clip is longer than a recording,
    the recording is laid over it. Frames without a print count as half right.
    """
    best = None
    for name, recording in prints.items():
        agreements = _slide(clip, recording) if len(clip) <= len(recording) else _slide(recording, clip)
        if not len(agreements):
            continue
        place = int(np.argmax(agreements))
        if best is None or agreements[place] > best.agreement:
            offset = place if len(clip) <= len(recording) else -place
            best = ClosestPassage(name, offset / FRAMES_PER_SECOND, float(agreements[place]))
    return best


def _band_edges(sample_rate: int) -> NDArray[np.intp]:
    """Bins between which the bands lie, equally wide in pitch."""
    scale = min(1.0, HIGHEST_SHARE * sample_rate / HIGHEST_HZ)
    edges_hz = scale * np.geomspace(LOWEST_HZ, HIGHEST_HZ, NUM_BANDS + 1)
    return np.rint(edges_hz * WINDOW / WORKING_RATE).astype(np.intp)


def _cut_frames(blocks: Iterable[Waveform], sample_rate: int) -> Iterator[Waveform]:
    """Overlapping frames at the working rate, (up to CHUNK_FRAMES, WINDOW); always the same chunks.

    One chunk has the same number of rows however the audio came, so that rounding is the same too.
    """
    columns = (np.reshape(block, (len(block), 1)) for block in blocks)  # refuses stereo
    needed = (CHUNK_FRAMES - 1) * HOP + WINDOW
    kept = np.zeros(0, np.float32)
    for block in resample_blocks(columns, sample_rate, WORKING_RATE, num_channels=1):
        kept = np.concatenate([kept, block[:, 0]])
        while len(kept) >= needed:
            yield np.lib.stride_tricks.sliding_window_view(kept[:needed], WINDOW)[::HOP]
            kept = kept[CHUNK_FRAMES * HOP :]
    if len(kept) >= WINDOW:
        yield np.lib.stride_tricks.sliding_window_view(kept, WINDOW)[::HOP]


def _measure_bands(frames: Waveform, edges: NDArray[np.intp]) -> NDArray[np.float32]:
    """Mean square of each frame in each band, (frames, NUM_BANDS)."""
    window = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
    spectrum = scipy.fft.rfft(frames * (window / np.float32(WINDOW)), axis=1)[:, : edges[-1]]
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    return np.add.reduceat(power, edges[:-1], axis=1)


def _hash_changes(energies: NDArray[np.float32]) -> Prints:
    slopes = np.diff(energies, axis=1)
    changes = np.diff(slopes, axis=0)
    values = np.packbits(changes > 0, axis=1).view(">u4")[:, 0].astype(np.uint32)
    total = energies.sum(axis=1)
    total = np.maximum(total[1:], total[:-1])
    telling = (total >= FLOOR_POWER) & (np.abs(changes).sum(axis=1) >= LEAST_CHANGE * total)
    telling &= np.bitwise_count((values ^ (values >> 1)) & np.uint32(0x7FFFFFFF)) >= LEAST_ALTERNATIONS
    return np.where(telling, values, np.uint32(NO_PRINT))


def _find_candidates(prints: list[Prints]) -> list[tuple[int, int, int]]:
    """Pairs of recordings and offsets in frames at which equal values coincide, most of them first."""
    span = 2 * max((len(print_) for print_ in prints), default=0) + 1
    short = [print_ if len(print_) <= SHORT_FRAMES else print_[:0] for print_ in prints]
    ballots = np.concatenate(
        [_pair_equal_values(prints, span), *(_pair_equal_values(short, span, bits) for bits in PARTIAL)]
    )
    places, votes = np.unique(ballots, return_counts=True)
    pairs, offsets = np.divmod(places, span)
    order = np.lexsort((-votes, pairs))
    rank = np.arange(len(order)) - np.searchsorted(pairs[order], pairs[order])
    order = order[rank < OFFSETS_PER_PAIR]
    order = order[np.argsort(-votes[order], kind="stable")][: CANDIDATES_PER_RECORDING * len(prints)]
    firsts, seconds = np.divmod(pairs[order], max(1, len(prints)))
    return list(zip(firsts.tolist(), seconds.tolist(), (offsets[order] - span // 2).tolist(), strict=True))


def _pair_equal_values(prints: list[Prints], span: int, bits: int = 0xFFFFFFFF) -> NDArray[np.int64]:
    """A number for each coincidence of a value: (first * recordings + second) * span + offset + span // 2.

    The inverted index: values (these bits of them) sorted, equal ones side by side in the order of
    recordings. Of each recording the first occurrence counts, so that a drone does not outvote a melody.
    """
    lengths = np.array([len(print_) for print_ in prints], np.int64)
    values = np.concatenate([np.zeros(0, np.uint32), *prints])
    frames = np.flatnonzero(values != NO_PRINT)
    values &= np.uint32(bits)
    frames = frames[np.argsort(values[frames], kind="stable")]
    ends = np.cumsum(lengths)
    owners = np.searchsorted(ends, frames, side="right")
    again = (np.diff(values[frames], prepend=np.uint32(0)) == 0) & (np.diff(owners, prepend=-1) == 0)
    frames, owners = frames[~again], owners[~again]
    values, places = values[frames], frames - (ends - lengths)[owners]
    ballots = [np.zeros(0, np.int64)]
    for lag in range(1, INDEX_NEIGHBOURS + 1):
        equal = np.flatnonzero(values[lag:] == values[:-lag])
        pair = owners[equal] * len(prints) + owners[equal + lag]
        ballots.append(pair * span + places[equal] - places[equal + lag] + span // 2)
    return np.concatenate(ballots)


def _measure_agreement(first: Prints, second: Prints, offset: int) -> float:
    """Share of equal bits where `second`, begun `offset` frames into `first`, overlaps it; 0 if too short."""
    here = first[max(0, offset) :]
    there = second[max(0, -offset) :]
    length = min(len(here), len(there))
    here, there = here[:length], there[:length]
    telling = (here != NO_PRINT) & (there != NO_PRINT)
    num_frames = int(telling.sum())
    if num_frames < max(LEAST_FRAMES, SHARED_SHARE * min(len(first), len(second))):
        return 0.0
    return 1 - int(np.bitwise_count(here ^ there)[telling].sum()) / (32 * num_frames)


def _slide(short: Prints, long: Prints) -> NDArray[np.float64]:
    """Share of equal bits of `short` at each place within `long`, (places,); none if it has no prints."""
    told = np.flatnonzero(short != NO_PRINT)
    num_places = len(long) - len(short) + 1
    if not len(told):
        return np.zeros(0)
    errors = np.zeros(num_places, np.uint32)
    unknown = long == NO_PRINT
    for frame in told:
        window = slice(frame, frame + num_places)
        differing = np.bitwise_count(long[window] ^ short[frame])
        differing[unknown[window]] = 16
        errors += differing
    return 1 - errors / (32 * len(told))
