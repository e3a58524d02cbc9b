"""From shards to what a network is fed: windows of codes, each with what is told of its samples.

Knows nothing of networks but the form of their conditions. The invariants: a sample's frame is that in
which it lies, whichever window it is in; what a step is fed, and what of it is dropped, depends on the seed
and the step alone; the ranks' rows together are those of one process.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wavenet.config import ModelConfig, TrainingConfig
from wavenet.data.choosing import choose_evenly
from wavenet.data.conditions import FrameRun, between, condition_facts, load_frames, load_labels
from wavenet.data.dataset import CodeRun, Tile, WindowSampler, cut_windows, load_runs, tile_places
from wavenet.data.primes import Place
from wavenet.data.shards.format import Manifest, read_manifest
from wavenet.data.splits import Split
from wavenet.errors import IncompatibleDataError
from wavenet.model.conditioning import FRAME_REACH, Condition, ConditionForm

DROPOUT_STREAM = 1
"""Random numbers of their own, so that dropping conditions moves no window."""


@dataclass(frozen=True)
class Windows:
    """Codes, (batch, receptive_field + scored) int64, and what a network is told of all but the first.

    condition: its frame_index has a column less than codes; None where there is nothing to tell.
    """

    codes: Tensor
    condition: Condition | None

    def __len__(self) -> int:
        return len(self.codes)

    def select(self, rows: slice | Tensor) -> "Windows":
        """Those windows alone."""
        return Windows(self.codes[rows], self.condition and self.condition.select(rows))

    def to(self, device: torch.device) -> "Windows":
        return Windows(self.codes.to(device), self.condition and self.condition.to(device))

    def untold(self) -> "Windows":
        """The same codes, nothing told of them."""
        return Windows(self.codes, None)


def condition_form(manifest: Manifest, config: ModelConfig) -> ConditionForm:
    """What a network of this config can be told on these shards. Raises IncompatibleDataError."""
    return ConditionForm(**asdict(condition_facts(manifest, config)))


class ConditionSource:
    """What is known of the tracks of a split, as a network is told it."""

    def __init__(self, shards: Path, split: Split, runs: Sequence[CodeRun], form: ConditionForm) -> None:
        """runs: all of the split. Raises IncompatibleDataError where the shards lack what is to be told."""
        self.form = form
        self.frames: dict[str, list[FrameRun]] = defaultdict(list)
        self.labels: dict[str, list[int]] = {}
        if form.features:
            _refuse_other_frames(read_manifest(shards), form)
            for run, frames in zip(runs, load_frames(shards, split, runs, list(form.features)), strict=True):
                self.frames[run.track_id].append(frames)
        if form.labels:
            known = load_labels(shards, split, form.labels)
            self.labels = {track_id: form.label_ids(values) for track_id, values in known.items()}

    def tell(self, track_ids: Sequence[str], starts: NDArray[np.integer], num_codes: int) -> Condition | None:
        """What is known of windows of num_codes codes; None if nothing can be told.

        starts: (batch,) samples from each track's beginning to its window's first code. Every Condition of
        so many codes has as many frames, the most that they may lie in. What the shards do not have, before
        a run or after it, is no frame, and a label that a track lacks is no label.
        """
        if not self.form:
            return None
        hop = self.form.hop_length
        first = (starts + 1) // hop
        frame_index = (starts[:, None] + np.arange(1, num_codes + 1)) // hop - first[:, None]
        num_frames = (num_codes + hop - 2) // hop + 1
        frames = self._gather(track_ids, first - FRAME_REACH, num_frames + 2 * FRAME_REACH)
        labels = np.zeros((len(starts), len(self.form.labels)), np.int64)
        for row, track_id in zip(labels, track_ids, strict=True):
            row[:] = self.labels.get(track_id, 0)
        return Condition(*map(torch.from_numpy, (labels, frames, frame_index)))

    def _gather(
        self, track_ids: Sequence[str], first_frames: NDArray[np.integer], num_frames: int
    ) -> NDArray[np.float32]:
        """(batch, num_frames, channels)"""
        frames = np.zeros((len(track_ids), num_frames, self.form.frame_channels), np.float32)
        for row, track_id, first_frame in zip(frames, track_ids, first_frames.tolist(), strict=True):
            for run in between(self.frames.get(track_id, []), first_frame, first_frame + num_frames):
                run.fill(row, first_frame)
        return frames


class TrainingWindows:
    """The windows of each step of a training."""

    def __init__(
        self, shards: Path, receptive_field: int, config: TrainingConfig, form: ConditionForm
    ) -> None:
        """Raises IncompatibleDataError where no sample has its context, or what is to be told is missing."""
        runs = load_runs(shards, "train")
        self.config = config
        self.sampler = WindowSampler(
            runs, receptive_field, config.scored_length, config.batch_size, config.seed
        )
        self.source = ConditionSource(shards, "train", runs, form)

    @property
    def scored_length(self) -> int:
        """Samples that are scored in each window: as configured, or fewer where no run is so long."""
        return self.sampler.scored_length

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Windows:
        """Rows rank, rank + world ... of the batch_size windows of a step; some are told nothing."""
        mine = slice(rank, None, world)
        chosen, starts = (places[mine] for places in self.sampler.places(step))
        runs = [self.sampler.runs[number] for number in chosen.tolist()]
        windows = _cut(self.source, runs, starts, self.sampler.window_length)
        if windows.condition is None:
            return windows
        dropped = torch.from_numpy(draw_dropped(step, self.config)[mine])
        return Windows(windows.codes, windows.condition.dropped(dropped))


class HeldoutWindows:
    """A split in windows that score each sample that has its context once, told all that is known."""

    def __init__(
        self,
        shards: Path,
        receptive_field: int,
        scored_length: int,
        form: ConditionForm,
        split: Split = "heldout",
    ) -> None:
        """Raises IncompatibleDataError where no sample has its context, or what is to be told is missing."""
        self.runs = load_runs(shards, split)
        self.tiles = list(tile_places(self.runs, receptive_field, scored_length))
        self.source = ConditionSource(shards, split, self.runs, form)

    def __len__(self) -> int:
        return len(self.tiles)

    def batches(self, size: int, count: int | None = None) -> Iterator[Windows]:
        """Windows of one length together, at most size at a time; all of them, or so many spread evenly."""
        tiles = choose_evenly(self.tiles, count or len(self))
        for _, alike in groupby(sorted(tiles, key=_LENGTH), _LENGTH):
            same = list(alike)
            for start in range(0, len(same), size):
                yield self._windows(same[start : start + size])

    def _windows(self, tiles: Sequence[Tile]) -> Windows:
        runs = [self.runs[tile.run] for tile in tiles]
        return _cut(self.source, runs, np.array([tile.start for tile in tiles]), tiles[0].length)


_LENGTH = attrgetter("length")


def continuation_condition(
    shards: Path, form: ConditionForm, place: Place, context_length: int, num_samples: int
) -> Condition | None:
    """What `generate` is told to play num_samples from a place in held-out audio on; None if nothing.

    One stream; frame_index is (1, context_length + num_samples - 1). Where the track has ended, or where its
    silence was cut, there are no frames. Raises IncompatibleDataError as `ConditionSource`, and where the
    track has no held-out audio.
    """
    runs = load_runs(shards, "heldout")
    if place.track_id not in {run.track_id for run in runs}:
        raise IncompatibleDataError(
            f"{shards}: no held-out audio of track {place.track_id}; choose a place in these shards"
        )
    start = np.array([place.start_sample - context_length])
    source = ConditionSource(shards, "heldout", runs, form)
    return source.tell([place.track_id], start, context_length + num_samples - 1)


def draw_dropped(step: int, config: TrainingConfig) -> NDArray[np.bool_]:
    """Which windows of a step are told nothing, (batch_size,): each with a chance of condition_dropout."""
    stream = np.random.SeedSequence([config.seed, step], spawn_key=(DROPOUT_STREAM,))
    return np.random.default_rng(stream).random(config.batch_size) < config.condition_dropout


def _cut(
    source: ConditionSource, runs: Sequence[CodeRun], starts: NDArray[np.integer], length: int
) -> Windows:
    """Windows of those runs, from each start within its run on."""
    codes = torch.from_numpy(cut_windows(runs, starts.tolist(), length, np.int64))
    begins = starts + np.array([run.start_sample for run in runs], np.int64)
    return Windows(codes, source.tell([run.track_id for run in runs], begins, length - 1))


def _refuse_other_frames(manifest: Manifest, form: ConditionForm) -> None:
    if manifest.hop_length != form.hop_length:
        raise IncompatibleDataError(
            f"{manifest.stem}: the shards have frames of {manifest.hop_length} samples, the model was made "
            f"for {form.hop_length}; prepare them with the model's features.frame_rate"
        )
