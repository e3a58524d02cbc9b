"""Baselines are what they say."""

import numpy as np
import pytest

from wavenet.evaluation.metrics import uniform_bits, unigram_bits


def test_uniform_is_log2_of_levels():
    assert uniform_bits(256) == 8
    assert uniform_bits(64) == 6


def test_unigram_of_a_constant_approaches_zero():
    assert unigram_bits(np.full(10**6, 3), np.full(100, 3), 16) < 1e-4


def test_unigram_of_uniform_codes_is_the_uniform_baseline():
    codes = np.tile(np.arange(64), 10_000)
    assert unigram_bits(codes, codes, 64) == pytest.approx(6, abs=1e-9)


def test_unigram_of_known_shares():
    train = np.array([0] * 999_999 + [1] * 999_999)
    assert unigram_bits(train, np.array([0, 1, 1]), 2) == pytest.approx(1.0)


def test_a_level_never_heard_in_training_has_a_finite_price():
    assert unigram_bits(np.zeros(98, int), np.array([1]), 2) == pytest.approx(np.log2(100))
