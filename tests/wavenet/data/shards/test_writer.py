"""From working audio to rows: codes, places on the grid, features, and a manifest that is true."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from wavenet.audio.features import extract_context, extract_features
from wavenet.audio.io import level_db, write_audio
from wavenet.audio.mulaw import code_dtype, decode_mu_law, encode_mu_law
from wavenet.audio.quantization import Quantizer
from wavenet.data.dataset import load_runs
from wavenet.data.primes import choose_places, context_and_continuation
from wavenet.data.scores import Note, notes_roll
from wavenet.data.shards import sources, split_writer
from wavenet.data.shards.format import DIMS, codes_of, make_schema, read_manifest
from wavenet.data.shards.reader import read_shards
from wavenet.data.shards.sources import ShardFormat, StemSource
from wavenet.data.shards.writer import measure_noise, write_shards
from wavenet.errors import AudioDecodeError
from wavenet.files import digest_file

RATE, SEGMENT = 2000, 500
HEARD = ["energy", "onset", "f0", "chroma"]


def make_noise(seconds, seed=0, level=0.1, rate=RATE):
    return np.random.default_rng(seed).normal(0, level, round(seconds * rate)).astype(np.float32)


def make_melody(num_samples, seed=0):
    """Tones that come and go, so that every feature has something to say."""
    generator = np.random.default_rng(seed)
    time = np.arange(num_samples) / RATE
    pitch = np.repeat(generator.uniform(80, 500, 100), 400)[:num_samples]
    tone = 0.3 * np.sin(2 * np.pi * np.cumsum(pitch) / RATE) * (1 - (4 * time) % 1)
    return (tone + generator.normal(0, 0.001, num_samples)).astype(np.float32)


def join_codes(rows, levels=256):
    return np.concatenate([codes_of(row, levels) for row in rows["codes"]])


def write_alone(folder, waveform, **options):
    """One track as a shard set, without the fixture."""
    write_audio(folder / "a.wav", waveform, RATE)
    source = StemSource(folder / "a.wav", len(waveform), "0" * 32, "song", "train")
    (folder / "set").mkdir()
    fmt = {"quantizer": Quantizer("mu-law", 256), "segment_length": SEGMENT, **options}
    manifest = write_shards(
        [source],
        folder / "set",
        ShardFormat(stem="drums", sample_rate=RATE, heldout_share=0.25, hop_length=20, **fmt),
    )
    return folder / "set", manifest


@pytest.fixture
def band(write):
    """Three tracks: 2 s and 1.1 s to train on, 1 s held out."""
    return write((make_noise(2, 0), "train"), (make_noise(1, 1), "heldout"), (make_noise(1.1, 2), "train"))


# codes


@settings(max_examples=25)
@given(
    st.sampled_from([("mu-law", 16), ("mu-law", 64), ("mu-law", 256), ("mu-law", 1024), ("mu-law", 65536)])
    | st.tuples(st.just("linear"), st.sampled_from([16, 255, 256, 65536])),
    st.integers(1, 1700),
    st.integers(1, 600),
    st.integers(0, 2**32 - 1),
)
def test_codes_come_back_from_parquet(setting, num_samples, segment_length, seed):
    quantizer = Quantizer(*setting)
    levels = quantizer.quantization_channels
    codes = np.random.default_rng(seed).integers(levels, size=num_samples)
    with tempfile.TemporaryDirectory() as folder:
        place, manifest = write_alone(
            Path(folder), quantizer.decode(codes), quantizer=quantizer, segment_length=segment_length
        )
        rows = read_shards(place, "train")
    assert np.array_equal(join_codes(rows, levels), codes)
    assert rows["num_samples"].sum() == manifest.num_samples("train") == num_samples
    assert {len(row) for row in rows["codes"]} <= {
        n * code_dtype(levels).itemsize for n in (segment_length, num_samples % segment_length)
    }
    assert (manifest.law, manifest.quantization_channels) == setting


@pytest.mark.parametrize("levels", [256, 1024])
def test_codes_are_stored_little_endian_in_the_smallest_type(write, levels):
    folder, _ = write((np.full(SEGMENT, 1, np.float32), "train"), levels=levels)
    (row,) = read_shards(folder, "train")["codes"]
    assert row == (levels - 1).to_bytes(code_dtype(levels).itemsize, "little") * SEGMENT


@pytest.mark.parametrize("law", ["mu-law", "linear"])
def test_dither_gives_the_same_codes_each_time(write, law):
    track = (make_noise(2, level=0.02), "train")
    codes = [join_codes(read_shards(write(track, law=law, dither=True)[0], "train")) for _ in range(2)]
    plain = join_codes(read_shards(write(track, law=law)[0], "train"))
    assert np.array_equal(*codes)
    apart = np.abs(codes[0].astype(int) - plain)
    assert (apart > 0).mean() > 0.2
    assert apart.max() <= 2
    assert write(track, law=law, dither=True)[1].dither


def test_stems_of_a_track_are_dithered_apart(write):
    """One noise in all stems would add up in the mix as no other noise does."""
    silence = (np.zeros(2000, np.float32), "train")
    drums, bass = (
        join_codes(read_shards(write(silence, law="linear", dither=True, stem=stem)[0], "train")).astype(int)
        for stem in ("drums", "bass")
    )
    assert abs(np.corrcoef(drums, bass)[0, 1]) < 0.1


def test_a_gain_is_applied_before_quantization(write):
    noise = make_noise(1)
    folder, _ = write((noise, "train", {"gain": 0.5}))
    rows = read_shards(folder, "train")
    assert np.array_equal(join_codes(rows), encode_mu_law(noise * np.float32(0.5)))
    assert rows["level_db"][0] == pytest.approx(
        level_db(0.25 * float(np.square(noise[:SEGMENT]).mean())), abs=1e-4
    )


def test_wider_and_faster_working_audio_is_brought_to_mono_at_the_models_rate(write):
    time = np.arange(3 * 44100) / 44100
    left = 0.5 * np.sin(2 * np.pi * 100 * time)
    stereo = np.stack([left, 0.5 * left], axis=1).astype(np.float32)
    folder, manifest = write((stereo, "train"), audio_rate=44100, levels=65536)
    rows = read_shards(folder, "train")
    assert manifest.num_samples("train") == pytest.approx(3 * RATE, abs=1)
    assert rows["level_db"][5] == pytest.approx(level_db(0.5 * (0.5 * 0.75) ** 2), abs=0.1)
    expected = soxr.resample(stereo.mean(axis=1), 44100, RATE, "HQ")
    found = decode_mu_law(join_codes(rows, 65536), 65536)
    assert np.abs(found - expected[: len(found)]).max() < 1e-4


@settings(max_examples=40)
@given(st.integers(1, 2000), st.sampled_from([1, 2, 256]), st.booleans())
@pytest.mark.filterwarnings("error")
def test_resampling_by_a_sample_more_or_less_loses_nothing(num_samples, rows_a_group, end_heldout):
    """soxr gives 111 samples for 110.5: a segment more than was computed, where one has 110."""
    length = max(1, round(num_samples / 4))
    with tempfile.TemporaryDirectory() as temporary, pytest.MonkeyPatch.context() as monkeypatch:
        folder = Path(temporary)
        monkeypatch.setattr(sources, "ROWS_A_GROUP", rows_a_group)
        monkeypatch.setattr(split_writer, "ROWS_A_GROUP", rows_a_group)
        write_audio(folder / "a.wav", make_melody(num_samples), 4 * RATE)
        source = StemSource(folder / "a.wav", num_samples, "0" * 32, "a", "train", end_heldout=end_heldout)
        fmt = ShardFormat("drums", RATE, Quantizer("mu-law", 256), length, 0.25, 1, ["energy"])
        manifest = write_shards([source], folder, fmt)
        rows = pd.concat([read_shards(folder, split) for split in ("train", "heldout")])
    assert rows["num_samples"].sum() == manifest.tracks[0].num_samples == manifest.tracks[0].total_samples
    assert abs(manifest.tracks[0].total_samples - num_samples / 4) < 1
    assert rows["energy"].map(len).tolist() == rows["num_samples"].tolist()


def test_a_rows_level_and_clipped_share_are_of_its_samples(write):
    waveform = np.concatenate([make_noise(0.25, level=0.01), np.zeros(SEGMENT), np.ones(SEGMENT)])
    waveform[-1] = 0.5
    rows = read_shards(write((waveform.astype(np.float32), "train"))[0], "train")
    first = level_db(float(np.square(waveform[:SEGMENT]).mean()))
    last = level_db(float(np.square(waveform[-SEGMENT:]).mean()))
    assert rows["level_db"].tolist() == pytest.approx([first, -120, last], abs=1e-4)
    assert rows["clipped_share"].tolist() == pytest.approx([0, 0, 1 - 1 / SEGMENT])
    assert set(join_codes(rows.iloc[1:2])) == {Quantizer("mu-law", 256).silence_code}


@pytest.mark.parametrize("setting", [("mu-law", 64), ("mu-law", 256), ("linear", 256)])
def test_the_manifest_says_how_good_it_can_sound(write, setting):
    noise, (law, levels) = make_noise(1.3), setting
    _, manifest = write((noise, "train"), levels=levels, law=law)
    expected = Quantizer(law, levels).signal_to_noise_db(noise)
    assert manifest.quantization_snr_db == pytest.approx(expected, abs=0.01)


def test_silence_has_no_quantization_noise_to_state(write):
    assert write((np.zeros(SEGMENT, np.float32), "train"))[1].quantization_snr_db is None


@pytest.mark.parametrize("dither", [False, True])
def test_the_noise_is_that_of_what_is_kept(write, dither):
    """Dither would hiss through the silence between; that is in no row."""
    parts = [make_noise(0.5, 0), np.zeros(10 * RATE, np.float32), make_noise(0.5, 1)]
    kept = {"kept": [(0.0, 0.5), (10.5, 11.0)]}
    _, manifest = write((np.concatenate(parts), "train", kept), law="linear", dither=dither)
    _, sound = write((np.concatenate(parts[::2]), "train"), law="linear", dither=dither)
    assert manifest.quantization_snr_db == pytest.approx(sound.quantization_snr_db, abs=0.5)


@pytest.mark.parametrize("audio_rate", [RATE, 8000])
def test_noise_can_be_measured_without_writing(tmp_path, audio_rate):
    """Exactly as a set would state it, dither included."""
    sources = []
    for number, kept in enumerate([None, [(0.0, 0.5), (1.0, 1.35)]]):
        path, waveform = tmp_path / f"{number}.wav", make_noise(1.35, number, rate=audio_rate)
        write_audio(path, np.stack([waveform, 0.1 * waveform], axis=1), audio_rate)
        sources.append(
            StemSource(path, len(waveform), f"{number:032x}", "a", "train", kept=kept, gain=0.7 + number)
        )
    fmt = ShardFormat("drums", RATE, Quantizer("linear", 64, dither=True), SEGMENT, 0.25, 20, downmix="left")
    (tmp_path / "set").mkdir()
    manifest = write_shards(sources, tmp_path / "set", fmt)
    assert round(measure_noise(sources, fmt).signal_to_noise_db, 2) == manifest.quantization_snr_db


@pytest.mark.parametrize(("downmix", "share"), [("mean", 0.75), ("left", 1.0), ("right", 0.5)])
def test_wide_working_audio_is_mixed_down_as_configured(tmp_path, downmix, share):
    left = make_noise(1)
    write_audio(tmp_path / "a.wav", np.stack([left, 0.5 * left], axis=1), RATE)
    source = StemSource(tmp_path / "a.wav", len(left), "0" * 32, "song", "train")
    fmt = ShardFormat("drums", RATE, Quantizer("mu-law", 256), SEGMENT, 0.25, 20, downmix=downmix)
    (tmp_path / "set").mkdir()
    write_shards([source], tmp_path / "set", fmt)
    codes = join_codes(read_shards(tmp_path / "set", "train"))
    assert np.array_equal(codes, encode_mu_law(np.float32(share) * left))


# the manifest


def test_the_manifest_counts_what_is_there(band):
    folder, manifest = band
    assert manifest == read_manifest(folder)
    assert (manifest.stem, manifest.sample_rate, manifest.segment_length) == ("drums", RATE, SEGMENT)
    assert (manifest.quantization_channels, manifest.law, manifest.features) == (256, "mu-law", [])
    assert (manifest.num_segments("train"), manifest.num_samples("train")) == (13, 6200)
    assert (manifest.num_segments("heldout"), manifest.num_samples("heldout")) == (4, 2000)
    for file in manifest.files:
        rows = pd.read_parquet(folder / file.name)
        assert (len(rows), rows["num_samples"].sum()) == (file.num_segments, file.num_samples)
        assert (folder / file.name).stat().st_size == file.num_bytes
        assert digest_file(folder / file.name) == file.digest
    assert [(t.track, t.split, t.num_samples, t.total_samples) for t in manifest.tracks] == [
        ("song 0", "train", 4000, 4000),
        ("song 1", "heldout", 2000, 2000),
        ("song 2", "train", 2200, 2200),
    ]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["manifest.json", "README.md", *(file.name for file in manifest.files)]
    )


def test_the_same_audio_gives_the_same_bytes(write):
    tracks = [(make_noise(3, 0), "train"), (make_noise(1, 1), "heldout")]
    (one, first), (two, second) = write(*tracks, features=["energy"]), write(*tracks, features=["energy"])
    assert first == second
    for path in one.iterdir():
        assert path.read_bytes() == (two / path.name).read_bytes()


def test_other_audio_or_another_format_has_another_digest(write):
    noise = make_noise(1)
    sets = [
        write((noise, "train")),
        write((noise * np.float32(1.5), "train")),
        write((noise, "heldout")),
        write((noise, "test")),
        write((noise, "train", {"end_heldout": True})),
        write((noise, "train", {"licence": "CC0"})),
        write((noise, "train", {"labels": {"genre": "dub"}})),
        write((noise, "train", {"kept": [(0.0, 0.5)]})),
        write((noise, "train"), levels=64),
        write((noise, "train"), law="linear"),
        write((noise, "train"), dither=True),
        write((noise, "train"), segment_length=400),
        write((noise, "train"), stem="bass"),
        write((noise, "train"), features=["energy"]),
    ]
    assert len({manifest.digest for _, manifest in sets}) == len(sets)


def test_working_audio_that_is_gone_leaves_no_manifest(tmp_path):
    source = StemSource(tmp_path / "gone.wav", 100, "0" * 32, "song", "train")
    with pytest.raises(AudioDecodeError, match=r"gone\.wav"):
        write_shards([source], tmp_path, ShardFormat("drums", RATE, Quantizer("mu-law", 256), 500, 0.1, 20))
    assert not (tmp_path / "manifest.json").exists()


def test_labels_are_columns_and_a_missing_one_is_null(write):
    folder, manifest = write(
        (make_noise(0.5), "train", {"labels": {"Genre": "dub", "artist": "A|B"}}),
        (make_noise(0.25, 1), "train", {"labels": {"Genre": "ska"}}),
        (make_noise(0.25, 2), "train"),
    )
    rows = pq.read_table(folder / "train-00000.parquet")
    assert rows["label_genre"].to_pylist() == ["dub", "dub", "ska", None]
    assert rows["label_artist"].to_pylist() == ["A|B", "A|B", None, None]
    assert manifest.labels == {"Genre": ["dub", "ska"], "artist": ["A|B"]}


def test_labels_that_differ_in_case_alone_have_columns_of_their_own(write):
    folder, _ = write((make_noise(0.25), "train", {"labels": {"Genre": "dub", "genre": "ska"}}))
    rows = read_shards(folder, "train")
    assert (rows["label_genre"][0], rows["label_genre_2"][0]) == ("dub", "ska")


def test_a_tracks_licence_is_in_the_manifest(write):
    _, manifest = write((make_noise(0.3), "train", {"licence": "CC BY 4.0"}), (make_noise(0.3, 1), "heldout"))
    assert [track.licence for track in manifest.tracks] == ["CC BY 4.0", "not stated"]


# the grid


def test_segments_lie_on_one_grid_and_only_a_tracks_last_is_shorter(band):
    folder, _ = band
    rows = pd.concat([read_shards(folder, split) for split in ("train", "heldout")])
    for _, track in rows.groupby("track_id"):
        assert track["start_sample"].tolist() == [SEGMENT * i for i in range(len(track))]
        assert set(track["num_samples"].iloc[:-1]) <= {SEGMENT}
        assert 0 < track["num_samples"].iloc[-1] <= SEGMENT
    assert rows[rows["track"] == "song 2"]["num_samples"].tolist() == [500, 500, 500, 500, 200]


def test_the_grid_is_shared_by_the_stems_of_a_track(write):
    drums, _ = write((make_noise(2.1), "train"), stem="drums")
    bass, _ = write((make_noise(1.6, 1), "train", {"kept": [(0.5, 1.25)]}), stem="bass")
    one, other = (read_shards(folder, "train") for folder in (drums, bass))
    both = one.merge(other, on=["track_id", "start_sample"])
    assert both["start_sample"].tolist() == [1000, 1500, 2000]
    assert set(both["stem_x"] + both["stem_y"]) == {"drumsbass"}


def test_rows_are_in_the_order_of_tracks_and_time(band):
    rows = read_shards(band[0], "train")
    assert rows["track_id"].is_monotonic_increasing
    assert all(track["start_sample"].is_monotonic_increasing for _, track in rows.groupby("track_id"))


@pytest.mark.parametrize("rows_a_group", [1, 3, 256])
def test_silent_segments_are_left_out_and_the_others_keep_their_place(write, monkeypatch, rows_a_group):
    monkeypatch.setattr(sources, "ROWS_A_GROUP", rows_a_group)
    monkeypatch.setattr(split_writer, "ROWS_A_GROUP", rows_a_group)
    noise = make_noise(2.6)  # segments of 0.25 s
    folder, manifest = write((noise, "train", {"kept": [(0.25, 0.75), (1.5, 1.75), (2.5, 2.6)]}))
    rows = read_shards(folder, "train")
    assert rows["start_sample"].tolist() == [500, 1000, 3000, 5000]
    assert rows["num_samples"].tolist() == [500, 500, 500, 200]
    whole = encode_mu_law(noise)
    for start, codes in zip(rows["start_sample"], rows["codes"], strict=True):
        assert np.array_equal(codes_of(codes, 256), whole[start : start + 500])
    (track,) = manifest.tracks
    assert (track.num_samples, track.total_samples) == (1700, 5200) == (rows["num_samples"].sum(), len(noise))


def test_a_track_that_is_kept_nowhere_has_no_rows(write):
    folder, manifest = write((make_noise(1), "train", {"kept": []}), (make_noise(1, 1), "heldout"))
    assert read_shards(folder, "train").empty
    assert [track.num_samples for track in manifest.tracks] == [0, 2000]


def test_runs_end_where_silence_was_cut(write):
    noise = make_noise(3)
    folder, _ = write((noise, "train", {"kept": [(0.0, 0.5), (1.0, 1.75), (2.5, 3.0)]}))
    runs = load_runs(folder, "train")
    assert [(run.start_sample, len(run.codes)) for run in runs] == [(0, 1000), (2000, 1500), (5000, 1000)]
    whole = encode_mu_law(noise)
    for run in runs:
        assert np.array_equal(run.codes, whole[run.start_sample : run.start_sample + len(run.codes)])


def test_no_place_has_a_cut_in_its_context(write):
    noise = make_noise(4)
    folder, _ = write((noise, "heldout", {"kept": [(0.0, 0.75), (1.0, 1.5), (2.0, 3.25), (3.5, 4.0)]}))
    place = choose_places({"drums": folder}, 1200, 400)["drums"]
    assert place.start_sample == 5500  # from 4000 on: the only run of which three segments are heard before
    context, following = context_and_continuation(folder, place, 1200, 400)
    whole = encode_mu_law(noise)
    assert np.array_equal(np.concatenate([context, following]), whole[4300:5900])
    assert choose_places({"drums": folder}, 2500, 400) == {"drums": None}


def test_a_track_whose_end_is_held_out(write):
    folder, manifest = write((make_noise(2), "train", {"end_heldout": True}))
    assert read_shards(folder, "train")["start_sample"].tolist() == [0, 500, 1000, 1500, 2000, 2500]
    assert read_shards(folder, "heldout")["start_sample"].tolist() == [3000, 3500]
    assert set(read_shards(folder, "heldout")["split"]) == {"heldout"}
    assert (manifest.tracks[0].split, manifest.tracks[0].end_heldout) == ("train", True)


def test_the_end_that_is_held_out_is_of_what_sounds(write):
    """A song that fades into a minute of silence has music to measure on all the same."""
    folder, _ = write((make_noise(4), "train", {"end_heldout": True, "kept": [(0.5, 1.5)]}))
    assert read_shards(folder, "train")["start_sample"].tolist() == [1000, 1500, 2000]
    assert read_shards(folder, "heldout")["start_sample"].tolist() == [2500]


def test_a_track_set_apart_for_tests_is_in_files_of_its_own(write):
    folder, manifest = write(
        *((make_noise(1, n), split) for n, split in enumerate(["test", "train", "heldout"]))
    )
    assert [file.name for file in manifest.files] == [
        "train-00000.parquet",
        "heldout-00000.parquet",
        "test-00000.parquet",
    ]
    rows = read_shards(folder, "test")
    assert (set(rows["track"]), set(rows["split"])) == ({"song 0"}, {"test"})
    assert manifest.num_samples("test") == 2000


# files


def test_pandas_alone_reads_a_set(band):
    rows = pd.concat(pd.read_parquet(path) for path in sorted(band[0].glob("train-*.parquet")))
    assert list(rows.columns) == make_schema([], []).names
    assert set(rows["split"]) == {"train"}
    codes = np.frombuffer(rows["codes"].iloc[0], np.uint8)
    assert len(codes) == rows["num_samples"].iloc[0]


def test_pyarrow_reads_a_set_as_one_dataset(band):
    dataset = pyarrow.dataset.dataset([str(path) for path in sorted(band[0].glob("*.parquet"))])
    assert dataset.schema.equals(make_schema([], []))
    assert dataset.count_rows() == 17
    heldout = dataset.to_table(filter=pyarrow.dataset.field("split") == "heldout")
    assert set(heldout["track"].to_pylist()) == {"song 1"}


def test_a_full_file_is_followed_by_another(write, monkeypatch):
    monkeypatch.setattr(split_writer, "SHARD_BYTES", 3 * SEGMENT)
    monkeypatch.setattr(sources, "ROWS_A_GROUP", 1)
    monkeypatch.setattr(split_writer, "ROWS_A_GROUP", 1)
    noise = make_noise(2.1)
    folder, manifest = write((noise, "train"), (make_noise(0.5, 1), "heldout"))
    assert [(file.name, file.num_segments) for file in manifest.files] == [
        ("train-00000.parquet", 3),
        ("train-00001.parquet", 3),
        ("train-00002.parquet", 3),
        ("heldout-00000.parquet", 2),
    ]
    assert np.array_equal(join_codes(read_shards(folder, "train")), encode_mu_law(noise))


def test_a_file_may_be_full_exactly_at_the_end(write, monkeypatch):
    monkeypatch.setattr(split_writer, "SHARD_BYTES", 2 * SEGMENT)
    monkeypatch.setattr(sources, "ROWS_A_GROUP", 1)
    monkeypatch.setattr(split_writer, "ROWS_A_GROUP", 1)
    folder, manifest = write((make_noise(1), "train"))
    assert [file.num_segments for file in manifest.files] == [2, 2]
    assert len(list(folder.glob("*.parquet"))) == 2


def test_many_segments_fill_more_than_one_row_group(write):
    folder, manifest = write((make_noise(3), "train"), segment_length=20)
    assert manifest.num_segments("train") == 300
    assert pq.ParquetFile(folder / "train-00000.parquet").num_row_groups > 1
    assert len(read_shards(folder, "train")) == 300


def test_256_levels_take_little_more_than_a_byte_a_sample(write):
    noise = np.random.default_rng(0).normal(0, 0.1, 60 * 16000).astype(np.float32)
    _, manifest = write((noise, "train"), sample_rate=16000, segment_length=16000)
    (file,) = manifest.files
    assert file.num_bytes <= 1.05 * file.num_samples


def test_so_do_many_short_tracks(write):
    """Spoken digits of 0.4 s: their rows share row groups, else these would be half of the file."""
    generator = np.random.default_rng(0)
    digits = [(generator.normal(0, 0.1, 3200).astype(np.float32), "train") for _ in range(200)]
    folder, manifest = write(*digits, sample_rate=8000, segment_length=2000)
    (file,) = manifest.files
    assert file.num_bytes <= 1.05 * file.num_samples
    assert read_shards(folder, "train")["track_id"].nunique() == 200


# features


def frames_of(rows, name):
    """The frames of consecutive rows joined, (frames, dims)."""
    if name == "notes":
        return np.frombuffer(b"".join(rows["notes"]), np.uint8).reshape(-1, 256)
    return np.concatenate(rows[name].to_list()).reshape(-1, DIMS[name])


def extract_all(waveform, others, hop_length):
    """Features of a whole track at once."""
    heard = list(extract_features([waveform], RATE, hop_length, HEARD))
    frames = {name: np.concatenate([chunk[name] for chunk in heard]) for name in HEARD}
    frames["context"] = np.concatenate(list(extract_context([others], RATE, hop_length)))
    return frames


NOTES = [Note(60, 0.1, 0.3, 90, 0, 0), Note(64, 0.26, 0.02, 20, 0, 0), Note(36, 1.0, 0.0, 127, 9, 0)]


@pytest.mark.parametrize("rows_a_group", [1, 2, 3, 256])
def test_features_are_those_of_the_whole_track_row_by_row(write, tmp_path, monkeypatch, rows_a_group):
    """Frames of 25 samples, segments of 500, the last of 237: it has 10 frames, the others 20."""
    monkeypatch.setattr(sources, "ROWS_A_GROUP", rows_a_group)
    monkeypatch.setattr(split_writer, "ROWS_A_GROUP", rows_a_group)
    waveform, bass, harp = make_melody(5237), make_melody(5100, 1), make_melody(6000, 2)
    for name, other in (("bass", bass), ("harp", harp)):
        write_audio(tmp_path / f"{name}.wav", other, RATE)
    known = {"others": [tmp_path / "bass.wav", tmp_path / "harp.wav"], "notes": NOTES}
    folder, manifest = write((waveform, "train", known), hop_length=25, features=[*HEARD, "context", "notes"])
    rows = read_shards(folder, "train")
    total = harp.copy()
    total[: len(bass)] += bass
    expected = extract_all(waveform, total[: len(waveform) + SEGMENT], 25)
    expected["notes"] = notes_roll(NOTES, 25, RATE, 0, 210)
    assert [(feature.name, feature.dims) for feature in manifest.features] == [
        (name, DIMS[name]) for name in [*HEARD, "context", "notes"]
    ]
    for name, frames in expected.items():
        assert rows[name].map(len).tolist() == [20 * DIMS[name]] * 10 + [10 * DIMS[name]]
        assert np.array_equal(frames_of(rows, name), frames[:210]), name
    assert len(np.unique(expected["f0"])) > 20


def test_features_of_what_is_kept_are_of_its_place(write):
    waveform = make_melody(5237)
    folder, _ = write(
        (waveform, "train", {"kept": [(0.5, 1.0), (2.5, 5237 / RATE)]}), hop_length=25, features=HEARD
    )
    rows = read_shards(folder, "train")
    assert rows["start_sample"].tolist() == [1000, 1500, 5000]
    expected = extract_all(waveform, waveform, 25)
    places = np.r_[40:80, 200:210]
    for name in HEARD:
        assert np.array_equal(frames_of(rows, name), expected[name][places])


def test_features_are_of_the_audio_that_is_trained_on(write):
    """At its rate, with its gain."""
    stereo = np.stack([make_melody(22050), make_melody(22050, 1)], axis=1)
    folder, _ = write(
        (stereo, "train", {"gain": 0.25}),
        audio_rate=8 * RATE,
        hop_length=25,
        levels=65536,
        features=["energy"],
    )
    rows = read_shards(folder, "train")
    waveform = decode_mu_law(join_codes(rows, 65536), 65536)
    (expected,) = [chunk["energy"] for chunk in extract_features([waveform[:500]], RATE, 25, ["energy"])]
    assert frames_of(rows, "energy")[:20] == pytest.approx(expected, abs=0.05)


def test_the_context_has_the_gain_of_the_track(write, tmp_path):
    bass = make_melody(2000, 1)
    write_audio(tmp_path / "bass.wav", bass, RATE)
    known = {"others": [tmp_path / "bass.wav"], "gain": 0.5}
    folder, _ = write((make_melody(2000), "train", known), features=["context"])
    expected = np.concatenate(list(extract_context([np.float32(0.5) * bass], RATE, 20)))
    found = frames_of(read_shards(folder, "train"), "context")
    assert found[:90, 0] == pytest.approx(expected[:90, 0], abs=1e-3)


def test_the_context_of_a_track_with_one_stem_is_silence(write):
    folder, _ = write((make_melody(1100), "train"), features=["context"])
    context = frames_of(read_shards(folder, "train"), "context")
    assert context.shape == (55, 14)
    assert np.array_equal(context, np.tile([-120] + [0] * 13, (55, 1)))


def test_notes_lie_beside_their_segment(write):
    folder, _ = write((make_melody(2100), "train", {"notes": NOTES}), features=["notes"])
    rows = read_shards(folder, "train")
    found = [[tuple(event.values()) for event in row] for row in rows["note_events"]]
    assert [len(row) for row in found] == [1, 1, 0, 0, 1]
    assert found[0][0] == pytest.approx((60, 0.1, 0.3, 90))
    assert found[1][0] == pytest.approx((64, 0.01, 0.02, 20), abs=1e-6)
    assert found[4][0] == pytest.approx((36, 0.0, 0.0, 127), abs=1e-6)
    roll = frames_of(rows, "notes")
    assert np.array_equal(np.flatnonzero(roll[:, 60]), np.arange(10, 40))  # 0.1 to 0.4 s, frames of 0.01 s
    assert np.array_equal(np.flatnonzero(roll[:, 128 + 60]), [10])


def test_a_track_without_a_score_has_empty_notes(write):
    folder, _ = write(
        (make_melody(1100), "train"), (make_melody(600, 1), "train", {"notes": NOTES}), features=["notes"]
    )
    rows = read_shards(folder, "train")
    without = rows[rows["track"] == "song 0"]
    assert [len(row) for row in without["note_events"]] == [0, 0, 0]
    assert not frames_of(without, "notes").any()
    assert [len(row) for row in rows[rows["track"] == "song 1"]["note_events"]] == [1, 1]


def test_a_segment_that_ends_amid_a_frame_is_refused():
    with pytest.raises(
        ValueError, match=r"segment_length: found 510, expected a multiple of hop_length \(20\)"
    ):
        ShardFormat("drums", RATE, Quantizer("mu-law", 256), 510, 0.1, 20, ["energy"])


# memory

MEASURE = """
import sys
from pathlib import Path
from wavenet.audio.quantization import Quantizer
from wavenet.data.shards.sources import ShardFormat, StemSource
from wavenet.data.shards.writer import write_shards

folder = Path(sys.argv[1])
fmt = ShardFormat("drums", 1000, Quantizer("mu-law", 256), 1000, 0.1, 100, ["energy"])
for name, seconds in (("short", 900), ("long", 24 * 3600)):
    (folder / name).mkdir()
    source = StemSource(folder / f"{name}.wav", 1000 * seconds, "0" * 32, name, "train", True)
    assert write_shards([source], folder / name, fmt).tracks[0].num_samples == 1000 * seconds
    status = Path("/proc/self/status").read_text()
    print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory where Linux tells it")
def test_memory_does_not_grow_with_the_length_of_a_track(tmp_path):
    """A day against a quarter of an hour: as codes 85 MB more, as samples 340 MB."""
    for name, seconds in (("short", 900), ("long", 24 * 3600)):
        pcm = np.random.default_rng(0).integers(-9000, 9000, 1000 * seconds, np.int16)
        soundfile.write(tmp_path / f"{name}.wav", pcm, 1000)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, check=True
    )
    short, long = (int(line) / 1024 for line in done.stdout.split())
    assert long - short < 40


def test_long_segments_make_small_groups():
    """A minute at 192 kHz: 256 of them at once would be 12 GB."""
    quantizer = Quantizer("mu-law", 256)
    assert ShardFormat("drums", 192000, quantizer, 60 * 192000, 0.1, 192).rows_a_group == 1
    assert ShardFormat("drums", 16000, quantizer, 16000, 0.1, 160).rows_a_group == 256
