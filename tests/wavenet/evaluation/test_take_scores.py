"""Scores say what is wrong with a take; the less is wrong, the earlier it comes."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wavenet.evaluation.played import QUANTIZER, RATE, play
from tests.wavenet.model.variants import make_variant
from wavenet.evaluation.memorization import NOTHING, SAME, find_memory, fingerprint_training
from wavenet.evaluation.ranges import Ranges, measure_ranges, spread
from wavenet.evaluation.sound import FIGURES
from wavenet.evaluation.take_judge import TakeJudge
from wavenet.evaluation.take_scores import (
    TakeScore,
    flat_metrics,
    rank_takes,
    score_likelihood,
    score_take,
    scores_json,
    write_scores,
)
from wavenet.files import read_json

HELDOUT = spread([1.9, 2.0, 2.1], 0.1)


@pytest.fixture(scope="module")
def ranges(music):
    return measure_ranges(music)


@pytest.fixture(scope="module")
def takes():
    """Music as it was trained on, and what goes wrong."""
    music = play(60, 12.0)
    level = np.sqrt(np.square(music).mean())
    noise = (level * np.random.default_rng(0).standard_normal(len(music))).astype(np.float32)
    dies = music.copy()
    dies[len(dies) // 2 :] = 0
    spoilt = {
        "music": music,
        "noise": noise,
        "silence": np.zeros_like(music),
        "dies": dies,
        "sticks": np.tile(music[RATE : RATE + RATE // 4], 48),
        "clips": np.clip(40 * music, -1, 1),
        "hums": (1.4 * level * np.sin(2 * np.pi * 110 * np.arange(len(music)) / RATE)).astype(np.float32),
    }
    return {name: QUANTIZER.decode(QUANTIZER.encode(take)) for name, take in spoilt.items()}


@pytest.fixture(scope="module")
def scores(takes, ranges):
    return {name: score_take(take, ranges) for name, take in takes.items()}


def test_music_like_the_training_data_lies_inside_every_range(scores):
    figures = scores["music"].figures
    assert {name: figure.verdict for name, figure in figures.items()} == dict.fromkeys(FIGURES, "inside")
    assert scores["music"].badness == 0


@pytest.mark.parametrize(
    ("name", "figure", "verdict"),
    [
        ("noise", "flatness_db", "above"),
        ("silence", "level_db", "below"),
        ("silence", "silent_share", "above"),
        ("silence", "onsets_per_second", "below"),
        ("dies", "longest_silence_seconds", "above"),
        ("sticks", "repetition", "above"),
        ("clips", "clipped_share", "above"),
        ("clips", "level_db", "above"),
        ("hums", "onsets_per_second", "below"),
        ("hums", "flatness_db", "below"),
    ],
)
def test_what_goes_wrong_is_named(scores, name, figure, verdict):
    found = scores[name].figures[figure]
    assert found.verdict == verdict
    assert found.outside > 0
    assert scores[name].badness > 0.1


def test_badness_is_the_sum_of_what_stands_beside_it(takes, ranges):
    likelihood = score_likelihood([2.0, 3.0], 2 * RATE, RATE, HELDOUT)
    score = score_take(takes["noise"], ranges, likelihood)
    parts = [figure.outside for figure in score.figures.values()]
    assert score.badness == pytest.approx(sum(parts) + likelihood.distance)


def test_the_earlier_a_take_dies_the_worse_it_is(takes, ranges, scores):
    later = takes["music"].copy()
    later[10 * RATE :] = 0
    assert 0 < score_take(later, ranges).badness < scores["dies"].badness < scores["silence"].badness


def test_too_loud_here_and_too_quiet_there_do_not_cancel(takes, ranges):
    uneven = takes["music"] * np.repeat(np.float32([10, 0.01]), 6 * RATE)
    level = score_take(uneven, ranges).figures["level_db"]
    assert level.outside > 4  # by its mean it would be less than 2


def test_silence_has_no_flatness_and_that_is_no_merit(scores):
    assert scores["silence"].figures["flatness_db"].value is None
    assert scores["silence"].badness == max(score.badness for score in scores.values())


def test_both_far_likelier_and_far_less_likely_than_held_out_audio_count_against_a_take():
    alike, dull, noise = (score_likelihood([nats] * 3, 3 * RATE, RATE, HELDOUT) for nats in (2.0, 0.5, 5.0))
    assert (alike.distance, alike.verdict) == (0, "as held-out audio")
    assert (dull.verdict, noise.verdict) == ("likelier", "less likely")
    assert dull.distance == pytest.approx(1.5 / HELDOUT.width)
    assert noise.distance == pytest.approx(3.0 / HELDOUT.width)
    assert noise.bits_per_sample == pytest.approx(5 / np.log(2))
    assert noise.log_likelihood_per_second == pytest.approx(-5 * RATE)


def test_a_take_half_stuck_and_half_noise_is_not_saved_by_its_mean():
    mixed = score_likelihood([0.5, 3.5], 2 * RATE, RATE, HELDOUT)
    assert mixed.verdict == "as held-out audio"
    assert mixed.distance == pytest.approx(1.5 / HELDOUT.width)


def test_a_last_second_that_is_short_weighs_as_much_as_it_has():
    score = score_likelihood([2.0, 4.0], RATE + RATE // 4, RATE, HELDOUT)
    assert score.nats_per_sample == pytest.approx(2.4)


def make_score(badness):
    return TakeScore(badness=badness, seconds=1.0, figures={}, likelihood=None, memory=None)


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 7.0]), max_size=20))
def test_takes_are_ranked_by_badness_and_equals_by_number(badness):
    order = rank_takes([make_score(value) for value in badness])
    assert order == [number for _, number in sorted((value, i) for i, value in enumerate(badness))]


def test_being_copied_makes_a_take_neither_better_nor_worse(music, ranges):
    take = QUANTIZER.decode(QUANTIZER.encode(play(1, 6.0)))
    memory = find_memory(take, RATE, fingerprint_training(music))
    assert memory.verdict == SAME
    assert score_take(take, ranges, None, memory).badness == score_take(take, ranges).badness


def test_a_take_of_no_samples_is_refused_and_one_of_a_moment_has_a_score(ranges):
    with pytest.raises(ValueError, match="no samples"):
        score_take(np.zeros(0, np.float32), ranges)
    assert np.isfinite(score_take(np.zeros(1, np.float32), ranges).badness)


def test_metrics_are_finite_numbers_by_name(takes, ranges, music):
    memory = find_memory(takes["music"], RATE, fingerprint_training(music))
    likelihood = score_likelihood([2.0], RATE, RATE, HELDOUT)
    metrics = flat_metrics(score_take(takes["music"], ranges, likelihood, memory))
    assert {"take/level_db", "take/onsets_per_second", "take/flatness_db", "take/bits_per_sample",
            "take/badness", "take/closest_agreement"} <= metrics.keys()  # fmt: skip
    assert all(np.isfinite(value) for value in metrics.values())
    silent = flat_metrics(score_take(takes["silence"], ranges))
    assert not {"take/flatness_db", "take/bits_per_sample", "take/closest_agreement"} & silent.keys()


def test_scores_are_written_best_first_as_they_are(takes, scores, ranges, tmp_path):
    chosen = [scores["silence"], scores["music"], scores["noise"]]
    write_scores(tmp_path / "scores.json", chosen, ranges, {1: "take.wav"})
    written = read_json(tmp_path / "scores.json")
    assert [(one["take"], one["rank"], one["file"]) for one in written["takes"]] == [
        (1, 1, "take.wav"), (2, 2, None), (0, 3, None),
    ]  # fmt: skip
    assert Ranges.model_validate(written["ranges"]) == ranges
    fields = {name: value for name, value in written["takes"][0].items() if name in TakeScore.model_fields}
    assert TakeScore.model_validate(fields) == chosen[1]


def test_every_field_of_the_json_is_explained(takes, ranges, music):
    """docs/scores.md names each key that scores.json has."""
    memory = find_memory(QUANTIZER.decode(QUANTIZER.encode(play(1, 6.0))), RATE, fingerprint_training(music))
    likelihood = score_likelihood([2.0], RATE, RATE, HELDOUT)
    value = json.loads(
        json.dumps(scores_json([score_take(takes["music"], ranges, likelihood, memory)], ranges))
    )
    text = (Path(__file__).parents[3] / "docs" / "scores.md").read_text(encoding="utf-8")

    def keys(part):
        if isinstance(part, dict):
            return set(part) | {key for item in part.values() for key in keys(item)}
        return {key for item in part for key in keys(item)} if isinstance(part, list) else set()

    assert [key for key in sorted(keys(value)) if f"`{key}`" not in text] == []


def test_a_judge_scores_each_stream_by_itself(music, ranges):
    model = make_variant("paper", 256).eval()
    rng = np.random.default_rng(0)
    context = rng.integers(256, size=(2, model.receptive_field)).astype(np.uint8)
    codes = np.stack([QUANTIZER.encode(play(0, 3.0)), np.full(3 * RATE, QUANTIZER.silence_code, np.uint8)])
    judge = TakeJudge(QUANTIZER, ranges, HELDOUT, fingerprint_training(music))
    scores = judge.score(codes, model, context)
    assert [score.memory.verdict for score in scores] == [SAME, NOTHING]
    for number in range(2):
        one = slice(number, number + 1)
        assert judge.score(codes[one], model, context[one]) == scores[one]
    alone = TakeJudge(QUANTIZER, ranges).score(codes, model, context)
    assert [(score.likelihood, score.memory) for score in alone] == [(None, None)] * 2
