"""What shards know besides codes lies beside the runs, and its scale is the same for all data."""

import tracemalloc

import mido
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavenet.audio.io import write_audio
from wavenet.audio.quantization import Quantizer
from wavenet.config import ModelConfig
from wavenet.data.conditions import SCALES, FrameRun, between, condition_facts, load_frames, load_labels
from wavenet.data.dataset import load_runs
from wavenet.data.scores import read_notes
from wavenet.data.shards import sources, split_writer
from wavenet.data.shards.format import DIMS
from wavenet.data.shards.reader import read_shards
from wavenet.data.shards.sources import ShardFormat, StemSource
from wavenet.data.shards.writer import write_shards
from wavenet.errors import IncompatibleDataError, ShardFormatError

RATE, SEGMENT, HOP = 2000, 500, 20
ALL = ["energy", "onset", "f0", "chroma", "notes", "context"]
TRAIN = "train-00000.parquet"


def make_melody(seconds, seed=0):
    """Tones that come and go, so that every feature has something to say."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    pitch = np.repeat(generator.uniform(80, 500, 100), 400)[: len(time)]
    tone = 0.3 * np.sin(2 * np.pi * np.cumsum(pitch) / RATE) * (1 - (4 * time) % 1)
    return (tone + generator.normal(0, 0.001, len(time))).astype(np.float32)


def write_midi(path, *notes):
    """notes: (pitch, onset and length in seconds, velocity)."""
    events = [(onset, "note_on", pitch, velocity) for pitch, onset, _, velocity in notes]
    events += [(onset + length, "note_off", pitch, 0) for pitch, onset, length, _ in notes]
    track, now = mido.MidiTrack(), 0
    for second, kind, pitch, velocity in sorted(events):
        tick = round(second * 1000)  # 500 ticks a beat at 120 beats a minute
        track.append(mido.Message(kind, note=pitch, velocity=velocity, time=tick - now))
        now = tick
    midi = mido.MidiFile(type=0, ticks_per_beat=500)
    midi.tracks.append(track)
    midi.save(path)
    return path


@pytest.fixture
def write(tmp_path):
    """Write tracks as a shard set; gives its folder and manifest.

    A track is a waveform and its split, and what else a StemSource is to know.
    """

    def write(*tracks, features=()):
        known = []
        for number, (waveform, split, *more) in enumerate(tracks):
            path = tmp_path / f"{number}.wav"
            write_audio(path, waveform, RATE)
            facts = {"track_id": f"{number:032x}", "track": f"song {number}", **dict(*more)}
            known.append(StemSource(path=path, num_samples=len(waveform), split=split, **facts))
        (tmp_path / "set").mkdir()
        fmt = ShardFormat("drums", RATE, Quantizer("mu-law", 256), SEGMENT, 0.25, HOP, list(features))
        return tmp_path / "set", write_shards(known, tmp_path / "set", fmt)

    return write


@pytest.fixture
def band(write, tmp_path):
    return write_band(write, tmp_path)


def write_band(write, tmp_path):
    """A track with a cut and a shorter one, with scores and another stem, and one held out."""
    score = read_notes(write_midi(tmp_path / "a.mid", (60, 0.1, 0.3, 90), (36, 1.5, 0.2, 127)))
    write_audio(tmp_path / "other.wav", make_melody(3, 7), RATE)
    first = {"notes": score, "others": [tmp_path / "other.wav"], "kept": [(0.25, 0.75), (1.25, 2.63)]}
    return write(
        (make_melody(2.63, 0), "train", first),
        (make_melody(1.1, 1), "train", {"notes": score}),
        (make_melody(1, 2), "heldout"),
        features=ALL,
    )


def fetch(run, first_frame, num_frames):
    """(num_frames, dims + 1) as a network is told them."""
    frames = np.zeros((num_frames, sum(DIMS[name] for name in run.stored) + 1), np.float32)
    run.fill(frames, first_frame)
    return frames


# beside the runs


def rows_between(rows, run):
    mine = rows["start_sample"].between(run.start_sample, run.start_sample + len(run.codes) - 1)
    return rows[mine & (rows["track_id"] == run.track_id)]


def stored_frames(rows, name):
    if name == "notes":
        return np.frombuffer(b"".join(rows["notes"]), np.uint8).reshape(-1, 256)
    return np.concatenate(rows[name].to_list()).reshape(-1, DIMS[name])


@pytest.mark.parametrize("num_files", [1, 9])
def test_frames_beside_a_run_are_those_of_its_rows(write, tmp_path, monkeypatch, num_files):
    if num_files > 1:
        monkeypatch.setattr(split_writer, "SHARD_BYTES", 1)
        monkeypatch.setattr(split_writer, "ROWS_A_GROUP", 2)
        monkeypatch.setattr(sources, "ROWS_A_GROUP", 2)
    folder, _ = write_band(write, tmp_path)
    assert len(list(folder.glob("train-*"))) == num_files
    runs, rows = load_runs(folder, "train"), read_shards(folder, "train")
    beside = load_frames(folder, "train", runs, ALL)
    assert [(run.start_sample, len(run.codes)) for run in runs] == [(500, 1000), (2500, 2760), (0, 2200)]
    assert [(run.first_frame, run.end_frame) for run in beside] == [(25, 75), (125, 263), (0, 110)]
    for run, frames in zip(runs, beside, strict=True):
        for name in ALL:
            assert np.array_equal(frames.stored[name], stored_frames(rows_between(rows, run), name)), name


def test_features_lie_side_by_side_in_the_order_that_is_asked_for(band):
    folder, _ = band
    names = ["notes", "energy", "f0"]
    first, *_ = load_frames(folder, "train", load_runs(folder, "train"), names)
    told = fetch(first, first.first_frame, first.end_frame - first.first_frame)
    assert np.array_equal(told[:, :256], SCALES["notes"](first.stored["notes"]))
    assert np.array_equal(told[:, 256:257], SCALES["energy"](first.stored["energy"]))
    assert np.array_equal(told[:, 257:259], SCALES["f0"](first.stored["f0"]))
    assert np.array_equal(told[:, 259], np.ones(len(told)))


@given(st.integers(0, 30), st.integers(1, 20), st.integers(-5, 60), st.integers(1, 40))
def test_what_a_run_does_not_have_stays_as_it_was(first_frame, num_frames, begin, count):
    run = FrameRun(first_frame, {"chroma": np.arange(1, num_frames + 1, dtype=np.float32)[:, None] + 0.5})
    told = np.full((count, 2), -1, np.float32)
    run.fill(told, begin)
    for frame, (value, presence) in enumerate(told, begin):
        there = first_frame <= frame < first_frame + num_frames
        assert (value, presence) == ((frame - first_frame + 1.5, 1) if there else (-1, -1))


@given(st.lists(st.integers(1, 5), max_size=12), st.integers(-3, 40), st.integers(1, 9))
def test_runs_in_a_range_of_frames_are_those_that_have_any_of_it(lengths, first, count):
    """Lengths of runs and of the gaps between them, by turns."""
    ends = np.cumsum(lengths).tolist()
    runs = [
        FrameRun(end - length, {"energy": np.zeros((length, 1), np.float32)})
        for length, end in list(zip(lengths, ends, strict=True))[::2]
    ]
    asked = set(range(first, first + count))
    having = [run for run in runs if asked & set(range(run.first_frame, run.end_frame))]
    assert list(between(runs, first, first + count)) == having


def test_a_score_is_heard_where_it_is_written(band):
    folder, _ = band
    (early, late, _) = load_frames(folder, "train", load_runs(folder, "train"), ["notes"])
    told = fetch(early, 0, 263) + fetch(late, 0, 263)
    frames, keys = np.nonzero(told[:, :256])
    assert set(frames[keys == 60]) == set(range(25, 40))  # it began at frame 10, in what was cut
    assert set(frames[keys == 36]) == set(range(150, 170))
    assert frames[keys == 128 + 36].tolist() == [150]
    assert not (keys == 128 + 60).any()
    assert told[30, 60] == pytest.approx(90 / 127)
    assert told[150, 128 + 36] == 1


def test_a_split_of_nothing_has_no_frames(write):
    folder, _ = write((make_melody(1), "train"), features=["energy"])
    assert load_frames(folder, "heldout", [], ["energy"]) == []


# memory


def test_notes_stay_bytes_and_are_held_once(write, tmp_path, monkeypatch):
    """A roll of float32 would be four times as large, and a joined copy twice."""
    monkeypatch.setattr(split_writer, "SHARD_BYTES", 1 << 16)
    monkeypatch.setattr(split_writer, "ROWS_A_GROUP", 4)
    monkeypatch.setattr(sources, "ROWS_A_GROUP", 4)
    noise = np.random.default_rng(0).normal(0, 0.1, 60 * RATE).astype(np.float32)
    folder, manifest = write((noise[:-17], "train"), (noise, "train"), features=["notes"])
    assert len(manifest.files) > 10
    runs = load_runs(folder, "train")
    load_frames(folder, "train", runs, ["notes"])  # whatever is imported on the way
    tracemalloc.start()
    one, other = load_frames(folder, "train", runs, ["notes"])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    roll = one.stored["notes"].base
    assert roll is other.stored["notes"].base
    assert roll.dtype == np.uint8
    assert roll.nbytes == 2 * 6000 * 256
    assert peak < 1.5 * roll.nbytes


# scales


@pytest.mark.parametrize(
    ("name", "stored", "told"),
    [
        ("energy", [-120], [0]),
        ("energy", [-80], [0]),
        ("energy", [-20], [0.75]),
        ("energy", [0], [1]),
        ("onset", [0], [0]),
        ("onset", [15], [0.5]),
        ("f0", [0, 0.4], [0, 0.4]),
        ("f0", [27.5, 1], [1 / 7.25, 1]),  # octaves from 13.75 Hz to C7: a semitone is 1/87
        ("f0", [440, 0.9], [5 / 7.25, 0.9]),
        ("f0", [2093, 0.9], [1, 0.9]),
        ("chroma", [0.25] * 12, [0.25] * 12),
        ("notes", [0, 1, 64, 127] * 64, [0, 1 / 127, 64 / 127, 1] * 64),
        ("context", [-40, 6, *[0.5] * 12], [0.5, 0.2, *[0.5] * 12]),
    ],
)
def test_every_feature_has_a_scale_of_its_own(name, stored, told):
    frames = np.array([stored, stored], np.uint8 if name == "notes" else np.float32)
    assert frames.shape[1] == DIMS[name]
    scaled = SCALES[name](frames)
    assert scaled.dtype == np.float32
    assert scaled[0].tolist() == scaled[1].tolist() == pytest.approx(told, abs=1e-4)


def test_what_is_told_of_music_is_about_0_to_1(band):
    folder, _ = band
    for run in load_frames(folder, "train", load_runs(folder, "train"), ALL):
        told = fetch(run, run.first_frame, run.end_frame - run.first_frame)
        assert told.min() >= 0
        assert told.max() < 1.5
        assert told[:, :1].max() > 0.5


# labels


def test_each_track_has_its_own_labels(write):
    folder, _ = write(
        (make_melody(1), "train", {"labels": {"artist": "Ann", "Genre": "dub"}}),
        (make_melody(1, 1), "train", {"labels": {"artist": "Bo", "genre": "ska"}}),
        (make_melody(1, 2), "train"),
        (make_melody(1, 3), "heldout", {"labels": {"artist": "Ann"}}),
    )
    ids = [f"{number:032x}" for number in range(4)]
    assert load_labels(folder, "train", ["artist"]) == {
        ids[0]: {"artist": "Ann"},
        ids[1]: {"artist": "Bo"},
        ids[2]: {},
    }
    assert load_labels(folder, "heldout", ["artist", "genre"]) == {ids[3]: {"artist": "Ann"}}
    told = load_labels(folder, "train", ["genre", "Genre", "never said"])
    assert list(told.values()) == [{"Genre": "dub"}, {"genre": "ska"}, {}]


# what there is


def test_facts_are_in_the_models_order(write):
    _, manifest = write(
        (make_melody(1), "train", {"labels": {"artist": "Bo", "genre": "dub"}}),
        (make_melody(1, 1), "heldout", {"labels": {"artist": "Ann"}}),
        features=["energy", "f0", "notes"],
    )
    facts = condition_facts(manifest, ModelConfig(labels=["genre", "artist"], features=["notes", "energy"]))
    assert list(facts.labels.items()) == [("genre", ["dub"]), ("artist", ["Ann", "Bo"])]
    assert list(facts.features.items()) == [("notes", 256), ("energy", 1)]
    assert facts.hop_length == HOP
    nothing = condition_facts(manifest, ModelConfig())
    assert (nothing.labels, nothing.features, nothing.hop_length) == ({}, {}, 1)


@pytest.mark.parametrize(
    ("features", "remedy"),
    [([], r"have no features; .*names=\[notes,f0\]"), (["f0"], r"have f0; .*features.names=\[f0,notes\]")],
)
def test_a_feature_that_the_shards_lack_is_refused_with_the_remedy(write, features, remedy):
    folder, manifest = write((make_melody(1), "train"), features=features)
    with pytest.raises(IncompatibleDataError, match=rf"drums: model\.features asks for notes.* {remedy}"):
        condition_facts(manifest, ModelConfig(features=["notes", "f0"]))
    with pytest.raises(IncompatibleDataError, match=r"asks for chroma"):
        load_frames(folder, "train", load_runs(folder, "train"), ["chroma"])


@pytest.mark.parametrize(("labels", "there"), [({}, "no labels"), ({"genre": "dub"}, "genre")])
def test_a_label_that_the_shards_lack_is_refused_with_the_remedy(write, labels, there):
    _, manifest = write((make_melody(1), "train", {"labels": labels}))
    with pytest.raises(
        IncompatibleDataError,
        match=rf"drums: model\.labels asks for artist, the shards have {there}; .*manifest, or take it out",
    ):
        condition_facts(manifest, ModelConfig(labels=["artist"]))


# damage


def change_column(folder, name, change):
    rows = pq.read_table(folder / TRAIN)
    pq.write_table(
        rows.set_column(rows.schema.get_field_index(name), name, change(rows[name])), folder / TRAIN
    )


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("energy", lambda rows: pa.array([values.as_py()[1:] for values in rows], pa.list_(pa.float32()))),
        ("notes", lambda rows: pa.array([values.as_py() + b"a" for values in rows], pa.binary())),
        ("energy", lambda rows: pa.array([None] * len(rows), pa.list_(pa.float32()))),
    ],
)
def test_another_number_of_values_than_the_samples_have_is_told(band, name, change):
    folder, _ = band
    runs = load_runs(folder, "train")
    change_column(folder, name, change)
    with pytest.raises(ShardFormatError, match=rf"{TRAIN}: found \d+ values of {name} .*prepare the shards"):
        load_frames(folder, "train", runs, [name])


def test_a_column_that_is_gone_or_of_another_kind_is_told(band):
    folder, _ = band
    runs = load_runs(folder, "train")
    change_column(folder, "energy", lambda rows: pa.array(["loud"] * len(rows)))
    pq.write_table(pq.read_table(folder / TRAIN).drop_columns(["f0"]), folder / TRAIN)
    for name in ("energy", "f0"):
        with pytest.raises(ShardFormatError, match=rf"{TRAIN}: cannot be read .*prepare the shards again"):
            load_frames(folder, "train", runs, [name])


def test_runs_of_another_split_are_told(band):
    folder, _ = band
    with pytest.raises(ShardFormatError, match=r"found 298 frames of energy, expected 200, as many as"):
        load_frames(folder, "train", load_runs(folder, "heldout") * 2, ["energy"])
