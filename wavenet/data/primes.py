"""Where a take begins: one place in held-out audio for the whole band.

Stems of a song share one grid, so a place is a track and a sample; every stem that starts there has
heard the same bars. The invariant: a place has the whole context that was asked for before it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from wavenet.audio.mulaw import Codes
from wavenet.data.dataset import load_runs
from wavenet.data.shards.reader import read_shards

QUIET_DB = -60.0


@dataclass(frozen=True)
class Place:
    """A sample of a track: context lies before it, the true continuation from it on."""

    track_id: str
    start_sample: int


def choose_places(
    shards: Mapping[str, Path], context_length: int, num_samples: int
) -> dict[str, Place | None]:
    """Where each stem's take begins. shards: shard set of each stem.

    The place that most stems share wins, then the one with the longest continuation (num_samples is
    enough), then the loudest. A stem that lacks it begins at its own best place, or nowhere (None).
    """
    candidates = {stem: _candidates(folder, context_length, num_samples) for stem, folder in shards.items()}
    table = pd.concat(candidates.values(), ignore_index=True)
    if table.empty:
        return dict.fromkeys(shards)
    ranked = table.groupby(["track_id", "start_sample"], as_index=False).agg(
        stems=("level_db", "size"), left=("left", "min"), level_db=("level_db", "sum")
    )
    order = ranked.sort_values(["stems", "left", "level_db", "track_id", "start_sample"], ascending=False)
    return {stem: _first_shared(order, mine) for stem, mine in candidates.items()}


def context_and_continuation(
    shards: Path, place: Place, context_length: int, num_samples: int
) -> tuple[Codes, Codes]:
    """Held-out codes before a place, (context_length,), and from it on, at most (num_samples,)."""
    for run in load_runs(shards, "heldout"):
        start = place.start_sample - run.start_sample
        if run.track_id == place.track_id and context_length <= start <= len(run.codes):
            return run.codes[start - context_length : start], run.codes[start : start + num_samples]
    raise ValueError(f"{shards} has no held-out audio around {place}")


def _candidates(folder: Path, context_length: int, num_samples: int) -> pd.DataFrame:
    """Segment borders of held-out audio that have their context, with what is left of the run after each."""
    rows = read_shards(folder, "heldout", ["track_id", "start_sample", "num_samples", "level_db"])
    rows["end"] = rows["start_sample"] + rows["num_samples"]
    begins = (rows["track_id"] != rows["track_id"].shift()) | (rows["start_sample"] != rows["end"].shift())
    grouped = rows.groupby(begins.cumsum())
    first, end = grouped["start_sample"].transform("min"), grouped["end"].transform("max")
    rows["left"] = (end - rows["start_sample"]).clip(upper=num_samples)
    rows["level_db"] = grouped["level_db"].shift().clip(lower=QUIET_DB)  # of the segment heard before
    return rows[rows["start_sample"] - first >= context_length]


def _first_shared(order: pd.DataFrame, mine: pd.DataFrame) -> Place | None:
    keys = pd.MultiIndex.from_frame(mine[["track_id", "start_sample"]])
    places = pd.MultiIndex.from_frame(order[["track_id", "start_sample"]])
    shared = order[places.isin(keys)]
    if shared.empty:
        return None
    best = shared.iloc[0]
    return Place(str(best["track_id"]), int(best["start_sample"]))
