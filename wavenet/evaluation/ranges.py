"""How a stem's training audio sounds: the range of each figure over its windows.

Knows shards and waveforms; nothing of models or takes. The invariants: the windows are drawn from a seed and
spread evenly over tracks, at most `MOST_WINDOWS` of them, so that hours of audio cost seconds; and a range
has a width of at least what a listener would notice, so that a distance from it can be told in widths.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain, islice, zip_longest
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from wavenet.audio.metering import level_db
from wavenet.audio.quantization import Quantizer
from wavenet.audio.silence import own_level_db
from wavenet.data.dataset import CodeRun, load_runs
from wavenet.data.shards.format import read_manifest
from wavenet.data.shards.reader import read_shards
from wavenet.errors import IncompatibleDataError
from wavenet.evaluation.sound import FIGURES, Sound, clipped_from, list_windows, measure_sound

MOST_WINDOWS = 256
LEAST_SECONDS = 1.0
"""Shorter windows count no hits; they are taken where a set has nothing longer."""
SILENT_BELOW_DB = 40.0
"""As far under the level at which a stem plays, 20 ms are a rest: reverberation ends there."""
LEAST_WIDTHS = {
    "level_db": 3.0,
    "onsets_per_second": 1.0,
    "flatness_db": 3.0,
    "clipped_share": 0.05,
    "silent_share": 0.1,
    "longest_silence_seconds": 0.5,
    "repetition": 0.1,
}


class Spread(BaseModel):
    """Quantiles of a figure: p1 is what one in a hundred lies below. The range is from p1 to p99."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    p1: float
    p5: float
    p50: float
    p95: float
    p99: float
    count: int
    least_width: float

    @property
    def width(self) -> float:
        """Of the range, or least_width where that is more: the unit of distances."""
        return max(self.p99 - self.p1, self.least_width)

    def outside(self, value: float) -> float:
        """How far a value lies outside the range, in widths: 0 inside, negative below it, positive above."""
        return (min(0.0, value - self.p1) + max(0.0, value - self.p99)) / self.width


class Ranges(BaseModel):
    """How a stem's training audio sounds.

    silent_db: level of 20 ms below which they are silent, dB of full scale. full_scale: magnitude from which
    on a sample is clipped. figures: a Spread of each of `sound.FIGURES`; one that no window has is missing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    sample_rate: int
    silent_db: float
    full_scale: float
    figures: dict[str, Spread]


def spread(values: Sequence[float], least_width: float) -> Spread:
    """Quantiles of one value or more."""
    p1, p5, p50, p95, p99 = np.quantile(values, [0.01, 0.05, 0.5, 0.95, 0.99]).tolist()
    return Spread(p1=p1, p5=p5, p50=p50, p95=p95, p99=p99, count=len(values), least_width=least_width)


def measure_ranges(shards: Path, seed: int = 0) -> Ranges:
    """The ranges of a shard set's training audio. Raises IncompatibleDataError where nothing in it sounds."""
    manifest = read_manifest(shards)
    quantizer = Quantizer(manifest.law, manifest.quantization_channels)
    full_scale = clipped_from(quantizer)
    silent_db = _silent_level(shards)
    windows = _draw_windows(load_runs(shards, "train"), manifest.sample_rate, seed)
    waveforms = map(quantizer.decode, windows)
    sounding = (one for one in waveforms if level_db(float(np.square(one).mean())) >= silent_db)
    sounds = [
        measure_sound(waveform, manifest.sample_rate, silent_db, full_scale)
        for waveform in islice(sounding, MOST_WINDOWS)
    ]
    if not sounds:
        raise _nothing_sounds(shards)
    return Ranges(
        sample_rate=manifest.sample_rate,
        silent_db=silent_db,
        full_scale=full_scale,
        figures=spread_figures(sounds),
    )


def spread_figures(sounds: Sequence[Sound]) -> dict[str, Spread]:
    """The spread of each figure over windows."""
    columns = {
        name: [value for sound in sounds if (value := getattr(sound, name)) is not None] for name in FIGURES
    }
    return {name: spread(values, LEAST_WIDTHS[name]) for name, values in columns.items() if values}


def _silent_level(shards: Path) -> float:
    levels = read_shards(shards, "train", ["level_db"])["level_db"].to_numpy(np.float32)
    level = own_level_db(np.power(10, levels / 10, dtype=np.float32))
    if level is None:
        raise _nothing_sounds(shards)
    return level - SILENT_BELOW_DB


def _draw_windows(runs: Sequence[CodeRun], sample_rate: int, seed: int) -> Iterator[np.ndarray]:
    """Codes of windows in random order, one of each track in turn."""
    longest = max((len(run.codes) for run in runs), default=0)
    least = min(longest, round(LEAST_SECONDS * sample_rate))
    places: dict[str, list[tuple[CodeRun, range]]] = defaultdict(list)
    for run in runs:
        windows = list_windows(len(run.codes), sample_rate)
        places[run.track_id] += [(run, window) for window in windows if len(window) >= least]
    rng = np.random.default_rng(seed)
    shuffled = [[mine[i] for i in rng.permutation(len(mine))] for mine in places.values()]
    order = rng.permutation(len(shuffled))
    for place in chain.from_iterable(zip_longest(*(shuffled[i] for i in order))):
        if place is not None:
            run, window = place
            yield run.codes[window.start : window.stop]


def _nothing_sounds(shards: Path) -> IncompatibleDataError:
    return IncompatibleDataError(
        f"{shards}: nothing sounds in its training audio, so there is nothing to hold takes against; prepare "
        "shards of audio that sounds"
    )
