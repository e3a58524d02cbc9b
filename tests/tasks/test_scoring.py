"""Takes are scored from their files, as what they were played by, and there is one way to rank them."""

import numpy as np
import pytest

from tasks.playing import Performance, tell_nothing_but
from tasks.scoring import Ranking, order_takes, rank_again, rank_takes, read_piece
from tests.wavenet.evaluation.played import QUANTIZER, RATE, play, write_set
from tests.wavenet.model.variants import make_variant
from wavenet.evaluation.memorization import fingerprint_training
from wavenet.evaluation.ranges import measure_ranges, spread
from wavenet.evaluation.take_judge import TakeJudge
from wavenet.evaluation.take_scores import TakeScore, read_scores, write_scores
from wavenet.generation.engine import Player
from wavenet.generation.guarded import Incident, Take
from wavenet.generation.recording import Recording

CODES = np.zeros(1, np.uint8)
LET_GO = [Incident("noise", 1.0, 1, True), Incident("noise", 8.0, 20, False)]


def score_of(badness):
    return TakeScore(badness=badness, seconds=1, seconds_scored=1, figures={}, likelihood=None, memory=None)


def take_of(number, incidents=()):
    return Take(number, CODES, incidents=list(incidents))


def order_of(takes, *badness):
    scores = {take.number: score_of(bad) for take, bad in zip(takes, badness, strict=False)}
    return [take.number for take in order_takes(takes, scores or None)]


def test_without_scores_takes_come_first_that_were_seldom_in_trouble():
    early, late = ([Incident("noise", second, 9, False)] for second in (1.0, 8.0))
    once = [Incident("noise", 1.0, 1, True)]
    takes = [take_of(number, kind) for number, kind in enumerate([early, late, once, [], []])]
    assert order_of(takes) == [3, 4, 2, 1, 0]


def test_a_take_let_go_on_in_trouble_comes_last_however_little_is_wrong_with_it():
    takes = [take_of(0, LET_GO), take_of(1), take_of(2, LET_GO[:1])]
    assert order_of(takes, 0.0, 5.0, 4.0) == [2, 1, 0]
    assert order_of(takes, 0.0, 4.0, 4.0) == [1, 2, 0]
    assert order_of(takes[1:], 7.0, 7.5) == [1, 2]


@pytest.fixture
def performance():
    network = make_variant("paper", 256).eval()
    context = QUANTIZER.encode(play(7, 1.0))[-network.receptive_field :]
    tell = tell_nothing_but(network, {})
    return Performance(network, Player(), None, tell, context, 5 * RATE, 0)


@pytest.fixture
def record(performance, tmp_path):
    """Waveforms as finished takes, in WAV or FLAC, with so many samples of the prime before them."""

    def record(*waveforms, suffix=".wav", leading=0):
        paths = {number: tmp_path / f"{number}-{leading}{suffix}" for number in range(len(waveforms))}
        state = tmp_path / f"state-{leading}{suffix}.json"
        recording = Recording(state, {}, paths, QUANTIZER, RATE, leading).begin(performance.context)
        with recording:
            for number, waveform in enumerate(waveforms):
                take = recording.takes[number]
                take.final = len(waveform)
                recording.take_in(take, QUANTIZER.encode(waveform))
        return recording

    return record


@pytest.fixture
def make_judge(tmp_path):
    shards = write_set(tmp_path / "set", [(play(1, 8.0), "train"), (play(2, 8.0), "train")])
    heldout, training = spread([2.0, 3.0], 0.1), fingerprint_training(shards)
    judge = TakeJudge(QUANTIZER, measure_ranges(shards), heldout, training)
    return lambda: judge


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
@pytest.mark.parametrize("leading", [0, 9])
def test_a_piece_holds_the_codes_that_were_played_and_those_before_them(record, performance, suffix, leading):
    waveform = play(3, 5.0)
    recording = record(waveform, suffix=suffix, leading=leading)
    everything = np.concatenate([performance.context, QUANTIZER.encode(waveform)])
    field = performance.network.receptive_field
    for start, stop in ((0, 5 * RATE), (3, 100), (field, 2 * field), (4 * RATE, 5 * RATE)):
        piece = read_piece(recording.takes[0], range(start, stop), performance, recording)
        assert piece.start == start
        assert np.array_equal(piece.codes, everything[field + start : field + stop])
        assert np.array_equal(piece.context, everything[start : field + start])


def test_all_takes_are_told_of_those_that_are_kept_by_name(record, performance, make_judge, tmp_path):
    silence = np.zeros(5 * RATE, np.float32)
    recording = record(silence, play(3, 5.0), play(4, 5.0))
    takes = list(recording.takes.values())
    ranking = rank_takes("keys", takes, performance, recording, ["a.wav", "a-2.wav"], make_judge)
    assert ranking.takes[-1].number == 0
    told = ranking.scores.takes
    assert [one.take for one in told] == [take.number + 1 for take in ranking.takes]
    assert [(one.rank, one.file) for one in told] == [(1, "a.wav"), (2, "a-2.wav"), (3, None)]
    first, second, last = told
    assert first.badness <= second.badness < last.badness
    assert first.likelihood.nats_per_sample > 0
    write_scores(tmp_path / "scores.json", ranking.scores)
    assert rank_again(takes, read_scores(tmp_path / "scores.json")) == ranking


def test_takes_that_cannot_be_scored_are_ranked_by_the_guards_and_it_is_said_why(
    record, performance, make_judge
):
    recording = record(play(3, 5.0), play(4, 5.0))
    takes = list(recording.takes.values())
    takes[0].incidents += LET_GO

    def fail():
        raise OSError("no space left")

    by_guards = [takes[1], takes[0]]
    assert rank_takes("keys", takes, performance, recording, ["a.wav"], fail) == Ranking(
        by_guards, None, "OSError: no space left"
    )
    recording.paths[1].write_bytes(b"")
    ranking = rank_takes("keys", takes, performance, recording, ["a.wav"], make_judge)
    assert (ranking.takes, ranking.scores) == (by_guards, None)
    assert "1-0.wav: cannot be read" in ranking.unscored
