"""Training windows and held-out windows over the codes of a shard set.

Knows the receptive field as a number and nothing else of models. The invariants: a window is context
first, then scored samples, and every scored sample has its whole context; a window never crosses a
track's end; the windows of a step depend on the seed and the step alone, so a resumed training
draws what the interrupted one would have drawn.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from wavenet.audio.mulaw import Codes
from wavenet.config import ModelConfig, StemConfig
from wavenet.data.conditions import condition_facts
from wavenet.data.shards.format import Manifest
from wavenet.data.shards.reader import read_codes
from wavenet.data.splits import SPLITS, Split
from wavenet.errors import IncompatibleDataError

MAX_SOFTMAX_LEVELS = 1024
STEPS_A_DRAW = 256
"""Steps whose places are drawn at once: to seed a generator takes longer than to copy a batch."""


@dataclass(frozen=True)
class CodeRun:
    """An unbroken stretch of one track's codes, (num_samples,), from start_sample on."""

    track_id: str
    track: str
    start_sample: int
    codes: Codes


class Tile(NamedTuple):
    """One held-out window: the number of its run, where in the run it begins, samples of it."""

    run: int
    start: int
    length: int


def load_runs(folder: Path, split: Split) -> list[CodeRun]:
    """All codes of a split, neighbouring segments joined. Raises ShardFormatError.

    The runs are views of one array: what is resident is the codes and nothing else.
    """
    rows, codes = read_codes(folder, split)
    if rows.empty:
        return []
    begins = (rows["track_id"] != rows["track_id"].shift()) | (
        rows["start_sample"] != (rows["start_sample"] + rows["num_samples"]).shift()
    )
    first = rows[begins]
    places = np.concatenate([[0], np.cumsum(rows["num_samples"].to_numpy())])[[*first.index, len(rows)]]
    names = zip(first["track_id"], first["track"], first["start_sample"], strict=True)
    return [
        CodeRun(track_id, track, int(start_sample), codes[start:end])
        for (track_id, track, start_sample), start, end in zip(names, places[:-1], places[1:], strict=True)
    ]


def check_compatible(manifest: Manifest, config: StemConfig) -> None:
    """Raise IncompatibleDataError where these shards cannot train this model, saying why."""
    check_levels(manifest.stem, manifest.quantization_channels, config.model)
    condition_facts(manifest, config.model)
    for split in SPLITS:
        if not manifest.num_samples(split):
            raise IncompatibleDataError(
                f"{manifest.stem}: no {split} audio in the shards; two segments are "
                "the least; add audio or lower segmentation.segment_seconds"
            )
    shortest = config.model.receptive_field + 1
    for split in SPLITS:
        longest = _longest_run(manifest, split)
        if longest < shortest:
            raise IncompatibleDataError(
                f"{manifest.stem}: the longest {split} audio has {longest} samples, the receptive field "
                f"needs {shortest}; lower model.dilation_cycle or model.num_cycles, or add longer tracks"
            )


def check_levels(stem: str, quantization_channels: int, config: ModelConfig) -> None:
    """Raise IncompatibleDataError where an output cannot tell so many levels apart."""
    if config.output == "softmax" and quantization_channels > MAX_SOFTMAX_LEVELS:
        raise IncompatibleDataError(
            f"{stem}: the shards have {quantization_channels} levels, a softmax output "
            f"has at most {MAX_SOFTMAX_LEVELS}; lower quantization.quantization_channels, or set "
            "model.output=logistics"
        )


def _longest_run(manifest: Manifest, split: Split) -> int:
    """Samples of the longest run in a split, at most: a track that is itself cut in two has less."""
    there = (track for track in manifest.tracks if track.split == split or track.end_heldout)
    return min(max((track.num_samples for track in there), default=0), manifest.num_samples(split))


class WindowSampler:
    """Batches of windows at random places, every place of every run as long as one equally likely."""

    def __init__(
        self, runs: list[CodeRun], receptive_field: int, scored_length: int, batch_size: int, seed: int
    ) -> None:
        """Where no run is so long, the scored part shrinks to what the longest run allows.

        Raises IncompatibleDataError where not one sample has its whole context.
        """
        longest = _refuse_short(runs, receptive_field)
        self.scored_length = min(scored_length, longest - receptive_field)
        self.window_length = receptive_field + self.scored_length
        self.runs = [run for run in runs if len(run.codes) >= self.window_length]
        self.batch_size, self.seed = batch_size, seed
        places = [len(run.codes) - self.window_length + 1 for run in self.runs]
        self.ends = np.cumsum(places, dtype=np.int64)
        self.begins = self.ends - places
        self._drawn: tuple[int, NDArray[np.int64], NDArray[np.int64]] | None = None

    def places(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the windows of a step begin: numbers in `runs`, and samples of those runs, (batch_size,)."""
        number, row = divmod(step, STEPS_A_DRAW)
        if self._drawn is None or self._drawn[0] != number:
            self._drawn = number, *self._draw(number)
        _, chosen, starts = self._drawn
        return chosen[row], starts[row]

    def _draw(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The places of STEPS_A_DRAW steps, (steps, batch_size), whatever was drawn before."""
        generator = np.random.default_rng([self.seed, number])
        places = generator.integers(self.ends[-1], size=(STEPS_A_DRAW, self.batch_size))
        chosen = np.searchsorted(self.ends, places, side="right")
        return chosen, places - self.begins[chosen]

    def batch(self, step: int) -> NDArray[np.integer]:
        """The windows of a step, (batch_size, receptive_field + scored_length) codes."""
        chosen, starts = self.places(step)
        runs = [self.runs[number] for number in chosen.tolist()]
        return cut_windows(runs, starts.tolist(), self.window_length, self.runs[0].codes.dtype)


def cut_windows(
    runs: Sequence[CodeRun], starts: Iterable[int], length: int, dtype: DTypeLike
) -> NDArray[np.integer]:
    """(windows, length) codes, one window of each run, from its start within the run on."""
    windows = np.empty((len(runs), length), dtype)
    for window, run, start in zip(windows, runs, starts, strict=True):
        window[:] = run.codes[start : start + length]
    return windows


def tile_places(runs: Sequence[CodeRun], receptive_field: int, scored_length: int) -> Iterator[Tile]:
    """Windows in which every sample that has its whole context is scored exactly once.

    Each has receptive_field + scored samples; scored is scored_length but for a run's last window.
    Raises IncompatibleDataError where not one sample has its whole context.
    """
    _refuse_short(runs, receptive_field)
    for number, run in enumerate(runs):
        for start in range(0, len(run.codes) - receptive_field, scored_length):
            yield Tile(number, start, min(receptive_field + scored_length, len(run.codes) - start))


def tile_windows(runs: Sequence[CodeRun], receptive_field: int, scored_length: int) -> Iterator[Codes]:
    """The codes of `tile_places`, (receptive_field + scored,) each; views."""
    for run, start, length in tile_places(runs, receptive_field, scored_length):
        yield runs[run].codes[start : start + length]


def _refuse_short(runs: Sequence[CodeRun], receptive_field: int) -> int:
    """The length of the longest run, which must hold at least one window."""
    longest = max((len(run.codes) for run in runs), default=0)
    if longest <= receptive_field:
        raise IncompatibleDataError(
            f"the longest run of audio has {longest} samples, a window needs {receptive_field + 1}; "
            "lower model.dilation_cycle or model.num_cycles, or add longer tracks"
        )
    return longest


def scored_codes(runs: list[CodeRun], receptive_field: int) -> Codes:
    """The codes that `tile_windows` scores, joined: what a baseline must be measured on."""
    parts = [run.codes[receptive_field:] for run in runs]
    return np.concatenate(parts) if parts else np.zeros(0, np.uint8)
