"""Draws follow the distribution, and a stream's uniforms are its own."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from tests.wavenet.model.variants import LEVELS, make_variant
from wavenet.generation.sampling import (
    Choice,
    choose_codes,
    choose_logistic_codes,
    choose_next,
    draw_uniforms,
    make_sources,
    narrow,
)
from wavenet.model.outputs import logistics_log_likelihood


def draw_mixtures(count: int, num_mixtures: int, seed: int = 0) -> np.ndarray:
    """Parameters of mixtures, (count, 3 * mixtures): from broad to narrower than a step of 256 levels."""
    rng = np.random.default_rng(seed)
    shape = (count, num_mixtures)
    parts = rng.normal(0, 2, shape), rng.uniform(-1.2, 1.2, shape), rng.uniform(-7, 0, shape)
    return np.concatenate(parts, axis=1).astype(np.float32)


def tabulate(outputs: np.ndarray, levels: int) -> np.ndarray:
    """The model's own probability of every level, float64, (levels,)."""
    spread = torch.from_numpy(outputs).double().expand(levels, -1)
    return logistics_log_likelihood(spread, torch.arange(levels), levels).exp().numpy()


def test_choices_follow_the_distribution():
    probabilities = np.array([0.1, 0.0, 0.6, 0.3])
    with np.errstate(divide="ignore"):
        logits = np.repeat(np.log(probabilities)[None], 20000, axis=0)
    codes = choose_codes(logits, draw_uniforms(20000, 1, seed=1)[:, 0])
    shares = np.bincount(codes, minlength=4) / len(codes)
    np.testing.assert_allclose(shares, probabilities, atol=0.01)


def test_a_choice_is_the_first_code_whose_cumulative_probability_exceeds_the_uniform():
    logits = np.zeros((5, 4))
    uniforms = np.array([0.0, 0.2499, 0.25, 0.75, np.nextafter(1, 0)])
    assert choose_codes(logits, uniforms).tolist() == [0, 0, 1, 3, 3]


def test_a_low_temperature_takes_the_likeliest():
    logits = np.tile([[0.0, 1.0, 0.5]], (100, 1))
    assert set(choose_codes(logits, draw_uniforms(100, 1, 0)[:, 0], Choice(0.01))) == {1}


def test_a_streams_uniforms_do_not_depend_on_how_many_streams_there_are():
    assert np.array_equal(draw_uniforms(50, 3, seed=4)[:, :2], draw_uniforms(50, 2, seed=4))


def test_no_stream_repeats_another():
    assert not np.array_equal(*draw_uniforms(50, 2, seed=4).T)


@pytest.mark.parametrize("levels", [2, 256, 65536])
@pytest.mark.parametrize("num_mixtures", [1, 10])
def test_a_mixtures_choice_is_that_of_a_table_of_all_levels(levels, num_mixtures):
    uniforms = np.random.default_rng(1).random(300)
    for outputs in draw_mixtures(5, num_mixtures):
        cumulative = np.cumsum(tabulate(outputs, levels))
        expected = np.searchsorted(cumulative / cumulative[-1], uniforms, side="right")
        found = choose_logistic_codes(np.tile(outputs, (300, 1)), uniforms, levels)
        np.testing.assert_array_equal(found, expected)


def test_draws_from_a_mixture_follow_its_probabilities():
    (outputs,) = draw_mixtures(1, 4, seed=2)
    uniforms = draw_uniforms(50000, 1, seed=0)[:, 0]
    codes = choose_logistic_codes(np.tile(outputs, (50000, 1)), uniforms, 64)
    expected = 50000 * tabulate(outputs, 64)
    common = expected > 5
    assert common.sum() > 20
    counts = np.bincount(codes, minlength=64)[common]
    assert chisquare(counts, expected[common] * counts.sum() / expected[common].sum()).pvalue > 0.01


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=2, max_size=20), st.integers(2, 65536))
def test_a_higher_uniform_never_chooses_a_lower_level(uniforms, levels):
    outputs = np.tile(draw_mixtures(1, 3), (len(uniforms), 1))
    codes = choose_logistic_codes(outputs, np.sort(uniforms), levels)
    assert (np.diff(codes) >= 0).all()
    assert codes.min() >= 0
    assert codes.max() < levels


def test_temperature_divides_the_weights_logits_and_multiplies_the_scales():
    outputs = draw_mixtures(500, 4)
    uniforms = np.random.default_rng(0).random(500)
    logits, means, log_scales = np.split(outputs.astype(np.float64), 3, axis=1)
    changed = np.concatenate([logits / 0.5, means, log_scales + np.log(0.5)], axis=1)
    cooler = choose_logistic_codes(outputs, uniforms, 256, temperature=0.5)
    np.testing.assert_array_equal(cooler, choose_logistic_codes(changed, uniforms, 256))
    assert (cooler != choose_logistic_codes(outputs, uniforms, 256)).mean() > 0.3


def test_a_low_temperature_plays_the_likeliest_logistics_mean():
    outputs = np.array([0.0, 1.0, 0.5, -0.5, 0.2, 0.7, -3.0, -3.0, -3.0], np.float32)
    codes = choose_logistic_codes(np.tile(outputs, (100, 1)), draw_uniforms(100, 1, 0)[:, 0], 256, 0.01)
    assert set(codes) == {153}  # (0.2 + 1) / 2 of 255


@pytest.mark.parametrize("log_scale", [-1000.0, 50.0, np.nan])
def test_whatever_a_mixture_says_a_level_is_chosen(log_scale):
    outputs = np.array([0.0, 0.0, -0.3, 0.5, log_scale, log_scale], np.float32)
    uniforms = np.array([0.1, 0.3, 0.6, 0.8, 0, np.nextafter(1, 0)])
    codes = choose_logistic_codes(np.tile(outputs, (6, 1)), uniforms, 65536)
    assert ((codes >= 0) & (codes < 65536)).all()
    if log_scale < 0:  # as good as certain of each logistic's level
        assert codes[:4].tolist() == [22937, 22937, 49151, 49151]


def test_a_models_own_kind_of_output_decides_how_codes_are_chosen():
    outputs, uniforms = draw_mixtures(50, LEVELS // 3), np.random.default_rng(0).random(50)
    softmax = choose_next(make_variant("paper"), outputs, uniforms, Choice(0.8))
    mixture = choose_next(make_variant("logistics"), outputs, uniforms, Choice(0.8))
    np.testing.assert_array_equal(softmax, choose_codes(outputs, uniforms, Choice(0.8)))
    np.testing.assert_array_equal(mixture, choose_logistic_codes(outputs, uniforms, LEVELS, 0.8))


@given(
    weights=st.lists(st.floats(0, 10), min_size=2, max_size=12).filter(lambda w: sum(w) > 0.1),
    top_k=st.integers(0, 12),
    top_p=st.floats(0.01, 1),
)
def test_what_is_left_is_the_likeliest_levels_and_no_more_than_asked(weights, top_k, top_p):
    weights = np.array(weights)
    narrowed = narrow(weights, top_k, top_p)
    kept = narrowed > 0
    np.testing.assert_array_equal(narrowed[kept], weights[kept])
    assert 1 <= kept.sum() <= (top_k or len(weights))
    assert weights[kept].min() >= weights[~kept].max(initial=0)
    share = np.sort(weights)[::-1][: top_k or len(weights)].sum()
    assert narrowed.sum() >= top_p * share - 1e-9
    assert narrowed.sum() - weights[kept].min() < top_p * share + 1e-9


def test_of_levels_as_likely_as_each_other_the_lower_comes_first():
    np.testing.assert_array_equal(narrow(np.ones(4), 2, 1.0), [1, 1, 0, 0])


def test_all_levels_may_be_chosen_unless_some_are_left_out():
    assert not Choice(temperature=0.5).narrows
    assert Choice(top_k=9).narrows
    assert Choice(top_p=0.99).narrows


def test_draws_are_passed_over_and_not_made():
    assert make_sources([3, 4], 1, [10**15, 0])[0].random() < 1  # at once
    near = np.random.default_rng([1, 4])
    near.random(1000)
    assert make_sources([4], 1, [1000])[0].random() == near.random()
