"""Which tracks are held out: what the rules promise, and what they do not."""

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from wavenet.data.splits import SPLITS, choose_heldout, split_segments

LOW, HIGH = "00000000", "f0000000"
"""Beginnings of a digest below any share, and of one above."""
DIGESTS = st.builds(
    lambda start, rest: f"{start}{rest:024x}",
    st.sampled_from(["00000000", "10000000", "20000000", "80000000", "f0000000"]),
    st.integers(0, 2**96 - 1),
)
SHARES = st.sampled_from([0.05, 0.1, 0.2, 0.6])
STEMS = st.sets(st.sampled_from(["drums", "bass", "vocals", "guitar"]), min_size=1)
ALBUMS = st.dictionaries(DIGESTS, STEMS, max_size=8)
SAME_STEMS = st.builds(dict.fromkeys, st.lists(DIGESTS, unique=True, max_size=8), st.just({"drums", "bass"}))


def tracks_by_stem(tracks):
    """The tracks of each stem that has two or more."""
    names = {name for stems in tracks.values() for name in stems}
    having = {name: {track for track, stems in tracks.items() if name in stems} for name in names}
    return {name: those for name, those in having.items() if len(those) > 1}


@given(ALBUMS, SHARES)
def test_every_stem_of_two_tracks_or_more_has_one_to_train_on(tracks, share):
    heldout = choose_heldout(tracks, share)
    assert heldout <= set(tracks)
    assert all(those - heldout for those in tracks_by_stem(tracks).values())


@given(ALBUMS, SHARES)
@example({"1" * 32: {"a"}, "2" * 32: {"a", "b"}, "3" * 32: {"b"}}, 0.05)
@example({"1" * 32: {"a", "c"}, "2" * 32: {"a", "b"}, "3" * 32: {"b", "c"}}, 0.05)
def test_a_stem_has_nothing_held_out_only_where_another_would_have_nothing_to_train_on(tracks, share):
    heldout = choose_heldout(tracks, share)
    shared = tracks_by_stem(tracks)
    for those in shared.values():
        if not those & heldout:
            assert all(any(other - heldout == {track} for other in shared.values()) for track in those)


@given(SAME_STEMS, SHARES)
def test_songs_of_the_same_stems_have_one_held_out_and_one_to_train_on(tracks, share):
    assume(len(tracks) > 1)
    heldout = choose_heldout(tracks, share)
    assert 0 < len(heldout) < len(tracks)


@given(SAME_STEMS, SAME_STEMS, SHARES)
def test_adding_songs_of_the_same_stems_moves_none_into_the_heldout_part(tracks, more, share):
    """The module's claim, with its conditions: two songs or more, and a digest above the share."""
    assume(len(tracks) > 1)
    assume(any(int(track[:8], 16) / 2**32 >= share for track in tracks))
    before = set(tracks) - choose_heldout(tracks, share)
    assert not before & choose_heldout({**more, **tracks}, share)


@given(ALBUMS, ALBUMS, SHARES)
def test_what_the_digests_decide_stays_decided(tracks, more, share):
    """With one low digest and one high for each stem, no rule for small numbers is ever needed."""
    everything = {"drums", "bass", "vocals", "guitar"}
    base = {LOW + "0" * 24: everything, HIGH + "0" * 24: everything}
    before, after = {**tracks, **base}, {**more, **tracks, **base}
    assert choose_heldout(before, share) == choose_heldout(after, share) & set(before)


def test_a_second_song_may_move_the_first():
    """As it must: of two, one is held out, whichever came first."""
    one, two = "4" * 32, "8" * 32
    assert choose_heldout({one: {"mix"}}, 0.1) == set()
    assert choose_heldout({one: {"mix"}, two: {"mix"}}, 0.1) == {one}


def test_a_stem_that_few_songs_have_claims_one_of_them():
    songs = {f"{n}" * 32: {"drums"} for n in range(4)}
    assert choose_heldout(songs, 0.05) == {"0" * 32}
    songs["2" * 32] = songs["3" * 32] = {"drums", "harp"}
    assert choose_heldout(songs, 0.05) == {"0" * 32, "2" * 32}


@given(ALBUMS, SHARES, st.randoms())
def test_the_order_of_songs_does_not_matter(tracks, share, rng):
    shuffled = list(tracks.items())
    rng.shuffle(shuffled)
    assert choose_heldout(dict(shuffled), share) == choose_heldout(tracks, share)


@given(ALBUMS)
def test_a_larger_share_holds_out_no_less_of_many_songs(tracks):
    many = {f"{n * 16:02x}".ljust(32, "5"): {"drums"} for n in range(16)}
    sizes = [len(choose_heldout({**tracks, **many}, share) & set(many)) for share in (0.1, 0.2, 0.5)]
    assert sizes == sorted(sizes)


def test_of_many_songs_the_share_is_held_out():
    rng = np.random.default_rng(0)
    tracks = {rng.bytes(16).hex(): {"mix"} for _ in range(2000)}
    assert len(choose_heldout(tracks, 0.1)) == pytest.approx(200, abs=40)


@pytest.mark.parametrize("stems", [set(), {"mix"}])
def test_one_song_alone_is_not_held_out(stems):
    assert choose_heldout({"8" * 32: stems}, 0.1) == set()
    assert choose_heldout({}, 0.1) == set()


@given(st.integers(0, 500), st.sampled_from([*SPLITS, None]), SHARES)
def test_every_segment_has_a_split_and_the_heldout_ones_come_last(num_segments, split, share):
    splits = split_segments(num_segments, split, share)
    assert len(splits) == num_segments
    if split is not None:
        assert set(splits) <= {split}
    else:
        tail = splits.count("heldout")
        assert splits == ["train"] * (num_segments - tail) + ["heldout"] * tail
        assert num_segments < 2 or 1 <= tail < num_segments
        assert tail == pytest.approx(share * num_segments, abs=1)
