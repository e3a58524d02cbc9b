"""Windows score no sample without its context, and none of another track.

Codes of 65536 levels are wide enough to say where they come from: here a code is its track's number
times 4096 plus its place in the track.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavenet.audio.io import write_audio
from wavenet.audio.quantization import Quantizer
from wavenet.config import ModelConfig, StemConfig
from wavenet.data.dataset import (
    STEPS_A_DRAW,
    CodeRun,
    WindowSampler,
    check_compatible,
    load_runs,
    scored_codes,
    tile_places,
    tile_windows,
)
from wavenet.data.shards.sources import ShardFormat, StemSource
from wavenet.data.shards.writer import write_shards
from wavenet.errors import IncompatibleDataError
from wavenet.files import digest_bytes

TRACK = 4096
LENGTHS = st.lists(st.integers(1, 120), min_size=1, max_size=5)
RATE = 2000


def make_run(number, length, start=0):
    codes = (number * TRACK + start + np.arange(length)).astype(np.uint16)
    return CodeRun(f"{number:032x}", f"song {number}", start, codes)


def make_runs(lengths):
    return [make_run(number, length) for number, length in enumerate(lengths)]


def is_unbroken(window):
    """Whether a window is one stretch of one track."""
    return (
        np.array_equal(np.diff(window.astype(int)), np.ones(len(window) - 1))
        and len(set(window // TRACK)) == 1
    )


def write_set(folder, tracks, levels=65536, segment_length=100, heldout_share=0.25):
    """A shard set of tracks whose codes say where they come from.

    Each is (length, split), and what is kept of it in samples; the split `end` is train but for its end.
    """
    sources = []
    (folder / "shards").mkdir()
    quantizer = Quantizer("mu-law", levels)
    for number, (length, split, *kept) in enumerate(tracks):
        path = folder / f"{number}.wav"
        codes = make_run(number, length).codes.astype(int) % levels
        write_audio(path, quantizer.decode(codes), RATE)
        source = StemSource(
            path=path,
            num_samples=length,
            track_id=f"{number:032x}",
            track=f"song {number}",
            split="train" if split == "end" else split,
            end_heldout=split == "end",
            kept=[(start / RATE, end / RATE) for start, end in kept] or None,
        )
        sources.append(source)
    fmt = ShardFormat("drums", RATE, quantizer, segment_length, heldout_share, 20)
    return folder / "shards", write_shards(sources, folder / "shards", fmt)


def config_of(dilation_cycle, num_cycles=1):
    return StemConfig(model=ModelConfig(dilation_cycle=dilation_cycle, num_cycles=num_cycles))


def test_runs_are_whole_tracks(tmp_path):
    folder, _ = write_set(tmp_path, [(950, "train"), (200, "heldout"), (100, "train"), (30, "train")])
    runs = load_runs(folder, "train")
    assert [(run.track, run.start_sample, len(run.codes)) for run in runs] == [
        ("song 0", 0, 950),
        ("song 2", 0, 100),
        ("song 3", 0, 30),
    ]
    for run, number in zip(runs, (0, 2, 3), strict=True):
        assert np.array_equal(run.codes, make_run(number, len(run.codes)).codes)
    (heldout,) = load_runs(folder, "heldout")
    assert np.array_equal(heldout.codes, make_run(1, 200).codes)


def test_a_track_split_in_time_is_one_run_on_each_side(tmp_path):
    folder, _ = write_set(tmp_path, [(1000, "end"), (850, "end")])
    train, heldout = load_runs(folder, "train"), load_runs(folder, "heldout")
    assert [(run.start_sample, len(run.codes)) for run in train] == [(0, 800), (0, 700)]
    assert [(run.start_sample, len(run.codes)) for run in heldout] == [(800, 200), (700, 150)]
    for run in heldout:
        assert np.array_equal(run.codes, make_run(int(run.track_id), len(run.codes), run.start_sample).codes)


def test_a_cut_silence_ends_a_run(tmp_path):
    folder, _ = write_set(tmp_path, [(950, "train", (100, 300), (500, 950)), (300, "train"), (250, "train")])
    runs = load_runs(folder, "train")
    assert [(int(run.track_id), run.start_sample, len(run.codes)) for run in runs] == [
        (0, 100, 200),
        (0, 500, 450),
        (1, 0, 300),
        (2, 0, 250),
    ]
    for run in runs:
        assert np.array_equal(run.codes, make_run(int(run.track_id), len(run.codes), run.start_sample).codes)


def test_a_track_goes_on_at_no_other_tracks_place(tmp_path):
    """The second track begins in time where the first was cut: they are no neighbours."""
    folder, _ = write_set(tmp_path, [(600, "train", (0, 300)), (600, "train", (300, 600))])
    assert [len(run.codes) for run in load_runs(folder, "train")] == [300, 300]


def test_a_split_of_nothing_has_no_runs(tmp_path):
    folder, _ = write_set(tmp_path, [(300, "train")])
    assert load_runs(folder, "heldout") == []


@given(LENGTHS, st.integers(1, 60), st.integers(1, 60), st.integers(0, 5))
def test_a_window_is_one_stretch_of_one_track_context_first(lengths, receptive_field, scored_length, seed):
    runs = make_runs([*lengths, 70])
    sampler = WindowSampler(runs, receptive_field, scored_length, 3, seed)
    for step in range(4):
        batch = sampler.batch(step)
        assert batch.shape == (3, receptive_field + sampler.scored_length)
        for window in batch:
            assert is_unbroken(window)
            scored = window[receptive_field:] % TRACK  # places in the track
            assert scored.min() >= receptive_field


@given(LENGTHS, st.integers(1, 60), st.integers(1, 60))
def test_tiles_score_every_sample_that_has_its_context_exactly_once(lengths, receptive_field, scored_length):
    runs = make_runs([*lengths, 70])
    windows = list(tile_windows(runs, receptive_field, scored_length))
    scored = np.concatenate([window[receptive_field:] for window in windows])
    scorable = [code for run in runs for code in run.codes[receptive_field:]]
    assert scored.tolist() == scorable == scored_codes(runs, receptive_field).tolist()
    for window in windows:
        assert is_unbroken(window)
        assert receptive_field < len(window) <= receptive_field + scored_length


def test_windows_of_a_set_on_disk_say_where_they_come_from(tmp_path):
    tracks = [(950, "train"), (900, "train", (0, 430), (600, 900)), (700, "heldout")]
    folder, _ = write_set(tmp_path, tracks)
    sampler = WindowSampler(load_runs(folder, "train"), 200, 90, 8, seed=0)
    batches = np.concatenate([sampler.batch(step) for step in range(20)])
    assert all(is_unbroken(window) for window in batches)
    assert set(batches[:, 0] // TRACK) == {0, 1}
    assert (batches[:, 200:] % TRACK).min() >= 200


def test_every_place_of_every_run_is_equally_likely():
    runs = make_runs([12, 31, 15, 11])  # 3 + 22 + 6 + 2 places
    sampler = WindowSampler(runs, 6, 4, 1000, seed=0)
    starts = np.concatenate([sampler.batch(step)[:, 0] for step in range(33)])
    places, counts = np.unique(starts, return_counts=True)
    expected = [run.codes[i] for run in runs for i in range(len(run.codes) - 10 + 1)]
    assert places.tolist() == expected
    assert counts.min() > 850
    assert counts.max() < 1150


def test_a_batch_depends_on_the_seed_and_the_step_alone():
    runs = make_runs([500, 300])
    one, other = WindowSampler(runs, 20, 30, 4, seed=7), WindowSampler(runs, 20, 30, 4, seed=7)
    steps = [0, 1, STEPS_A_DRAW - 1, STEPS_A_DRAW, 3 * STEPS_A_DRAW, 2]
    forward = [one.batch(step) for step in steps]
    backward = [other.batch(step) for step in reversed(steps)][::-1]
    assert np.array_equal(forward, backward)
    assert len({batch.tobytes() for batch in forward}) == len(steps)
    assert not np.array_equal(forward[0], WindowSampler(runs, 20, 30, 4, seed=8).batch(0))


@pytest.mark.parametrize(
    ("lengths", "receptive_field", "scored_length", "batch_size", "seed", "digest"),
    [
        ([500, 300, 90], 20, 30, 4, 7, "70bf69795e71fe9a241b30e33bd35205"),
        ([1000, 61, 2500], 60, 64, 3, 0, "e2cf7cfc999cc285bc3be3eeea1dc7bf"),
        ([70, 800], 60, 4096, 5, 12345, "bf7992f9d31d67f08ba36df14366bd8f"),
        ([4000, 4000, 4000], 128, 256, 8, 2**40 + 1, "0c04f588dc358b33fce45e1d0abcdf9c"),
    ],
)
def test_a_seed_draws_the_windows_it_has_always_drawn(
    lengths, receptive_field, scored_length, batch_size, seed, digest
):
    sampler = WindowSampler(make_runs(lengths), receptive_field, scored_length, batch_size, seed)
    windows = [sampler.batch(step).tobytes() for step in (0, 1, 2, 999, 10**6)]
    assert digest_bytes(b"".join(windows)) == digest


@given(LENGTHS, st.integers(1, 60), st.integers(1, 60), st.integers(0, 5))
def test_places_say_where_the_windows_of_a_step_begin(lengths, receptive_field, scored_length, seed):
    sampler = WindowSampler(make_runs([*lengths, 70]), receptive_field, scored_length, 5, seed)
    for step in range(3):
        numbers, starts = sampler.places(step)
        for window, number, start in zip(sampler.batch(step), numbers, starts, strict=True):
            codes = sampler.runs[number].codes
            assert 0 <= start <= len(codes) - len(window)
            assert np.array_equal(window, codes[start : start + len(window)])


@given(LENGTHS, st.integers(1, 60), st.integers(1, 60))
def test_tiles_lie_where_they_say(lengths, receptive_field, scored_length):
    runs = make_runs([*lengths, 70])
    tiles = list(tile_places(runs, receptive_field, scored_length))
    for tile, window in zip(tiles, tile_windows(runs, receptive_field, scored_length), strict=True):
        assert len(window) == tile.length
        assert window[0] == runs[tile.run].codes[tile.start]


@pytest.mark.parametrize(
    ("lengths", "scored_length"), [([100], 40), ([61], 1), ([100, 90], 40), ([500, 90], 64)]
)
def test_the_scored_part_shrinks_to_what_the_longest_run_allows(lengths, scored_length):
    sampler = WindowSampler(make_runs(lengths), 60, 64, 2, seed=0)
    assert sampler.scored_length == scored_length
    assert sampler.window_length == 60 + scored_length


@pytest.mark.parametrize("lengths", [[], [1], [60], [60, 10]])
def test_runs_without_one_whole_context_are_refused(lengths):
    runs = make_runs(lengths)
    with pytest.raises(IncompatibleDataError, match=rf"has {max(lengths, default=0)} samples, .* needs 61"):
        WindowSampler(runs, 60, 64, 2, seed=0)
    with pytest.raises(IncompatibleDataError, match=r"lower model\.dilation_cycle"):
        list(tile_windows(runs, 60, 64))


def test_nothing_scored_is_no_codes():
    assert len(scored_codes([], 10)) == 0
    assert len(scored_codes(make_runs([10]), 10)) == 0


def test_a_set_that_fits_is_accepted(tmp_path):
    _, manifest = write_set(tmp_path, [(300, "train"), (200, "heldout")], levels=256)
    check_compatible(manifest, config_of(dilation_cycle=7))  # a receptive field of 128


@pytest.mark.parametrize(("levels", "fits"), [(1024, True), (1025, False), (65536, False)])
def test_more_levels_than_a_softmax_has_are_refused(tmp_path, levels, fits):
    _, manifest = write_set(tmp_path, [(300, "train"), (200, "heldout")], levels=levels)
    if fits:
        check_compatible(manifest, config_of(2))
    else:
        with pytest.raises(
            IncompatibleDataError, match=rf"drums: the shards have {levels} levels.*lower quant"
        ):
            check_compatible(manifest, config_of(2))


def test_a_mixture_of_logistics_takes_any_number_of_levels(tmp_path):
    _, manifest = write_set(tmp_path, [(300, "train"), (200, "heldout")], levels=65536)
    check_compatible(manifest, StemConfig(model=ModelConfig(dilation_cycle=2, output="logistics")))


@pytest.mark.parametrize("asked", [{"features": ["notes"]}, {"labels": ["artist"]}])
def test_what_a_model_would_be_told_and_the_shards_lack_is_refused(tmp_path, asked):
    _, manifest = write_set(tmp_path, [(300, "train"), (200, "heldout")], levels=256)
    (name,) = asked
    with pytest.raises(IncompatibleDataError, match=rf"drums: model\.{name} asks for .* have no {name};"):
        check_compatible(manifest, StemConfig(model=ModelConfig(dilation_cycle=2, num_cycles=1, **asked)))


@pytest.mark.parametrize(
    ("tracks", "missing"),
    [
        ([(300, "train")], "heldout"),
        ([(300, "heldout")], "train"),
        ([(100, "end")], "heldout"),
        ([], "train"),
    ],
)
def test_a_set_without_training_or_heldout_audio_is_refused(tmp_path, tracks, missing):
    _, manifest = write_set(tmp_path, tracks, levels=256)
    with pytest.raises(IncompatibleDataError, match=rf"drums: no {missing} audio .*add audio or lower seg"):
        check_compatible(manifest, config_of(2))


@pytest.mark.parametrize(
    ("tracks", "told"),
    [
        ([(100, "train"), (128, "train"), (300, "heldout")], "the longest train audio has 128 samples"),
        ([(300, "train"), (128, "heldout"), (90, "heldout")], "the longest heldout audio has 128 samples"),
        ([(450, "end")], "the longest heldout audio has 50 samples"),  # its last segment
        ([(110, "end")], "the longest train audio has 100 samples"),
        ([(300, "train", (0, 100)), (300, "heldout")], "the longest train audio has 100 samples"),
        ([(300, "train"), (300, "test"), (100, "heldout")], "the longest heldout audio has 100 samples"),
    ],
)
def test_audio_shorter_than_the_receptive_field_is_refused(tmp_path, tracks, told):
    _, manifest = write_set(tmp_path, tracks, levels=256, heldout_share=0.1)
    with pytest.raises(IncompatibleDataError, match=rf"drums: {told}, .* needs 129; lower model\.dilation_c"):
        check_compatible(manifest, config_of(dilation_cycle=7))


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_what_is_accepted_has_a_window_on_either_side(tmp_path, split):
    folder, manifest = write_set(tmp_path, [(129, "train"), (129, "heldout")], levels=256)
    check_compatible(manifest, config_of(dilation_cycle=7))
    runs = load_runs(folder, split)
    assert WindowSampler(runs, 128, 64, 2, seed=0).scored_length == 1
    assert len(list(tile_windows(runs, 128, 1))) == 1


def test_audio_set_apart_for_tests_is_not_asked_for(tmp_path):
    folder, manifest = write_set(tmp_path, [(300, "train"), (200, "heldout"), (5, "test")], levels=256)
    check_compatible(manifest, config_of(dilation_cycle=7))
    assert [len(run.codes) for run in load_runs(folder, "test")] == [5]
