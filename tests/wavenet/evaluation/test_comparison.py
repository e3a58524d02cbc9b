"""Two trainings side by side, by what both measured on the same windows."""

import pytest

from wavenet.evaluation.comparison import compare_trainings
from wavenet.evaluation.plots import plot_comparison
from wavenet.training.metrics import FINAL_BITS, HELDOUT_BITS, STEP


def training(*bits, final=3.0):
    rows = [{STEP: 10 * (number + 1), HELDOUT_BITS: value} for number, value in enumerate(bits)]
    return [*rows, {STEP: 10 * len(bits), FINAL_BITS: final}]


def test_the_first_step_that_is_as_good_as_the_others_end_is_named():
    comparison = compare_trainings(training(4.0, 3.1, 2.9), training(5.0, 4.0, 3.1), best_kept=False)
    assert comparison.reached_at == 20
    assert comparison.looks[1].difference == pytest.approx(-0.9)
    assert comparison.sentence() == (
        "After 20 steps transfer reached what scratch ended with after 30 (3.100 bits); it ended with 2.900."
    )


def test_what_was_never_reached_is_said():
    comparison = compare_trainings(training(4.0, 3.5), training(5.0, 3.4), best_kept=False)
    assert comparison.reached_at is None
    assert comparison.sentence().startswith("In 20 steps transfer did not reach what scratch ended with")


def test_where_the_best_weights_are_kept_the_best_look_is_the_end():
    worse = training(5.0, 3.0, 3.6)
    assert compare_trainings(training(3.2, 3.1), worse, best_kept=True).reached_at is None
    assert compare_trainings(training(3.2, 3.1), worse, best_kept=False).reached_at == 10


def test_one_that_ended_early_has_no_later_looks():
    comparison = compare_trainings(training(4.0), training(5.0, 4.5), best_kept=True)
    assert (comparison.looks[1].transfer, comparison.looks[1].difference) == (None, None)
    assert comparison.transfer_steps == 10


def test_both_curves_are_drawn(tmp_path):
    curves = {"transfer": training(4.0, 3.0), "scratch": training(5.0, 4.0)}
    plot_comparison(curves, tmp_path / "both.png")
    plot_comparison({**curves, "scratch": training(8.0, 7.0)}, tmp_path / "other.png")
    assert (tmp_path / "both.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "both.png").read_bytes() != (tmp_path / "other.png").read_bytes()
