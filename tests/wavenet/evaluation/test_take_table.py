"""The table of takes: the best first, and what lies outside says so in words."""

import numpy as np
import pytest

from tests.wavenet.evaluation.played import RATE, play
from wavenet.evaluation.listening_page import UNKNOWN
from wavenet.evaluation.memorization import Closest, Memory
from wavenet.evaluation.ranges import measure_ranges, spread
from wavenet.evaluation.take_scores import RankedTake, Scores, score_likelihood, score_take
from wavenet.evaluation.take_table import HEAD, SHORT_HEAD, describe_memory, short_table, take_table


@pytest.fixture(scope="module")
def scores(music):
    ranges = measure_ranges(music)
    noise = np.random.default_rng(0).normal(0, 0.05, 5 * RATE).astype(np.float32)
    likelihood = score_likelihood([4.0], RATE, RATE, spread([1.0, 1.5], 0.1))
    memory = remember(0.93, True, "the same recording")
    music_score, noise_score = (
        score_take([play(1, 5.0)], ranges, None, memory),
        score_take([noise], ranges, likelihood),
    )
    takes = [
        RankedTake(**dict(music_score), take=2, rank=1, file="a.wav", restarts=1, let_go_seconds=None),
        RankedTake(**dict(noise_score), take=1, rank=2, file=None, restarts=20, let_go_seconds=8.0),
    ]
    return Scores(takes=takes, ranges=ranges)


@pytest.fixture(scope="module")
def table(scores):
    return take_table(scores)


def remember(agreement, same, verdict):
    closest = Closest(
        track_id="a", track="song & 1", offset_seconds=12.34, agreement=agreement, needed=0.65, same=same
    )
    return Memory(verdict=verdict, closest=closest, seconds_covered=5.0, whole=None, passages=[])


def test_the_range_comes_first_then_the_best_take(table):
    assert table.head == HEAD
    assert [row[0] for row in table.rows] == ["Range", "2, a.wav", "1, not kept"]
    assert {len(row) for row in table.rows} == {len(HEAD)}


def test_what_lies_outside_says_so(table):
    flatness, bits = HEAD.index("Flatness, dB"), HEAD.index("Bits per sample")
    assert table.rows[2][flatness].endswith("(above)")
    assert table.rows[2][bits] == "5.77 (less likely)"
    assert " to " in table.rows[0][flatness]
    assert table.rows[1][bits] == UNKNOWN


def test_the_closest_passage_is_named_with_its_verdict(table):
    assert table.rows[1][-1] == "93% of song & 1 at 12.3 s: the same recording"
    assert table.rows[2][-1] == UNKNOWN
    nothing = Memory(verdict="nothing to judge", closest=None, seconds_covered=0, whole=None, passages=[])
    assert describe_memory(nothing) == "nothing to judge"


def test_what_the_guards_did_is_told_for_it_comes_before_badness(table):
    assert [row[1] for row in table.rows[1:]] == ["1 restart", "let go on at 8.0 s"]


def test_the_short_table_has_the_same_cells(scores, table):
    short = short_table(scores)
    assert short.head == SHORT_HEAD
    for row, whole in zip(short.rows, table.rows[1:], strict=True):
        assert row == [whole[HEAD.index(name)] for name in SHORT_HEAD]
