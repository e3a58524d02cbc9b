"""What was decided of a track is remembered, for each share of held-out tracks."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.splits import deciding_splits, known_splits
from tasks.workspace import Workspace
from wavenet.data.splits import Candidate, TrackSplit, choose_splits
from wavenet.errors import ConfigError

DIGESTS = st.integers(0, 2**128 - 1).map(lambda number: f"{number:032x}")
STEMS = st.sets(st.sampled_from(["drums", "bass", "vocals"]), min_size=1).map(sorted)
TRACKS = st.dictionaries(DIGESTS, st.builds(Candidate, STEMS), max_size=6)
SHARES = st.sampled_from([0.05, 0.1, 0.5])


def plan(place, tracks, share):
    """What a run does: remember what earlier ones decided, decide the rest, keep that."""
    with deciding_splits(place, share) as known:
        splits = choose_splits(tracks, share, dict(known))
        known.update(splits)
    return splits


def remember(place, share, splits):
    with deciding_splits(place, share) as known:
        known.update(splits)


def test_nothing_is_known_at_first(place):
    assert known_splits(place, 0.1) == {}


def test_what_was_decided_is_known(place):
    splits = {"a" * 32: TrackSplit("train", ["drums", "mix"]), "b" * 32: TrackSplit("heldout")}
    remember(place, 0.1, splits)
    assert known_splits(place, 0.1) == splits
    assert known_splits(Workspace(root=place.root), 0.1) == splits


def test_each_share_of_held_out_tracks_has_a_memory_of_its_own(place):
    remember(place, 0.1, {"a": TrackSplit("train")})
    remember(place, 0.25, {"a": TrackSplit("heldout")})
    assert known_splits(place, 0.1) == {"a": TrackSplit("train")}
    assert known_splits(place, 0.25) == {"a": TrackSplit("heldout")}
    assert known_splits(place, 0.2) == {}


def test_a_later_run_adds_to_what_is_known(place):
    remember(place, 0.1, {"a": TrackSplit("train")})
    remember(place, 0.1, {"b": TrackSplit("heldout")})
    assert known_splits(place, 0.1) == {"a": TrackSplit("train"), "b": TrackSplit("heldout")}


@given(TRACKS, TRACKS, SHARES)
def test_a_later_run_moves_nothing(tmp_path_factory, tracks, more, share):
    place = Workspace(root=tmp_path_factory.mktemp("workspace"))
    first = plan(place, tracks, share)
    second = plan(place, {**more, **tracks}, share)
    third = plan(place, tracks, share)
    assert {track: second[track] for track in first} == first == third
    assert known_splits(place, share) == second


@given(TRACKS, SHARES)
def test_a_song_that_went_and_came_back_is_where_it_was(tmp_path_factory, tracks, share):
    """Others may have had their ends held out meanwhile, where it was the only one held out of a stem."""
    place = Workspace(root=tmp_path_factory.mktemp("workspace"))
    before = plan(place, tracks, share)
    plan(place, dict(list(tracks.items())[1:]), share)
    after = plan(place, tracks, share)
    for track, split in before.items():
        assert after[track].split == split.split
        assert set(split.ends) <= set(after[track].ends)


def test_runs_side_by_side_lose_nothing_of_each_other(place):
    def decide(number):
        remember(place, 0.1, {f"{number:032x}": TrackSplit("train")})

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(decide, range(40)))
    assert len(known_splits(place, 0.1)) == 40


def test_who_decides_knows_what_others_have_decided_before(place):
    """Or two runs at once would each decide of a song, and it would change sides."""

    def decide(side):
        with deciding_splits(place, 0.1) as known:
            time.sleep(0.05)
            known.setdefault("a", TrackSplit(side))
            return known["a"]

    with ThreadPoolExecutor(2) as threads:
        one, other = threads.map(decide, ["train", "heldout"])
    assert one == other == known_splits(place, 0.1)["a"]


def test_a_run_that_decides_nothing_new_writes_nothing(place):
    remember(place, 0.1, {"a": TrackSplit("train")})
    before = (place.root / "splits.json").stat().st_mtime_ns
    remember(place, 0.1, {"a": TrackSplit("train")})
    assert (place.root / "splits.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("text", ["", "{", "[1]", "5"])
def test_a_memory_that_cannot_be_read_is_told_and_kept(place, text):
    place.root.mkdir()
    (place.root / "splits.json").write_text(text)
    with pytest.raises(ConfigError, match=r"splits\.json: cannot be read .*bring back a copy, or remove it"):
        known_splits(place, 0.1)
    with pytest.raises(ConfigError):
        remember(place, 0.1, {"a": TrackSplit("train")})
    assert (place.root / "splits.json").read_text() == text
