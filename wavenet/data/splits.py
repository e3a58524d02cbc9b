"""Which tracks are held out: decided by each track's digest, the same for all its stems.

The invariant: adding songs never moves a song from training into the held-out part.
"""

from collections.abc import Collection, Mapping
from typing import Literal

Split = Literal["train", "heldout"]
SPLITS: tuple[Split, Split] = ("train", "heldout")


def choose_heldout(tracks: Mapping[str, Collection[str]], heldout_share: float) -> set[str]:
    """The ids of held-out tracks. tracks: the stems of each track id, a hexadecimal digest.

    A track is held out where its digest, as a fraction of 1, lies below heldout_share. Where that
    leaves a stem with nothing held out though it has two tracks or more, its track with the lowest
    digest is held out; a stem with nothing left to train on gets its highest back.
    """
    heldout = {track for track in tracks if _fraction(track) < heldout_share}
    for stem in sorted({stem for stems in tracks.values() for stem in stems}):
        having = sorted(track for track, stems in tracks.items() if stem in stems)
        if len(having) > 1 and not heldout & set(having):
            heldout.add(having[0])
        if len(having) > 1 and heldout >= set(having):
            heldout.discard(having[-1])
    return heldout


def split_segments(num_segments: int, split: Split | None, heldout_share: float) -> list[Split]:
    """The split of each segment of a track, in time order.

    split: of the whole track; None where its stem cannot be split by track (it has but one): then
    the last part is held out, at least one segment where there are two.
    """
    if split is not None:
        return [split] * num_segments
    tail = min(num_segments - 1, max(1, round(heldout_share * num_segments)))
    train: list[Split] = ["train"] * (num_segments - tail)
    return train + ["heldout"] * tail


def _fraction(digest: str) -> float:
    return int(digest[:8], 16) / 0x1_0000_0000
