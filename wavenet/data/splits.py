"""Which tracks are held out: decided by each track's digest, the same for all its stems.

A track is held out where its digest, as a fraction of 1, lies below heldout_share; what a data set or
a manifest says of a track wins. Small collections need more: a stem must have something to train on
and something held out. What that takes is decided among new tracks alone and remembered. So the
invariant: songs that come later never move an earlier one, nor the end of one, to the other side.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Split = Literal["train", "heldout", "test"]
SPLITS: tuple[Split, Split] = ("train", "heldout")
"""What a training needs. Audio under `test` is kept for whoever evaluates at the very end."""
ALL_SPLITS: tuple[Split, Split, Split] = ("train", "heldout", "test")


@dataclass(frozen=True)
class TrackSplit:
    """Where a track belongs. ends: stems of a training track whose last part is held out."""

    split: Split
    ends: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Candidate:
    """A track to be assigned: its stems, and what its data set or manifest says."""

    stems: Collection[str]
    given: Split | None = None


def choose_splits(
    tracks: Mapping[str, Candidate], heldout_share: float, known: Mapping[str, TrackSplit]
) -> dict[str, TrackSplit]:
    """The split of every track, by id (a hexadecimal digest). known: what was decided before.

    Where a stem has nothing to train on, its new track with the highest digest is trained on. Where it has
    nothing held out, its new track with the lowest digest is held out, if that leaves every stem something
    to train on; else the end of each of its training tracks is.
    """
    chosen = {track: _first_choice(track, tracks[track], heldout_share, known) for track in sorted(tracks)}
    free = {track for track in tracks if track not in known and tracks[track].given is None}
    for stem in sorted({stem for track in tracks.values() for stem in track.stems}):
        if not _having(tracks, chosen, stem, "train"):
            for track in _having(tracks, chosen, stem, "heldout")[::-1]:
                if track in free:
                    chosen[track] = TrackSplit("train")
                    break
    for stem in sorted({stem for track in tracks.values() for stem in track.stems}):
        _hold_something_out(stem, tracks, chosen, free)
    return chosen


def split_segments(num_segments: int, split: Split, end_heldout: bool, heldout_share: float) -> list[Split]:
    """The split of each segment of a track, in time order.

    end_heldout: the last part is held out, at least one segment where there are two.
    """
    if not end_heldout:
        return [split] * num_segments
    tail = max(0, min(num_segments - 1, max(1, round(heldout_share * num_segments))))
    return [split] * (num_segments - tail) + ["heldout"] * tail


def _first_choice(
    track: str, candidate: Candidate, heldout_share: float, known: Mapping[str, TrackSplit]
) -> TrackSplit:
    if candidate.given is not None:
        return TrackSplit(candidate.given, _ends(known, track) if candidate.given == "train" else [])
    if track in known:
        return known[track]
    return TrackSplit("heldout" if _fraction(track) < heldout_share else "train")


def _ends(known: Mapping[str, TrackSplit], track: str) -> list[str]:
    return known[track].ends if track in known else []


def _hold_something_out(
    stem: str, tracks: Mapping[str, Candidate], chosen: dict[str, TrackSplit], free: set[str]
) -> None:
    training = _having(tracks, chosen, stem, "train")
    if _having(tracks, chosen, stem, "heldout") or any(stem in chosen[track].ends for track in training):
        return
    for track in training:
        if track in free and not any(_is_last(track, each, tracks, chosen) for each in tracks[track].stems):
            chosen[track] = TrackSplit("heldout")
            return
    for track in training:
        chosen[track] = replace(chosen[track], ends=sorted({*chosen[track].ends, stem}))


def _is_last(
    track: str, stem: str, tracks: Mapping[str, Candidate], chosen: Mapping[str, TrackSplit]
) -> bool:
    """Whether a track is the only one that a stem is trained on."""
    return _having(tracks, chosen, stem, "train") == [track]


def _having(
    tracks: Mapping[str, Candidate], chosen: Mapping[str, TrackSplit], stem: str, split: Split
) -> list[str]:
    """The tracks of a split that have a stem, by ascending digest."""

    def found() -> Iterator[str]:
        for track in sorted(tracks):
            if stem in tracks[track].stems and chosen[track].split == split:
                yield track

    return list(found())


def _fraction(digest: str) -> float:
    return int(digest[:8], 16) / 0x1_0000_0000
