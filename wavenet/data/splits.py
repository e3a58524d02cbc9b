"""Which tracks are held out: decided by each track's digest, the same for all its stems.

The invariants: a track is on one side for all its stems, and a stem of two tracks or more has one
to train on. Songs that come later move none from training into the held-out part, as long as all
have the same stems, there were two or more, and not all had digests below heldout_share. Elsewhere
the rules for small numbers decide, and may move one: no rule that holds out a share of the tracks
and leaves one on either side of any two could promise more.
"""

from collections.abc import Collection, Mapping
from itertools import islice
from typing import Literal

Split = Literal["train", "heldout"]
SPLITS: tuple[Split, Split] = ("train", "heldout")


def choose_heldout(tracks: Mapping[str, Collection[str]], heldout_share: float) -> set[str]:
    """The ids of held-out tracks. tracks: the stems of each track id, a hexadecimal digest.

    A track is held out where its digest, as a fraction of 1, lies below heldout_share. Where that
    leaves a stem of two tracks or more with nothing to train on, its track with the highest digest
    is not; where it leaves one with nothing held out, its lowest is that leaves every stem something
    to train on. Where there is none, that stem has nothing held out by track.
    """
    heldout = {track for track in tracks if _fraction(track) < heldout_share}
    names = sorted({stem for stems in tracks.values() for stem in stems})
    having = [{track for track, stems in tracks.items() if name in stems} for name in names]
    shared = [those for those in having if len(those) > 1]
    for those in shared:
        if those <= heldout:
            heldout.discard(max(those))
    for those in shared:
        if not those & heldout:
            free = (t for t in sorted(those) if not any(each - heldout == {t} for each in shared))
            heldout |= set(islice(free, 1))
    return heldout


def split_segments(num_segments: int, split: Split | None, heldout_share: float) -> list[Split]:
    """The split of each segment of a track, in time order.

    split: of the whole track; None where its stem cannot be split by track (it has but one, as a
    rule): then the last part is held out, at least one segment where there are two.
    """
    if split is not None:
        return [split] * num_segments
    tail = max(0, min(num_segments - 1, max(1, round(heldout_share * num_segments))))
    train: list[Split] = ["train"] * (num_segments - tail)
    return train + ["heldout"] * tail


def _fraction(digest: str) -> float:
    return int(digest[:8], 16) / 0x1_0000_0000
