"""Which tracks are held out, once decided: kept in the workspace, for each share of held-out tracks.

The invariant: a song that comes later moves no earlier one, see `wavenet/data/splits.py`.
"""

from collections.abc import Mapping
from dataclasses import asdict

from tasks.workspace import Workspace
from wavenet.data.splits import TrackSplit
from wavenet.errors import ConfigError

SPLITS = "splits.json"


def known_splits(place: Workspace, heldout_share: float) -> dict[str, TrackSplit]:
    """What earlier runs decided, by track id."""
    remembered = _read(place).get(f"{heldout_share:g}", {})
    return {track: TrackSplit(**split) for track, split in remembered.items()}


def remember_splits(place: Workspace, heldout_share: float, splits: Mapping[str, TrackSplit]) -> None:
    """Keep what a run decided beside what earlier ones did."""
    with place.lock("splits"):
        everything = _read(place)
        mine = everything.get(f"{heldout_share:g}", {})
        updated = {**mine, **{track: asdict(split) for track, split in splits.items()}}
        if updated != mine:
            place.write(SPLITS, {**everything, f"{heldout_share:g}": updated})


def _read(place: Workspace) -> dict:
    try:
        return dict(place.read(SPLITS))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"{place.root / SPLITS}: cannot be read ({error}); it says which songs are held out: bring back "
            "a copy, or remove it, and songs may change sides"
        ) from None
