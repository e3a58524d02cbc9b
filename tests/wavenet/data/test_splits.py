"""Which tracks are held out: what the rules promise."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wavenet.data.splits import Candidate, TrackSplit, choose_splits, split_segments

DIGESTS = st.builds(
    lambda start, rest: f"{start}{rest:024x}",
    st.sampled_from(["00000000", "10000000", "20000000", "80000000", "f0000000"]),
    st.integers(0, 2**96 - 1),
)
SHARES = st.sampled_from([0.05, 0.1, 0.2, 0.6])
STEMS = st.sets(st.sampled_from(["drums", "bass", "vocals", "guitar"]), min_size=1)
GIVEN = st.sampled_from([None, None, None, "train", "heldout", "test"])
NEW = st.builds(lambda stems: Candidate(sorted(stems)), STEMS)
ANY = st.builds(lambda stems, split: Candidate(sorted(stems), split), STEMS, GIVEN)
ALBUMS = st.dictionaries(DIGESTS, NEW, max_size=8)
MIXED_ALBUMS = st.dictionaries(DIGESTS, ANY, max_size=8)
LOW, HIGH = "0" * 32, "f" * 32


def having(tracks, chosen, stem, split):
    return [t for t, candidate in tracks.items() if stem in candidate.stems and chosen[t].split == split]


def all_stems(tracks):
    return {stem for candidate in tracks.values() for stem in candidate.stems}


@given(ALBUMS, SHARES)
@example({"1" * 32: Candidate(["a"]), "2" * 32: Candidate(["a", "b"]), "3" * 32: Candidate(["b"])}, 0.05)
def test_every_stem_has_something_to_train_on_and_something_held_out(tracks, share):
    chosen = choose_splits(tracks, share, {})
    assert set(chosen) == set(tracks)
    for stem in all_stems(tracks):
        training = having(tracks, chosen, stem, "train")
        assert training
        assert having(tracks, chosen, stem, "heldout") or all(stem in chosen[t].ends for t in training)


@given(MIXED_ALBUMS, MIXED_ALBUMS, SHARES)
def test_adding_songs_never_moves_an_old_one(tracks, more, share):
    before = choose_splits(tracks, share, {})
    after = choose_splits({**more, **tracks}, share, before)
    for track, old in before.items():
        assert after[track].split == old.split
        assert set(old.ends) <= set(after[track].ends)


@given(ALBUMS, ALBUMS, SHARES)
def test_adding_songs_holds_out_no_audio_that_was_trained_on(tracks, more, share):
    """Nor the end of a track: later songs find something of their own to hold out, or had it before."""
    before = choose_splits(tracks, share, {})
    after = choose_splits({**more, **tracks}, share, before)
    assert {track: after[track] for track in before} == before


@given(MIXED_ALBUMS, SHARES)
def test_what_a_data_set_says_wins(tracks, share):
    chosen = choose_splits(tracks, share, {})
    assert all(chosen[t].split == c.given for t, c in tracks.items() if c.given is not None)


def test_a_data_set_that_changed_its_mind_is_followed():
    chosen = choose_splits({HIGH: Candidate(["mix"], "heldout")}, 0.1, {HIGH: TrackSplit("train", ["mix"])})
    assert chosen == {HIGH: TrackSplit("heldout")}


@given(MIXED_ALBUMS, SHARES)
def test_the_order_of_songs_does_not_matter(tracks, share):
    backwards = dict(reversed(tracks.items()))
    assert choose_splits(tracks, share, {}) == choose_splits(backwards, share, {})


def test_digests_decide_where_there_are_enough():
    tracks = {f"{number:02x}" + "0" * 30: Candidate(["mix"]) for number in range(0, 256, 4)}
    chosen = choose_splits(tracks, 0.25, {})
    assert [t for t in tracks if chosen[t].split == "heldout"] == sorted(tracks)[:16]


def test_a_single_song_is_trained_on_but_for_its_end():
    for digest in (LOW, HIGH):
        assert choose_splits({digest: Candidate(["mix"])}, 0.1, {}) == {digest: TrackSplit("train", ["mix"])}


def test_of_two_songs_the_one_with_the_lower_digest_is_held_out():
    one, two = "4" * 32, "8" * 32
    chosen = choose_splits({one: Candidate(["mix"]), two: Candidate(["mix"])}, 0.1, {})
    assert chosen == {one: TrackSplit("heldout"), two: TrackSplit("train")}


def test_a_second_song_leaves_the_end_of_the_first_held_out():
    one, two = "4" * 32, "8" * 32
    before = choose_splits({one: Candidate(["mix"])}, 0.1, {})
    after = choose_splits({one: Candidate(["mix"]), two: Candidate(["mix"])}, 0.1, before)
    assert after == {one: TrackSplit("train", ["mix"]), two: TrackSplit("train")}


def test_a_rare_stem_holds_out_the_end_of_its_track_alone():
    tracks = {f"{n}" * 32: Candidate(["drums"]) for n in (4, 6, 8)} | {"a" * 32: Candidate(["drums", "harp"])}
    chosen = choose_splits(tracks, 0.1, {})
    assert chosen["a" * 32] == TrackSplit("train", ["harp"])
    assert [t[0] for t in tracks if chosen[t].split == "heldout"] == ["4"]


@given(st.integers(0, 500), st.sampled_from([0.05, 0.1, 0.5, 0.9]))
def test_the_end_of_a_track_is_held_out_and_its_beginning_trained_on(num_segments, share):
    splits = split_segments(num_segments, "train", True, share)
    assert len(splits) == num_segments
    assert splits == sorted(splits, key=["train", "heldout"].index)
    if num_segments > 1:
        assert set(splits) == {"train", "heldout"}


@pytest.mark.parametrize("split", ["train", "heldout", "test"])
def test_a_whole_track_keeps_its_split(split):
    assert split_segments(3, split, False, 0.1) == [split] * 3
