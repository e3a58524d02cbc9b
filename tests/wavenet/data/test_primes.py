"""A take begins where its whole context is held out, and the band begins together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavenet.audio.io import write_audio
from wavenet.audio.mulaw import decode_mu_law, encode_mu_law
from wavenet.audio.quantization import Quantizer
from wavenet.data.primes import Place, choose_places, context_and_continuation
from wavenet.data.shards.sources import ShardFormat, StemSource
from wavenet.data.shards.writer import write_shards

RATE = 2000
SEGMENT = 100
LEVELS = 65536
TRACK = 4096


def track_id(number):
    return f"{number:032x}"


def codes_of_place(number, start, length):
    """Codes that say where they come from, see test_dataset."""
    return number * TRACK + start + np.arange(length)


def make_quiet_then_loud(length, loud_from, loud_to):
    waveform = np.full(length, 1e-3, np.float32)
    waveform[loud_from:loud_to] = 0.5
    return waveform


def write_set(folder, stem, tracks, train=(), ends=(), kept=None):
    """Write a stem's shard set of tracks: number -> length or waveform, all held out but `train`.

    ends: tracks of which the end alone is held out. kept: of each track, samples.
    """
    sources = []
    for number, sound in tracks.items():
        if isinstance(sound, int):
            sound = decode_mu_law(codes_of_place(number, 0, sound), LEVELS)
        path = folder.parent / f"{stem} {number}.wav"
        write_audio(path, sound, RATE)
        source = StemSource(
            path=path,
            num_samples=len(sound),
            track_id=track_id(number),
            track=f"song {number}",
            split="train" if number in {*train, *ends} else "heldout",
            end_heldout=number in ends,
            kept=None if kept is None else [(start / RATE, end / RATE) for start, end in kept],
        )
        sources.append(source)
    write_shards(sources, folder, ShardFormat(stem, RATE, Quantizer("mu-law", LEVELS), SEGMENT, 0.3, 20))
    return folder


@pytest.fixture
def write(tmp_path):
    """Write a stem's shard set, see `write_set`."""

    def write(stem, tracks, **options):
        (tmp_path / stem).mkdir()
        return write_set(tmp_path / stem, stem, tracks, **options)

    return write


def check_place(folder, number, place, context_length, num_samples):
    """The neighbours of a place are those of the track."""
    assert place.track_id == track_id(number)
    context, continuation = context_and_continuation(folder, place, context_length, num_samples)
    start = place.start_sample
    assert context.tolist() == codes_of_place(number, start - context_length, context_length).tolist()
    assert continuation.tolist() == codes_of_place(number, start, len(continuation)).tolist()
    return continuation


def test_all_stems_begin_at_one_place(write):
    shards = {stem: write(stem, {1: 900, 2: 700}, train=[2]) for stem in ("drums", "bass", "vocals")}
    places = choose_places(shards, 150, 300)
    assert len(set(places.values())) == 1
    for stem, place in places.items():
        assert len(check_place(shards[stem], 1, place, 150, 300)) == 300


def test_training_audio_is_never_a_place(write):
    shards = {"drums": write("drums", {1: 2000, 2: 400}, train=[1])}
    assert choose_places(shards, 100, 300)["drums"].track_id == track_id(2)


def test_the_place_that_most_stems_share_wins(write):
    shards = {
        "drums": write("drums", {1: 4000, 2: 500}),
        "bass": write("bass", {2: 500}),
        "vocals": write("vocals", {2: 500, 3: 4000}),
    }
    places = choose_places(shards, 100, 2000)
    assert {place.track_id for place in places.values()} == {track_id(2)}


def test_then_the_longest_continuation_wins(write):
    shards = {stem: write(stem, {1: 500, 2: 900, 3: 700}) for stem in ("drums", "bass")}
    assert set(choose_places(shards, 100, 2000).values()) == {Place(track_id(2), 100)}


def test_a_continuation_longer_than_the_take_is_no_better(write):
    loud_late = make_quiet_then_loud(1500, 600, 700)
    place = choose_places({"drums": write("drums", {1: loud_late})}, 100, 300)["drums"]
    assert place == Place(track_id(1), 700)  # heard: the loud part; 800 are left, 300 are enough


def test_the_shortest_stem_decides_how_long_a_continuation_is(write):
    shards = {"drums": write("drums", {1: 900, 2: 600}), "bass": write("bass", {1: 300, 2: 600})}
    assert set(choose_places(shards, 100, 2000).values()) == {Place(track_id(2), 100)}


def test_silence_is_no_louder_for_being_digital(write):
    """Levels count from -60 dB, else one stem's silence would outweigh the others' music."""
    drums = make_quiet_then_loud(900, 200, 300)
    bass = np.zeros(900, np.float32)
    bass[400:500] = 1e-4
    shards = {"drums": write("drums", {1: drums}), "bass": write("bass", {1: bass})}
    assert set(choose_places(shards, 100, 200).values()) == {Place(track_id(1), 300)}


def test_a_stem_that_lacks_the_track_begins_at_its_own_best(write):
    shards = {
        "drums": write("drums", {1: 900}),
        "bass": write("bass", {1: 900}),
        "harp": write("harp", {2: 400, 3: 600}),
    }
    places = choose_places(shards, 100, 2000)
    assert places["drums"] == places["bass"] == Place(track_id(1), 100)
    assert places["harp"] == Place(track_id(3), 100)


def test_a_stem_that_ends_before_the_shared_place_begins_at_its_own(write):
    loud_late = make_quiet_then_loud(1500, 1000, 1100)
    shards = {
        "drums": write("drums", {1: loud_late}),
        "bass": write("bass", {1: loud_late}),
        "bell": write("bell", {1: loud_late[:300]}),
    }
    places = choose_places(shards, 100, 100)
    assert places["bell"].start_sample in (100, 200)
    assert places["drums"] == places["bass"]


@pytest.mark.parametrize("tracks", [{}, {1: 200}, {1: 100, 2: 150}])
def test_where_no_context_fits_there_is_no_place(write, tracks):
    shards = {"drums": write("drums", {9: 500, **tracks}, train=[9])}
    assert choose_places(shards, 200, 100) == {"drums": None}


def test_a_stem_without_a_place_leaves_the_others_theirs(write):
    shards = {"drums": write("drums", {1: 900}), "bell": write("bell", {1: 120})}
    places = choose_places(shards, 300, 100)
    assert places["bell"] is None
    assert places["drums"].start_sample >= 300


def test_a_track_split_in_time_gives_places_in_its_heldout_end(write):
    shards = {"drums": write("drums", {1: 1000}, ends=[1])}  # 700 to train on
    place = choose_places(shards, 150, 100)["drums"]
    assert place.start_sample == 900
    check_place(shards["drums"], 1, place, 150, 100)


def test_the_choice_is_always_the_same(write):
    shards = {
        stem: write(stem, dict.fromkeys(range(5), np.full(500, 0.1, np.float32))) for stem in ("a", "b")
    }
    first = choose_places(shards, 100, 100)
    assert first == choose_places(dict(reversed(shards.items())), 100, 100)


@settings(max_examples=20)
@given(
    st.dictionaries(st.integers(1, 4), st.integers(1, 700), min_size=1, max_size=3),
    st.dictionaries(st.integers(1, 4), st.integers(1, 700), min_size=1, max_size=3),
    st.integers(1, 400),
    st.integers(1, 400),
)
def test_every_place_has_its_whole_context_and_what_follows(
    tmp_path_factory, drums, bass, context_length, num_samples
):
    shards = {
        stem: write_set(tmp_path_factory.mktemp(stem), stem, tracks)
        for stem, tracks in (("drums", drums), ("bass", bass))
    }
    places = choose_places(shards, context_length, num_samples)
    for stem, tracks in (("drums", drums), ("bass", bass)):
        place = places[stem]
        borders = [s for n in tracks.values() for s in range(0, n, SEGMENT) if s >= context_length]
        assert (place is None) == (not borders)
        if place is not None:
            number = int(place.track_id, 16)
            continuation = check_place(shards[stem], number, place, context_length, num_samples)
            assert len(continuation) == min(num_samples, tracks[number] - place.start_sample) > 0


@settings(max_examples=30)
@given(st.lists(st.booleans(), min_size=1, max_size=9), st.integers(1, 350), st.integers(1, 350))
def test_no_place_has_a_cut_silence_in_its_context(tmp_path_factory, keep, context_length, num_samples):
    kept = [(SEGMENT * i, SEGMENT * (i + 1)) for i, there in enumerate(keep) if there]
    folder = write_set(tmp_path_factory.mktemp("set"), "drums", {1: SEGMENT * len(keep)}, kept=kept)
    heard = np.repeat(keep, SEGMENT)
    borders = [
        start for start, _ in kept if start >= context_length and heard[start - context_length : start].all()
    ]
    place = choose_places({"drums": folder}, context_length, num_samples)["drums"]
    assert (place is None) == (not borders)
    if place is not None:
        assert place.start_sample in borders
        check_place(folder, 1, place, context_length, num_samples)


def test_a_continuation_ends_where_silence_was_cut(write):
    folder = write("drums", {1: 1200}, kept=[(0, 300), (500, 1200)])
    assert choose_places({"drums": folder}, 100, 2000) == {"drums": Place(track_id(1), 600)}
    assert len(check_place(folder, 1, Place(track_id(1), 100), 100, 2000)) == 200


def test_codes_around_any_place_are_given(write):
    folder = write("drums", {1: 950, 2: 400}, train=[2])
    for start, left in ((50, 100), (333, 100), (900, 50), (950, 0)):
        assert len(check_place(folder, 1, Place(track_id(1), start), 50, 100)) == left


@pytest.mark.parametrize("place", [Place(track_id(1), 49), Place(track_id(1), 951), Place(track_id(2), 100)])
def test_a_place_without_heldout_audio_is_refused(write, place):
    folder = write("drums", {1: 950, 2: 400}, train=[2])
    with pytest.raises(ValueError, match="no held-out audio around"):
        context_and_continuation(folder, place, 50, 100)


def test_a_place_is_heard_in_every_stem_at_the_same_time(write):
    """One click in all stems, at one time, lies at one distance from the place."""
    click = np.zeros(800, np.float32)
    click[475] = 1.0
    shards = {stem: write(stem, {1: click}) for stem in ("drums", "bass")}
    places = choose_places(shards, 100, 200)
    for stem, place in places.items():
        context, _ = context_and_continuation(shards[stem], place, 100, 200)
        assert place.start_sample == 500
        assert int(context.argmax()) == 75
        assert context[75] == encode_mu_law(np.array([1.0]), LEVELS)[0]
