"""Every sample is told its own frame, wherever its window lies; what is dropped moves no window.

Frame i of track n is as loud as no other frame: -0.25 dB for each of 80 n + i. So what a network is told of
the level says which frame of which track it is, and codes need not be looked at.
"""

from functools import partial

import mido
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wavenet.audio.io import write_audio
from wavenet.audio.quantization import Quantizer
from wavenet.config import ModelConfig, TrainingConfig
from wavenet.data.dataset import WindowSampler, load_runs, scored_codes, tile_windows
from wavenet.data.primes import Place, choose_places, context_and_continuation
from wavenet.data.scores import read_notes
from wavenet.data.shards.format import read_manifest
from wavenet.data.shards.sources import ShardFormat, StemSource
from wavenet.data.shards.writer import write_shards
from wavenet.errors import IncompatibleDataError
from wavenet.generation.engine import Player, generate
from wavenet.model.conditioning import FRAME_REACH, Condition, ConditionForm
from wavenet.model.timemajor import forward_rows
from wavenet.model.wavenet import WaveNet
from wavenet.training.windows import (
    ConditionSource,
    HeldoutWindows,
    TrainingWindows,
    condition_form,
    continuation_condition,
    draw_dropped,
)

RATE, SEGMENT, HOP = 2000, 100, 20
STEP_DB, FRAMES_A_TRACK = 0.25, 80
TRACKS = [
    (1230, "train", "Ann", [(100, 400), (600, 1230)]),
    (1005, "train", "Bo", None),
    (1011, "heldout", "Ann", [(0, 500), (800, 1011)]),
    (640, "heldout", None, None),
]
FEATURES = ["notes", "energy"]  # not the order of the shards
LEVEL, PRESENCE = 256, 257
FIELD = 60  # the receptive field, unless a network is there


def name_of(number):
    return f"{number:032x}"


def make_levels(number, num_samples):
    """Alternating samples, so that a frame's level is exactly its amplitude."""
    frames = FRAMES_A_TRACK * number + np.arange(num_samples) // HOP
    signs = 1 - 2 * (np.arange(num_samples) % 2)
    return (signs * 10 ** (-STEP_DB * frames / 20)).astype(np.float32)


def write_score(path):
    """Key 60 from frame 10 to 19."""
    tick = 100  # 500 ticks a beat at 120 beats a minute: a tick is a millisecond
    events = [("note_on", 100, tick), ("note_off", 0, tick)]
    midi = mido.MidiFile(type=0, ticks_per_beat=500)
    midi.tracks.append(
        mido.MidiTrack(mido.Message(kind, note=60, velocity=v, time=time) for kind, v, time in events)
    )
    midi.save(path)
    return read_notes(path)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Two tracks to train on and two held out, two of them with a cut, of two artists and of none."""
    audio, folder = tmp_path_factory.mktemp("audio"), tmp_path_factory.mktemp("shards")
    known = []
    for number, (length, split, artist, kept) in enumerate(TRACKS):
        path = audio / f"{number}.wav"
        write_audio(path, make_levels(number, length), RATE)
        source = StemSource(
            path=path,
            num_samples=length,
            track_id=name_of(number),
            track=f"song {number}",
            split=split,
            kept=kept and [(start / RATE, end / RATE) for start, end in kept],
            labels={"artist": artist} if artist else {},
            notes=write_score(audio / "score.mid"),
        )
        known.append(source)
    fmt = ShardFormat("drums", RATE, Quantizer("mu-law", 256), SEGMENT, 0.25, HOP, ["energy", "notes"])
    write_shards(known, folder, fmt)
    return folder


@pytest.fixture(scope="module")
def form(shards):
    return condition_form(read_manifest(shards), ModelConfig(labels=["artist"], features=FEATURES))


@pytest.fixture(scope="module")
def source(shards, form):
    return ConditionSource(shards, "train", load_runs(shards, "train"), form)


def make_config(**settings):
    return TrainingConfig(**{"batch_size": 6, "scored_length": 90, "condition_dropout": 0.0, **settings})


def is_kept(number, frame):
    """Whether the shards have that frame of a track."""
    length, _, _, kept = TRACKS[number]
    return any(start <= frame * HOP < end for start, end in kept or [(0, length)]) and frame >= 0


def expect_frame(told, number, frame):
    """told: (channels,) of one frame."""
    if not is_kept(number, frame):
        assert not told.any()
        return
    assert told[PRESENCE] == 1
    level_db = -STEP_DB * (FRAMES_A_TRACK * number + frame)
    assert told[LEVEL] == pytest.approx(1 + level_db / 80, abs=1e-4)
    assert told[60] == pytest.approx(100 / 127 if 10 <= frame < 20 else 0)
    assert told[128 + 60] == pytest.approx(100 / 127 if frame == 10 else 0)


def expect_frames_of_samples(condition, row, number, start, num_codes):
    """Sample by sample: that of the sample itself, and those around it."""
    assert condition.frame_index.shape[1] == num_codes
    for i in range(num_codes):
        frame = (start + i + 1) // HOP
        place = int(condition.frame_index[row, i]) + FRAME_REACH
        for reach in range(-FRAME_REACH, FRAME_REACH + 1):
            expect_frame(condition.frames[row, place + reach].numpy(), number, frame + reach)


def track_of(condition, row):
    """The number of the track that a window's level says it is of."""
    level, there = condition.frames[row, :, LEVEL], condition.frames[row, :, PRESENCE] > 0
    numbers = ((1 - level[there]) * 80 / STEP_DB).round().int() // FRAMES_A_TRACK
    (number,) = set(numbers.tolist())
    return number


# frames


@given(st.data(), st.integers(1, 130))
def test_every_sample_is_told_the_frame_in_which_it_lies(source, data, num_codes):
    numbers = data.draw(st.lists(st.integers(0, 1), min_size=1, max_size=3))
    starts = [data.draw(st.integers(-50, 1250)) for _ in numbers]
    condition = source.tell([name_of(number) for number in numbers], np.array(starts), num_codes)
    for row, (number, start) in enumerate(zip(numbers, starts, strict=True)):
        expect_frames_of_samples(condition, row, number, start, num_codes)


@given(st.integers(1, 100), st.integers(0, 60))
def test_windows_of_one_length_have_as_many_frames_wherever_they_lie(source, num_codes, start):
    told = [source.tell([name_of(1)], np.array([place]), num_codes) for place in (start, start + 1)]
    assert told[0].frames.shape == told[1].frames.shape
    inside = told[0].frames.shape[1] - 2 * FRAME_REACH
    assert max(int(condition.frame_index.max()) for condition in told) < inside
    assert inside * HOP < num_codes + 2 * HOP  # and no more than those


def test_a_window_of_a_step_is_told_the_frames_of_its_own_codes(shards, form):
    windows = TrainingWindows(shards, FIELD, make_config(), form)
    for step in range(3):
        batch = windows.batch(step)
        numbers, starts = windows.sampler.places(step)
        for row, (number, start) in enumerate(zip(numbers.tolist(), starts.tolist(), strict=True)):
            run = windows.sampler.runs[number]
            codes = run.codes[start : start + FIELD + 90]
            assert batch.codes[row].tolist() == codes.tolist()
            assert track_of(batch.condition, row) == int(run.track_id, 16)
            place = run.start_sample + start
            expect_frames_of_samples(batch.condition, row, int(run.track_id, 16), place, len(codes) - 1)


def test_a_network_takes_a_batch_as_it_is(shards, form):
    config = ModelConfig(
        dilation_cycle=5, num_cycles=1, residual_channels=4, gate_channels=4, skip_channels=4,
        labels=["artist"], features=FEATURES,
    )  # fmt: skip
    model = WaveNet(config, 256, form)
    batch = TrainingWindows(shards, model.receptive_field, make_config(scored_length=40), form).batch(0)
    assert model(batch.codes[:, :-1], batch.condition).shape == (6, 256, 40)
    assert forward_rows(model, batch.codes[:, :-1], batch.condition).shape == (6 * 40, 256)


# what windows there are


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_windows_are_those_of_the_sampler_whatever_is_dropped(shards, form, share):
    config = make_config(condition_dropout=share, seed=3)
    windows = TrainingWindows(shards, FIELD, config, form)
    sampler = WindowSampler(load_runs(shards, "train"), FIELD, 90, 6, seed=3)
    for step in (0, 1, 77):
        assert np.array_equal(windows.batch(step).codes, sampler.batch(step))
        assert windows.batch(step).codes.dtype == torch.int64
    assert windows.scored_length == sampler.scored_length == 90


def test_the_scored_part_shrinks_as_the_samplers_does(shards, form):
    windows = TrainingWindows(shards, FIELD, make_config(scored_length=5000), form)
    assert windows.scored_length == 1005 - FIELD
    assert windows.batch(0).codes.shape == (6, 1005)


def test_a_model_that_can_be_told_nothing_gets_no_condition(shards):
    form = condition_form(read_manifest(shards), ModelConfig())
    assert form == ConditionForm()
    assert TrainingWindows(shards, FIELD, make_config(condition_dropout=0.5), form).batch(0).condition is None
    heldout = HeldoutWindows(shards, FIELD, 90, form)
    assert all(windows.condition is None for windows in heldout.batches(4))
    assert continuation_condition(shards, form, Place(name_of(2), 400), FIELD, 100) is None


@pytest.mark.parametrize("world", [1, 2, 4, 9])
def test_the_ranks_rows_together_are_those_of_one_process(shards, form, world):
    windows = TrainingWindows(shards, FIELD, make_config(condition_dropout=0.5), form)
    whole = windows.batch(5)
    for rank in range(world):
        share = windows.batch(5, rank, world)
        expect_equal(share, whole.select(slice(rank, None, world)))


def expect_equal(one, other):
    assert torch.equal(one.codes, other.codes)
    for name in ("labels", "frames", "frame_index"):
        assert torch.equal(getattr(one.condition, name), getattr(other.condition, name)), name


def test_rows_are_chosen_and_moved_with_what_they_are_told(shards, form):
    batch = TrainingWindows(shards, FIELD, make_config(), form).batch(0)
    chosen = batch.select(torch.tensor([4, 1]))
    assert torch.equal(chosen.codes, batch.codes[[4, 1]])
    assert torch.equal(chosen.condition.frames, batch.condition.frames[[4, 1]])
    moved = batch.to(torch.device("meta"))
    assert {moved.codes.device.type, moved.condition.frames.device.type} == {"meta"}
    assert len(chosen) == 2


# labels


def test_windows_are_told_the_label_of_their_track(shards, form):
    assert form.labels == {"artist": ["Ann", "Bo"]}
    windows = TrainingWindows(shards, FIELD, make_config(), form)
    seen = set()
    for step in range(10):
        condition = windows.batch(step).condition
        for row, (label,) in enumerate(condition.labels.tolist()):
            seen.add((track_of(condition, row), label))
    assert seen == {(0, 1), (1, 2)}


def test_a_track_without_a_label_has_number_0(shards, form):
    heldout = HeldoutWindows(shards, FIELD, 90, form)
    seen = {
        (track_of(batch.condition, row), label)
        for batch in heldout.batches(4)
        for row, (label,) in enumerate(batch.condition.labels.tolist())
    }
    assert seen == {(2, 1), (3, 0)}


def test_labels_alone_need_no_frames(shards):
    config = ModelConfig(
        dilation_cycle=5, num_cycles=1, residual_channels=4, gate_channels=4, skip_channels=4,
        labels=["artist"],
    )  # fmt: skip
    form = condition_form(read_manifest(shards), config)
    model = WaveNet(config, 256, form)
    batch = TrainingWindows(shards, model.receptive_field, make_config(scored_length=40), form).batch(0)
    assert set(batch.condition.labels.flatten().tolist()) == {1, 2}
    assert batch.condition.frames.shape[2] == 0
    assert model(batch.codes[:, :-1], batch.condition).shape == (6, 256, 40)


# what is dropped


def dropped_rows(windows, steps):
    """(steps, batch) bool: windows that are told nothing at all."""
    told = [windows.batch(step).condition for step in steps]
    without = [~(c.frames.any(2).any(1) | c.labels.any(1)) for c in told]
    return torch.stack(without).numpy()


def test_so_many_windows_are_told_nothing_and_the_others_all(shards, form):
    windows = TrainingWindows(shards, FIELD, make_config(condition_dropout=0.3, batch_size=12), form)
    whole = TrainingWindows(shards, FIELD, make_config(batch_size=12), form)
    dropped = dropped_rows(windows, range(100))
    assert 0.25 < dropped.mean() < 0.35  # of 1200, 0.3 +- 0.013
    assert 0 < dropped[:, 0].sum() < 100
    for step in range(5):
        kept = torch.from_numpy(~dropped[step])
        expect_equal(windows.batch(step).select(kept), whole.batch(step).select(kept))


@pytest.mark.parametrize("share", [0, 1])
def test_none_or_all_may_be_dropped(shards, form, share):
    windows = TrainingWindows(shards, FIELD, make_config(condition_dropout=share), form)
    assert (dropped_rows(windows, range(20)) == bool(share)).all()


def test_what_is_dropped_depends_on_the_seed_and_the_step_alone(shards, form):
    make = partial(make_config, condition_dropout=0.5, batch_size=12)
    one, other = (TrainingWindows(shards, FIELD, make(seed=7), form) for _ in range(2))
    backward = dropped_rows(other, reversed(range(20)))[::-1]
    assert np.array_equal(dropped_rows(one, range(20)), backward)
    assert len({row.tobytes() for row in backward}) == 20
    longer = TrainingWindows(shards, FIELD, make(seed=7, scored_length=30), form)
    assert np.array_equal(dropped_rows(longer, range(20)), backward)
    elsewhere = TrainingWindows(shards, FIELD, make(seed=8), form)
    assert not np.array_equal(dropped_rows(elsewhere, range(20)), backward)


def test_where_windows_lie_says_nothing_of_whether_they_are_dropped(shards, form):
    """One stream of random numbers for both would tie a window to the place of another."""
    config = make_config(condition_dropout=0.5, batch_size=12)
    sampler = TrainingWindows(shards, FIELD, config, form).sampler
    dropped = [draw_dropped(step, config) for step in range(400)]
    places = [sampler.begins[runs] + starts for runs, starts in map(sampler.places, range(400))]
    together = np.corrcoef(np.transpose(dropped), np.transpose(places))[:12, 12:]
    assert np.abs(together).max() < 0.3


# held out


@pytest.mark.parametrize(("scored_length", "size"), [(90, 1), (90, 4), (33, 3), (1, 1000), (5000, 2)])
def test_tiles_score_each_sample_once_and_are_told_its_frame(shards, form, scored_length, size):
    heldout = HeldoutWindows(shards, FIELD, scored_length, form)
    batches = list(heldout.batches(size))
    scored = np.concatenate([batch.codes[:, FIELD:].flatten() for batch in batches])
    assert sorted(scored) == sorted(scored_codes(load_runs(shards, "heldout"), FIELD))
    assert sum(map(len, batches)) == len(heldout)
    assert max(map(len, batches)) <= size
    frames = [told for batch in batches for told in scored_frames(batch)]
    assert sorted(frames) == sorted(
        FRAMES_A_TRACK * int(run.track_id, 16) + (run.start_sample + i) // HOP
        for run in load_runs(shards, "heldout")
        for i in range(FIELD, len(run.codes))
    )


def scored_frames(batch):
    """The frame, with its track's offset, that each scored sample is told of."""
    condition = batch.condition
    scored = condition.frame_index[:, FIELD - 1 :] + FRAME_REACH
    levels = condition.frames[:, :, LEVEL].gather(1, scored)
    assert (condition.frames[:, :, PRESENCE].gather(1, scored) == 1).all()
    return ((1 - levels) * 80 / STEP_DB).round().int().flatten().tolist()


def test_each_tile_is_told_the_frames_of_its_own_codes(shards, form):
    """Codes of a loud frame are large: codes and levels must agree, sample by sample."""
    decode = Quantizer("mu-law", 256).decode
    for batch in HeldoutWindows(shards, FIELD, 90, form).batches(3):
        heard = 20 * np.log10(np.abs(decode(batch.codes.numpy()))[:, FIELD:] + 1e-9)
        told = -STEP_DB * np.array(scored_frames(batch)).reshape(heard.shape)
        loud = told > -40
        assert np.abs(heard - told)[loud].max(initial=0) < 1


def test_held_out_windows_are_never_dropped_and_may_be_told_nothing(shards, form):
    for batch in HeldoutWindows(shards, FIELD, 90, form).batches(4):
        assert batch.condition.frames[:, :, PRESENCE].any(1).all()
        assert batch.untold().condition is None
        assert torch.equal(batch.untold().codes, batch.codes)


def test_some_tiles_are_spread_evenly(shards, form):
    heldout = HeldoutWindows(shards, FIELD, 20, form)
    tiles = list(tile_windows(load_runs(shards, "heldout"), FIELD, 20))
    some = [row.tolist() for batch in heldout.batches(2, count=7) for row in batch.codes]
    expected = [tiles[i * len(tiles) // 7].tolist() for i in range(7)]
    assert sorted(some) == sorted(expected)
    assert sum(map(len, heldout.batches(5, count=10**6))) == len(tiles)


# a take


def test_a_take_is_told_what_the_record_was_told_there(shards, form):
    """From before its context on, over a cut, and past the end of the track."""
    condition = continuation_condition(shards, form, Place(name_of(2), 400), FIELD + 70, 800)
    assert condition.labels.tolist() == [[1]]
    assert condition.frame_index.shape == (1, FIELD + 70 + 800 - 1)
    expect_frames_of_samples(condition, 0, 2, 400 - FIELD - 70, FIELD + 70 + 800 - 1)
    present = condition.frames[0, :, PRESENCE].tolist()
    first = (400 - FIELD - 70 + 1) // HOP - FRAME_REACH
    assert present == [float(is_kept(2, first + i)) for i in range(len(present))]
    assert 0 in present[:40]


def test_a_take_without_a_context_in_the_track_is_told_what_is_there(shards, form):
    condition = continuation_condition(shards, form, Place(name_of(3), 0), FIELD, 50)
    expect_frames_of_samples(condition, 0, 3, -FIELD, FIELD + 49)


def test_a_take_and_a_window_at_its_place_are_told_the_same(shards, form):
    batch = next(HeldoutWindows(shards, FIELD, 400, form).batches(10))
    tiles = HeldoutWindows(shards, FIELD, 400, form).tiles
    tile = min(tiles, key=lambda tile: tile.length)
    run = load_runs(shards, "heldout")[tile.run]
    place = Place(run.track_id, run.start_sample + tile.start + FIELD)
    condition = continuation_condition(shards, form, place, FIELD, tile.length - FIELD)
    for name in ("labels", "frames", "frame_index"):
        assert torch.equal(getattr(condition, name), getattr(batch.condition, name)[:1]), name


def test_generate_takes_the_condition_of_a_place(shards, form):
    config = ModelConfig(
        dilation_cycle=5, num_cycles=1, residual_channels=4, gate_channels=4, skip_channels=4,
        labels=["artist"], features=FEATURES,
    )  # fmt: skip
    model = WaveNet(config, 256, form)
    field = model.receptive_field
    place = choose_places({"drums": shards}, field, 50)["drums"]
    context, _ = context_and_continuation(shards, place, field, 50)
    condition = continuation_condition(shards, form, place, field, 50)
    assert isinstance(condition, Condition)
    player = Player(backend="reference")
    assert generate(model, context[None], 50, condition=condition, player=player).shape == (1, 50)


# what is refused


def test_a_track_that_is_not_held_out_is_refused(shards, form):
    with pytest.raises(IncompatibleDataError, match=rf"no held-out audio of track {name_of(0)}; choose"):
        continuation_condition(shards, form, Place(name_of(0), 100), FIELD, 50)


def test_what_the_shards_lack_is_refused(shards):
    manifest = read_manifest(shards)
    with pytest.raises(IncompatibleDataError, match=r"model\.features asks for chroma"):
        condition_form(manifest, ModelConfig(features=["chroma"]))
    with pytest.raises(IncompatibleDataError, match=r"model\.labels asks for mood"):
        condition_form(manifest, ModelConfig(labels=["mood"]))
    with pytest.raises(IncompatibleDataError, match=r"model\.features asks for f0"):
        TrainingWindows(shards, FIELD, make_config(), ConditionForm(features={"f0": 2}, hop_length=HOP))


def test_frames_of_another_length_are_refused(shards):
    form = ConditionForm(features={"energy": 1}, hop_length=25)
    with pytest.raises(IncompatibleDataError, match=r"drums: the shards have frames of 20 .* made for 25; "):
        HeldoutWindows(shards, FIELD, 90, form)
