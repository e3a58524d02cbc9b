"""Scores say what is wrong with a take; the less is wrong, the earlier it comes."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wavenet.evaluation.played import QUANTIZER, RATE, play
from tests.wavenet.model.variants import make_variant
from wavenet.evaluation.memorization import NOTHING, SAME, find_memory, fingerprint_training
from wavenet.evaluation.ranges import measure_ranges, spread
from wavenet.evaluation.sound import FIGURES
from wavenet.evaluation.take_judge import Piece, TakeJudge, spread_pieces
from wavenet.evaluation.take_scores import (
    RankedTake,
    Scores,
    flat_metrics,
    read_scores,
    score_likelihood,
    score_take,
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
    return {name: score_take([take], ranges) for name, take in takes.items()}


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
    score = score_take([takes["noise"]], ranges, likelihood)
    parts = [figure.outside for figure in score.figures.values()]
    assert score.badness == pytest.approx(sum(parts) + likelihood.distance)


def test_badness_does_not_depend_on_the_order_of_figures(takes, ranges):
    """Ranges that were read back have theirs in another order than those that were just measured."""
    names = sorted(ranges.figures)
    orders = [names, names[::-1], names[1:] + names[:1], names[2:] + names[:2]]
    turned = [
        ranges.model_copy(update={"figures": {n: ranges.figures[n] for n in order}}) for order in orders
    ]
    for take in takes.values():
        assert len({score_take([take], one).badness for one in turned}) == 1


def test_the_earlier_a_take_dies_the_worse_it_is(takes, ranges, scores):
    later = takes["music"].copy()
    later[10 * RATE :] = 0
    assert 0 < score_take([later], ranges).badness < scores["dies"].badness < scores["silence"].badness


def test_too_loud_here_and_too_quiet_there_do_not_cancel(takes, ranges):
    uneven = takes["music"] * np.repeat(np.float32([10, 0.01]), 6 * RATE)
    level = score_take([uneven], ranges).figures["level_db"]
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


def test_being_copied_makes_a_take_neither_better_nor_worse(music, ranges):
    take = QUANTIZER.decode(QUANTIZER.encode(play(1, 6.0)))
    memory = find_memory(take, RATE, fingerprint_training(music))
    assert memory.verdict == SAME
    assert score_take([take], ranges, None, memory).badness == score_take([take], ranges).badness


def test_a_take_of_no_samples_is_refused_and_one_of_a_moment_has_a_score(ranges):
    with pytest.raises(ValueError, match="no samples"):
        score_take([np.zeros(0, np.float32)], ranges)
    assert np.isfinite(score_take([np.zeros(1, np.float32)], ranges).badness)


def test_metrics_are_finite_numbers_by_name(takes, ranges, music):
    memory = find_memory(takes["music"], RATE, fingerprint_training(music))
    likelihood = score_likelihood([2.0], RATE, RATE, HELDOUT)
    metrics = flat_metrics(score_take([takes["music"]], ranges, likelihood, memory))
    assert {"take/level_db", "take/onsets_per_second", "take/flatness_db", "take/bits_per_sample",
            "take/badness", "take/closest_agreement"} <= metrics.keys()  # fmt: skip
    assert all(np.isfinite(value) for value in metrics.values())
    silent = flat_metrics(score_take([takes["silence"]], ranges))
    assert not {"take/flatness_db", "take/bits_per_sample", "take/closest_agreement"} & silent.keys()


def rank(score, take=1, place=1, file=None):
    return RankedTake(**dict(score), take=take, rank=place, file=file, restarts=2, let_go_seconds=None)


def test_scores_are_read_as_they_were_written(scores, ranges, tmp_path):
    first, second = rank(scores["music"], 2, 1, "take.wav"), rank(scores["noise"], 1, 2)
    told = Scores(takes=[first, second], ranges=ranges)
    write_scores(tmp_path / "scores.json", told)
    assert read_scores(tmp_path / "scores.json") == told
    assert [one["file"] for one in read_json(tmp_path / "scores.json")["takes"]] == ["take.wav", None]
    assert read_scores(tmp_path / "gone.json") is None


def test_every_field_of_the_json_is_explained(takes, ranges, music):
    """docs/scores.md names each key that scores.json has."""
    memory = find_memory(QUANTIZER.decode(QUANTIZER.encode(play(1, 6.0))), RATE, fingerprint_training(music))
    likelihood = score_likelihood([2.0], RATE, RATE, HELDOUT)
    ranked = rank(score_take([takes["music"]], ranges, likelihood, memory))
    value = Scores(takes=[ranked], ranges=ranges).model_dump(mode="json")
    text = (Path(__file__).parents[3] / "docs" / "scores.md").read_text(encoding="utf-8")

    def keys(part):
        if isinstance(part, dict):
            return set(part) | {key for item in part.values() for key in keys(item)}
        return {key for item in part for key in keys(item)} if isinstance(part, list) else set()

    assert [key for key in sorted(keys(value)) if f"`{key}`" not in text] == []


def test_a_judge_tells_only_what_it_knows(music, ranges):
    model = make_variant("paper", 256).eval()
    context = np.random.default_rng(0).integers(256, size=model.receptive_field).astype(np.uint8)
    silence = np.full(3 * RATE, QUANTIZER.silence_code, np.uint8)
    judge = TakeJudge(QUANTIZER, ranges, HELDOUT, fingerprint_training(music))
    for codes, verdict in ((QUANTIZER.encode(play(0, 3.0)), SAME), (silence, NOTHING)):
        score = judge.score([Piece(0, codes, context)], len(codes), model)
        assert score.memory.verdict == verdict
        assert score.likelihood is not None
    alone = TakeJudge(QUANTIZER, ranges).score([Piece(0, codes, context)], len(codes), model)
    assert (alone.likelihood, alone.memory) == (None, None)


@given(st.integers(1, 10**9), st.integers(50, 48000))
def test_pieces_are_all_of_a_take_or_two_minutes_of_it_from_its_start_to_its_end(num_samples, rate):
    pieces = spread_pieces(num_samples, rate)
    assert (pieces[0].start, pieces[-1].stop) == (0, num_samples)
    assert sum(map(len, pieces)) == min(num_samples, 120 * rate)
    assert all(one.stop <= other.start for one, other in itertools.pairwise(pieces))


def test_a_long_take_is_judged_by_its_pieces_and_a_copy_in_one_of_them_is_found(music, ranges):
    rate, model = RATE, make_variant("paper", 256).eval()
    copy = QUANTIZER.encode(play(1, 4.0))
    silence = np.full(4 * rate, QUANTIZER.silence_code, np.uint8)
    context = np.full(model.receptive_field, QUANTIZER.silence_code, np.uint8)
    pieces = [
        Piece(start * rate, codes, context) for start, codes in ((0, silence), (50, copy), (90, silence))
    ]
    judge = TakeJudge(QUANTIZER, ranges, HELDOUT, fingerprint_training(music))
    score = judge.score(pieces, 94 * rate, model)
    assert (score.seconds, score.seconds_scored) == (94, 12)
    assert (score.memory.verdict, score.memory.whole, score.memory.seconds_covered) == (SAME, None, 4)
    assert [one.start_seconds for one in score.memory.passages] == [0, 50, 90]
    parts = [judge.score([piece], 4 * rate, model) for piece in pieces]
    mean = np.mean([one.likelihood.nats_per_sample for one in parts])
    assert score.likelihood.nats_per_sample == pytest.approx(mean)
    means = {name: np.mean([one.figures[name].outside for one in parts]) for name in score.figures}
    assert {name: one.outside for name, one in score.figures.items()} == pytest.approx(means)
