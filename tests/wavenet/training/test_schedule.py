"""When to learn fast, when slowly, and when to stop."""

import pytest

from wavenet.config import TrainingConfig
from wavenet.training.schedule import Watch, learning_rate_at


def look_at(curve, config):
    """The watch after each look, one every 10 steps."""
    watch, seen = Watch(), []
    for number, bits in enumerate(curve, 1):
        watch = watch.look(10 * number, bits, config)
        seen.append(watch)
    return seen


def test_the_rate_warms_up_then_falls_to_its_final_share():
    config = TrainingConfig(steps=100, warmup_steps=10, final_rate_share=0.1, learning_rate=0.01)
    rates = [learning_rate_at(step, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.001)
    assert max(rates) == pytest.approx(0.01)
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[-1] == pytest.approx(0.001, rel=0.02)


def test_on_a_plateau_the_rate_halves_and_never_falls_below_its_final_share():
    config = TrainingConfig(
        schedule="plateau", plateau_looks=2, final_rate_share=0.2, warmup_steps=0, learning_rate=1.0
    )
    watches = look_at([3, 2, 2, 2, 2, 2, 2, 2, 2, 1.9], config)
    rates = [learning_rate_at(0, config, watch) for watch in watches]
    assert rates == [1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2, 0.2]


def test_a_constant_rate_knows_no_plateau():
    config = TrainingConfig(schedule="constant", plateau_looks=1, warmup_steps=0, learning_rate=0.5)
    assert learning_rate_at(0, config, look_at([2, 2, 2, 2], config)[-1]) == 0.5


def test_looks_without_gain_say_stop_and_a_hair_is_no_gain():
    config = TrainingConfig(stop_after=2)
    watches = look_at([3, 2, 1.99995, 2.5], config)
    assert [watch.says_stop(config) for watch in watches] == [False, False, False, True]
    assert (watches[-1].best_bits, watches[-1].best_step) == (2, 20)


def test_nothing_says_stop_where_nobody_asked_for_it():
    config = TrainingConfig()
    assert not look_at([1] + [2] * 100, config)[-1].says_stop(config)
