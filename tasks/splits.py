"""Which tracks are held out, once decided: kept in the workspace, for each share of held-out tracks.

The invariant: neither a song that comes later (see `wavenet/data/splits.py`) nor another run moves one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from tasks.workspace import Workspace
from wavenet.data.splits import TrackSplit
from wavenet.errors import ConfigError

SPLITS = "splits.json"


def known_splits(place: Workspace, heldout_share: float) -> dict[str, TrackSplit]:
    """What earlier runs decided, by track id."""
    return _of_share(_read(place), heldout_share)


def _of_share(everything: dict, heldout_share: float) -> dict[str, TrackSplit]:
    remembered = everything.get(f"{heldout_share:g}", {})
    return {track: TrackSplit(**split) for track, split in remembered.items()}


@contextmanager
def deciding_splits(place: Workspace, heldout_share: float) -> Iterator[dict[str, TrackSplit]]:
    """Yields what earlier runs decided, to be added to; no other decides until it is kept."""
    with place.lock("splits"):
        everything = _read(place)
        splits = _of_share(everything, heldout_share)
        before = dict(splits)
        yield splits
        if splits != before:
            decided = {track: asdict(split) for track, split in splits.items()}
            place.write(SPLITS, {**everything, f"{heldout_share:g}": decided})


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
