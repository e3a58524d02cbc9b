"""Takes that are watched, begun again, ended anywhere and gone on with: always the same takes."""

import tracemalloc
from dataclasses import fields, replace

import numpy as np
import pytest

from tests.wavenet.generation.test_engine import tell as tell_something
from tests.wavenet.model.variants import make_variant
from wavenet.audio.quantization import Quantizer
from wavenet.generation import guarded
from wavenet.generation.engine import generate
from wavenet.generation.guarded import Take, play_takes
from wavenet.generation.guards import GOOD_FRAMES, Guard, Limits

RATE = 400
NUM_SAMPLES = 30 * RATE
NEVER = Limits(silence_db=-200, flatness=2, clipped_share=2, repeated_seconds=9)


@pytest.fixture(scope="module")
def model():
    return make_variant("paper")


def guard(model, limits):
    return Guard(Quantizer("mu-law", model.quantization_channels), RATE, limits)


def begin(model, count=1):
    context = np.random.default_rng(1).integers(0, model.quantization_channels, model.receptive_field)
    return [Take(number, context.astype(np.uint8)) for number in range(count)]


def play(model, takes, **options):
    """Codes of each take, joined; options as for `play_takes`."""
    codes = {take.number: [np.zeros(0, np.uint8)] for take in takes}
    options = {"guard": guard(model, NEVER), "seed": 3, **options}
    for take, final in play_takes(model, takes, NUM_SAMPLES, **options):
        codes[take.number].append(final)
    return [np.concatenate(each) for each in codes.values()]


def state(take):
    return [getattr(take, one.name) for one in fields(take) if one.compare and one.name != "recent"] + [
        take.recent.tobytes()
    ]


def clipping_of(model, codes):
    """Limits that such codes go beyond now and then: clipping above what most seconds have."""
    clipped = np.isin(codes, (0, model.quantization_channels - 1)).reshape(-1, RATE).mean(axis=1)
    return guard(model, replace(NEVER, clipped_share=float(np.quantile(clipped, 0.9))))


@pytest.fixture(scope="module")
def strict(model):
    return clipping_of(model, play(model, begin(model))[0])


def test_what_gives_no_trouble_is_what_the_engine_plays(model):
    takes = begin(model)
    expected = generate(model, takes[0].recent[None], NUM_SAMPLES, seed=3)
    assert np.array_equal(play(model, takes), expected)
    assert np.array_equal(play(model, begin(model), guard=None), expected)
    assert takes[0].incidents == []


def test_trouble_is_played_again_with_other_draws_and_told(model, strict):
    takes = begin(model)
    (codes,) = play(model, takes, guard=strict)
    assert len(codes) == NUM_SAMPLES
    first, *_ = takes[0].incidents
    assert first.kind == "clipping"
    assert first.restarted
    assert takes[0].draws > NUM_SAMPLES
    (freely,) = play(model, begin(model))
    kept = round((first.second - GOOD_FRAMES / 8) * RATE)
    assert np.array_equal(codes[:kept], freely[:kept])
    assert not np.array_equal(codes[kept : kept + RATE], freely[kept : kept + RATE])


def test_what_is_kept_keeps_the_limits_until_it_is_let_go_on(model, strict):
    takes = begin(model)
    (codes,) = play(model, takes, guard=strict)
    end = next((round(one.second * RATE) for one in takes[0].incidents if not one.restarted), NUM_SAMPLES)
    clipped = np.isin(codes, (0, model.quantization_channels - 1))
    hop = strict.hop
    shares = [clipped[start : start + 8 * hop].mean() for start in range(0, end - 8 * hop, hop)]
    assert max(shares) <= strict.limits.clipped_share


@pytest.mark.parametrize("block", [1000, 4096, 77])
def test_the_size_of_blocks_changes_nothing(model, strict, block):
    one, other = begin(model), begin(model)
    assert np.array_equal(play(model, one, guard=strict), play(model, other, guard=strict, block=block))
    assert state(one[0]) == state(other[0])


def test_a_restart_of_one_take_changes_no_other(model, strict):
    takes = begin(model, 3)
    together = play(model, takes, guard=strict)
    assert len({tuple(one.second for one in take.incidents) for take in takes}) > 1
    for number, codes in enumerate(together):
        alone = Take(number, begin(model)[0].recent)
        assert np.array_equal(play(model, [alone], guard=strict)[0], codes)
        assert state(alone) == state(takes[number])


def test_a_take_left_at_any_yield_goes_on_to_the_same_end(model, strict):
    (whole,) = play(model, begin(model), guard=strict)
    rng = np.random.default_rng(5)
    (take,), codes = begin(model), []
    while take.final < NUM_SAMPLES:
        left = rng.integers(1, 12)
        for _, final in play_takes(model, [take], NUM_SAMPLES, guard=strict, seed=3, block=900):
            codes.append(final)
            left -= len(final) > 0
            if left == 0:
                break
        take = replace(take, recent=take.recent.copy(), incidents=list(take.incidents))
    assert np.array_equal(np.concatenate(codes), whole)


def test_after_so_many_restarts_in_a_row_it_goes_on_and_says_so(model):
    takes = begin(model)
    (codes,) = play(model, takes, guard=guard(model, replace(NEVER, clipped_share=-1.0)))
    assert len(codes) == NUM_SAMPLES
    assert [one.restarted for one in takes[0].incidents] == [True] * 20 + [False]
    assert "unwatched" in str(takes[0].incidents[-1])
    assert not takes[0].watched


def test_what_a_take_is_told_goes_along_with_its_restarts(monkeypatch):
    model = make_variant("labels and features")
    monkeypatch.setattr(guarded, "STRETCH", 3000)
    whole = tell_something(model, np.zeros((1, model.receptive_field)), NUM_SAMPLES + 3000)
    asked = []

    def tell(first, num_codes):
        asked.append(first)
        place = first + model.receptive_field
        return replace(whole, frame_index=whole.frame_index[:, place : place + num_codes])

    one, other = begin(model, 2), begin(model, 2)
    expected = generate(
        model, np.stack([take.recent for take in one]), NUM_SAMPLES, seed=3,
        condition=type(whole)(*(part.expand(2, *part.shape[1:]) for part in
        (whole.labels, whole.frames, whole.frame_index[:, : NUM_SAMPLES + model.receptive_field - 1]))),
    )  # fmt: skip
    assert np.array_equal(play(model, one, tell=tell), expected)
    assert asked == [number * 3000 - model.receptive_field for number in range(4)]
    watcher = clipping_of(model, expected[0])
    together = play(model, other, tell=tell, guard=watcher)
    assert any(take.incidents for take in other)
    alone = [Take(1, begin(model)[0].recent)]
    assert np.array_equal(play(model, alone, tell=tell, guard=watcher)[0], together[1])


def test_memory_does_not_grow_with_length(model):
    peaks = []
    for count in (15, 150):
        tracemalloc.start()
        for _ in play_takes(model, begin(model), count * RATE, guard=guard(model, NEVER), block=500):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_what_is_final_is_not_held_against_what_follows(model):
    second = 8 * guard(model, NEVER).hop
    loud = np.concatenate([begin(model)[0].recent, np.zeros(second, np.uint8)])
    take = Take(0, loud, final=second, draws=second)
    play(model, [take], guard=guard(model, replace(NEVER, clipped_share=0.5)))
    assert take.incidents == []
