"""Draws follow the distribution, and a stream's uniforms are its own."""

import numpy as np

from wavenet.generation.sampling import choose_codes, draw_uniforms


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
    assert set(choose_codes(logits, draw_uniforms(100, 1, 0)[:, 0], temperature=0.01)) == {1}


def test_a_streams_uniforms_do_not_depend_on_how_many_streams_there_are():
    assert np.array_equal(draw_uniforms(50, 3, seed=4)[:, :2], draw_uniforms(50, 2, seed=4))


def test_no_stream_repeats_another():
    assert not np.array_equal(*draw_uniforms(50, 2, seed=4).T)
