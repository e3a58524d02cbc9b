"""Context models are proper distributions, and know what is known of sources whose entropy is known."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wavenet.evaluation import context_models
from wavenet.evaluation.context_models import ORDERS, context_bits, price_codes, uniform_chances

SOME_LEVELS = [16, 21, 64, 100, 256, 1000, 1024]


def draw_markov(transitions: np.ndarray, num_samples: int, seed: int) -> np.ndarray:
    """Codes of a Markov source: row i of transitions is the distribution after level i."""
    uniforms = np.random.default_rng(seed).random(num_samples)
    steps = transitions.cumsum(axis=1)
    codes = np.zeros(num_samples, np.uint8)
    for t in range(1, num_samples):
        codes[t] = min(np.searchsorted(steps[codes[t - 1]], uniforms[t]), len(steps) - 1)
    return codes


def markov_entropy(transitions: np.ndarray) -> float:
    """Bits per sample of a Markov source in its stationary state."""
    state = np.linalg.matrix_power(transitions, 1000)[0]
    return float(-(state[:, None] * transitions * np.log2(transitions)).sum())


@settings(max_examples=50)
@example(levels=65536, spread=100, num_context=4, seed=1)
@given(
    levels=st.sampled_from(SOME_LEVELS),
    spread=st.sampled_from([2, 10, 100, 65536]),
    num_context=st.integers(0, 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_probabilities_of_all_levels_sum_to_one_in_every_context(levels, spread, num_context, seed):
    """Each level is scored once after the same context, heard in training or not."""
    random = np.random.default_rng(seed)
    train = random.integers(0, min(spread, levels), 3000).astype(np.uint16)
    place = random.integers(0, 2990)
    context = train[place : place + num_context] if seed % 2 else random.integers(0, levels, num_context)
    heldout = [np.append(context, level).astype(np.uint16) for level in range(levels)]
    for order, bits in enumerate(price_codes([train], heldout, num_context, levels, 4)):
        assert np.exp2(-bits).sum() == pytest.approx(1, abs=1e-4), order


@pytest.mark.parametrize("levels", [*SOME_LEVELS, 65536])
def test_before_anything_is_heard_all_levels_are_equally_likely(levels):
    np.testing.assert_allclose(np.log2(uniform_chances(levels)).sum(axis=1), -np.log2(levels), rtol=1e-5)
    nothing = np.zeros(0, np.uint16)
    bits = context_bits([nothing], [np.arange(levels, dtype=np.uint16)], 4, levels)
    assert list(bits.values()) == pytest.approx([np.log2(levels)] * len(ORDERS), rel=1e-5)


@given(st.lists(st.lists(st.integers(0, 15), max_size=12), min_size=1, max_size=4), st.integers(0, 6))
def test_prices_are_those_of_the_definition(runs, receptive_field):
    """The formula of the module, by plain counting of what came before and after."""
    train = [np.array(run, np.uint8) for run in (*runs, [1, 2, 3, 1, 2, 3, 1, 2])]
    heldout = [np.array(run, np.uint8) for run in ([1, 2, 3] * 3, *runs)]
    expected = [
        [by_counting(train, run[:t], run[t], order) for order in range(5)]
        for run in heldout
        for t in range(receptive_field, len(run))
    ]
    prices = list(price_codes(train, heldout, receptive_field, 16, 4))
    np.testing.assert_allclose(np.transpose(prices), np.reshape(expected, (-1, 5)), rtol=1e-4)


def by_counting(train: list[np.ndarray], before: np.ndarray, code: int, order: int) -> float:
    """Bits of one code of 16 levels."""
    chances = np.full(4, 0.5)
    for k in range(min(order, len(before)) + 1):
        context = before[len(before) - k :]
        heard = [
            run[t] for run in train for t in range(k, len(run)) if np.array_equal(run[t - k : t], context)
        ]
        for bit in range(4):
            alike = [other for other in heard if int(other) >> (4 - bit) == int(code) >> (4 - bit)]
            same = [other for other in alike if int(other) >> (3 - bit) == int(code) >> (3 - bit)]
            strength = context_models.STRENGTH
            chances[bit] = (len(same) + strength * chances[bit]) / (len(alike) + strength)
    return float(-np.log2(chances).sum())


def test_order_2_reaches_the_entropy_of_a_markov_source():
    transitions = np.random.default_rng(0).dirichlet(np.full(16, 0.2), 16) * 0.98 + 0.02 / 16
    train, heldout = (draw_markov(transitions, 100_000, seed) for seed in (1, 2))
    bits = context_bits([train], [heldout], 10, 16)
    order_0, order_1 = (float(b.mean()) for b in price_codes([train], [heldout], 10, 16, 1))
    assert order_1 == pytest.approx(markov_entropy(transitions), rel=0.01)
    assert bits["order2_bits"] == pytest.approx(markov_entropy(transitions), rel=0.02)
    assert bits["order4_bits"] == pytest.approx(markov_entropy(transitions), rel=0.03)
    assert order_1 < order_0 - 0.5


@pytest.mark.parametrize("distance", [2, 4])
def test_each_order_knows_what_the_one_below_cannot(distance):
    """One of four levels, mostly decided by the code so long before: nothing nearer tells anything."""
    random = np.random.default_rng(0)
    codes = random.integers(0, 4, 410_000).astype(np.uint8)
    for t in np.flatnonzero(random.random(len(codes)) < 0.9)[distance:]:
        codes[t] = (codes[t - distance] + 1) % 4
    bits = [float(b.mean()) for b in price_codes([codes[:400_000]], [codes[400_000:]], 100, 16, distance)]
    shares = np.array([0.9 + 0.1 / 4] + [0.1 / 4] * 3)
    assert bits[:-1] == pytest.approx([2] * distance, abs=0.05)
    assert bits[-1] == pytest.approx(-(shares * np.log2(shares)).sum(), abs=0.05)


@pytest.mark.parametrize("levels", [16, 256, 1024])
def test_noise_costs_what_it_must(levels):
    """Nothing can be known, and contexts that were hardly heard pretend next to nothing."""
    codes = np.random.default_rng(0).integers(0, levels, 400_000).astype(np.uint16)
    bits = context_bits([codes[:300_000]], [codes[300_000:]], 100, levels)
    for figure in bits.values():
        assert 0 <= figure - np.log2(levels) < 0.08


@pytest.mark.parametrize("levels", [16, 256, 65536])
def test_a_constant_costs_nothing(levels):
    codes = np.full(100_000, levels // 2, np.uint16)
    assert max(context_bits([codes], [codes], 10, levels).values()) < 0.01


@pytest.mark.parametrize("levels", [16, 64, 256, 1024, 4096, 65536])
def test_a_tone_in_noise_is_known_better_the_more_of_it_is_heard(levels):
    random = np.random.default_rng(0)
    tone = 0.5 + 0.4 * np.sin(np.arange(200_000) * 0.05) + random.normal(0, 0.01, 200_000)
    codes = (tone * levels).astype(np.uint16)
    unigram, _, two, _, four = (
        bits.mean() for bits in price_codes([codes[:150_000]], [codes[150_000:]], 10, levels, 4)
    )
    assert two < 0.9 * unigram
    assert four < two * 1.01


def test_no_context_reaches_across_runs():
    """Held-out runs of one code each: every order can know how often levels occur and nothing else."""
    train = [np.tile(np.array([3, 9], np.uint8), 1000)]
    alone = [np.array([code], np.uint8) for code in (3, 9, 3)]
    order_0, *higher = price_codes(train, alone, 0, 16, 4)
    for bits in higher:
        np.testing.assert_array_equal(bits, order_0)


def test_no_training_context_reaches_across_runs():
    joined = [np.tile(np.array([3, 9], np.uint8), 1000)]
    apart = [np.array([code], np.uint8) for code in joined[0]]
    heldout = [joined[0][:100]]
    assert context_bits(apart, heldout, 10, 16)["order2_bits"] == pytest.approx(1, abs=0.2)
    assert context_bits(joined, heldout, 10, 16)["order2_bits"] < 0.1


def test_context_reaches_back_into_codes_that_are_not_scored():
    train, run = np.tile(np.arange(16, dtype=np.uint8), 500), np.arange(16, dtype=np.uint8)
    assert context_bits([train], [run], 4, 16)["order4_bits"] < 0.1
    assert context_bits([train], [run[4:]], 0, 16)["order4_bits"] > 0.25  # the first has no context


def test_what_is_scored_is_what_the_network_is_scored_on():
    runs = [np.zeros(length, np.uint8) for length in (3, 10, 25, 10)]
    for bits in price_codes(runs, runs, 10, 16, 2):
        assert bits.shape == (15,)


def test_nothing_left_to_score_is_refused():
    with pytest.raises(ValueError, match="no held-out run"):
        context_bits([np.zeros(100, np.uint8)], [np.zeros(10, np.uint8)], 10, 16)


def test_parts_of_held_out_codes_change_nothing(monkeypatch):
    codes = np.random.default_rng(0).integers(0, 16, 5000).astype(np.uint8)
    whole = context_bits([codes], [codes], 10, 16)
    monkeypatch.setattr(context_models, "PART", 7)
    assert context_bits([codes], [codes], 10, 16) == whole


def test_of_much_training_audio_some_is_counted_everywhere(monkeypatch):
    """Every run has its share, and every context is whole: half the evidence says much the same."""
    random = np.random.default_rng(0)
    runs = [(np.cumsum(random.integers(-1, 2, 20_000)) % 64).astype(np.uint8) for _ in range(5)]
    whole = context_bits(runs[:4], runs[4:], 10, 64)
    monkeypatch.setattr(context_models, "MAX_GRAMS", 40_000)
    thinned = context_bits(runs[:4], runs[4:], 10, 64)
    assert thinned != whole
    assert thinned == pytest.approx(whole, rel=0.1)
