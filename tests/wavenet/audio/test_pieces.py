"""Pieces cover a signal, and join to what was cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavenet.audio.pieces import Overlap, cut_pieces, join_pieces

overlaps = st.builds(Overlap, margin=st.integers(0, 20), fade=st.integers(0, 20))


def signals(num_samples, seed=0):
    return np.random.default_rng(seed).normal(size=(3, num_samples, 2)).astype(np.float32)


def join(pieces, overlap):
    return np.concatenate(list(join_pieces(pieces, overlap)), axis=1)


@given(num_samples=st.integers(1, 500), hop=st.integers(1, 100), overlap=overlaps)
def test_what_is_cut_and_joined_is_as_it_was(num_samples, hop, overlap):
    hop = max(hop, overlap.margin + overlap.fade)
    whole = signals(num_samples)
    pieces = cut_pieces(num_samples, hop, overlap)
    assert max(map(len, pieces)) <= hop + overlap.length
    joined = join((whole[:, piece.start : piece.stop] for piece in pieces), overlap)
    np.testing.assert_array_equal(joined, whole)


@given(num_samples=st.integers(60, 500), overlap=overlaps)
def test_margins_are_not_heard(num_samples, overlap):
    whole, spoiled = signals(num_samples), []
    for piece in cut_pieces(num_samples, overlap.margin + overlap.fade + 10, overlap):
        sound = whole[:, piece.start : piece.stop].copy()
        if piece.start:
            sound[:, : overlap.margin] = np.nan
        if piece.stop < num_samples and overlap.margin:
            sound[:, -overlap.margin :] = np.nan
        spoiled.append(sound)
    np.testing.assert_array_equal(join(spoiled, overlap), whole)


@given(num_samples=st.integers(60, 500), overlap=overlaps, seed=st.integers(0, 9))
def test_a_sum_of_signals_is_joined_as_they_are(num_samples, overlap, seed):
    """Whatever a model makes of each piece."""
    pieces = cut_pieces(num_samples, overlap.margin + overlap.fade + 10, overlap)
    sounds = [signals(len(piece), seed + piece.start) for piece in pieces]
    sums = [sound.sum(axis=0, keepdims=True) for sound in sounds]
    np.testing.assert_allclose(
        join(sounds, overlap).sum(axis=0, keepdims=True), join(sums, overlap), atol=1e-5
    )


def test_a_fade_goes_from_one_piece_to_the_next_without_a_step():
    overlap = Overlap(margin=5, fade=100)
    first, *others = cut_pieces(400, 120, overlap)
    sounds = [
        np.zeros((1, len(first), 1), np.float32),
        *(np.ones((1, len(p), 1), np.float32) for p in others),
    ]
    joined = join(sounds, overlap)[0, :, 0]
    assert joined[first.stop - overlap.length] == 0
    assert joined[-1] == 1
    assert np.diff(joined).max() < 0.011


def test_more_than_two_pieces_are_never_heard_at_once():
    with pytest.raises(ValueError, match="hop_length 14 is less than 5 \\+ 10"):
        cut_pieces(400, 14, Overlap(margin=5, fade=10))
