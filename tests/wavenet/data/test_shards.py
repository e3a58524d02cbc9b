"""Shards: codes in, the same codes out, and a manifest that is true."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavenet.audio.io import level_db, write_audio
from wavenet.audio.mulaw import code_dtype, decode_mu_law, signal_to_quantization_noise, silence_code
from wavenet.data import shards
from wavenet.data.shards import (
    SCHEMA,
    ShardFormat,
    StemSource,
    codes_of,
    read_manifest,
    read_shards,
    write_shards,
)
from wavenet.errors import AudioDecodeError, ShardFormatError
from wavenet.files import digest_file

RATE = 2000
SEGMENT = 500


def make_noise(seconds, seed=0, level=0.1):
    return np.random.default_rng(seed).normal(0, level, round(seconds * RATE)).astype(np.float32)


def write_source(folder, number, waveform, split="train", sample_rate=RATE):
    folder.mkdir(exist_ok=True)
    write_audio(folder / f"{number}.wav", waveform, sample_rate)
    return StemSource(folder / f"{number}.wav", f"{number:032x}", f"song {number}", split)


def make_format(levels=256, segment_length=SEGMENT, stem="drums", sample_rate=RATE):
    return ShardFormat(stem, sample_rate, levels, segment_length, 0.25)


def join_codes(rows, levels=256):
    return np.concatenate([codes_of(row, levels) for row in rows["codes"]])


@pytest.fixture
def write(tmp_path):
    """Write waveforms, each with its split, as a shard set; gives its folder and manifest."""
    count = iter(range(100))

    def write(*waveforms, sample_rate=RATE, **options):
        number = next(count)
        sources = [
            write_source(tmp_path / f"audio {number}", i, waveform, split, sample_rate)
            for i, (waveform, split) in enumerate(waveforms)
        ]
        (tmp_path / f"shards {number}").mkdir()
        manifest = write_shards(sources, tmp_path / f"shards {number}", make_format(**options))
        return tmp_path / f"shards {number}", manifest

    return write


@pytest.fixture
def band(write):
    """Three tracks: 2 s and 1.1 s to train on, 1 s held out."""
    return write((make_noise(2, 0), "train"), (make_noise(1, 1), "heldout"), (make_noise(1.1, 2), "train"))


@settings(max_examples=25)
@given(
    st.sampled_from([64, 256, 1024, 65536]),
    st.integers(1, 1700),
    st.integers(1, 600),
    st.integers(0, 2**32 - 1),
)
def test_codes_come_back_from_parquet(levels, num_samples, segment_length, seed):
    codes = np.random.default_rng(seed).integers(levels, size=num_samples)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = write_source(folder / "audio", 0, decode_mu_law(codes, levels))
        manifest = write_shards([source], folder, make_format(levels, segment_length))
        rows = read_shards(folder, "train")
    assert np.array_equal(join_codes(rows, levels), codes)
    assert rows["num_samples"].sum() == manifest.num_samples("train") == num_samples
    assert {len(row) for row in rows["codes"]} <= {
        n * code_dtype(levels).itemsize for n in (segment_length, num_samples % segment_length)
    }


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
    assert [(t.track, t.split, t.num_samples) for t in manifest.tracks] == [
        ("song 0", "train", 4000),
        ("song 1", "heldout", 2000),
        ("song 2", "train", 2200),
    ]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["manifest.json", *(file.name for file in manifest.files)]
    )


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
    bass, _ = write((make_noise(1.6, 1), "train"), stem="bass")
    one, other = (read_shards(folder, "train") for folder in (drums, bass))
    both = one.merge(other, on=["track_id", "start_sample"])
    assert len(both) == len(other)
    assert set(both["stem_x"] + both["stem_y"]) == {"drumsbass"}


def test_rows_are_in_the_order_of_tracks_and_time(band):
    rows = read_shards(band[0], "train")
    assert rows["track_id"].is_monotonic_increasing
    assert all(track["start_sample"].is_monotonic_increasing for _, track in rows.groupby("track_id"))


def test_pandas_alone_reads_a_set(band):
    rows = pd.concat(pd.read_parquet(path) for path in sorted(band[0].glob("train-*.parquet")))
    assert list(rows.columns) == SCHEMA.names
    assert set(rows["split"]) == {"train"}
    codes = np.frombuffer(rows["codes"].iloc[0], np.uint8)
    assert len(codes) == rows["num_samples"].iloc[0]


def test_pyarrow_reads_a_set_as_one_dataset(band):
    dataset = pyarrow.dataset.dataset([str(path) for path in sorted(band[0].glob("*.parquet"))])
    assert dataset.schema.equals(SCHEMA)
    assert dataset.count_rows() == 17
    heldout = dataset.to_table(filter=pyarrow.dataset.field("split") == "heldout")
    assert set(heldout["track"].to_pylist()) == {"song 1"}


@pytest.mark.parametrize("levels", [256, 1024])
def test_codes_are_stored_little_endian_in_the_smallest_type(write, levels):
    folder, _ = write((np.full(SEGMENT, 1, np.float32), "train"), levels=levels)
    (row,) = read_shards(folder, "train")["codes"]
    assert row == (levels - 1).to_bytes(code_dtype(levels).itemsize, "little") * SEGMENT


def test_a_column_may_be_read_alone(band):
    rows = read_shards(band[0], "train", ["start_sample", "track"])
    assert sorted(rows.columns) == ["start_sample", "track"]


def test_the_same_audio_gives_the_same_bytes(write):
    tracks = [(make_noise(3, 0), "train"), (make_noise(1, 1), "heldout")]
    (one, first), (two, second) = write(*tracks), write(*tracks)
    assert first == second
    assert [digest_file(one / file.name) for file in first.files] == [
        digest_file(two / file.name) for file in second.files
    ]


def test_other_audio_or_another_format_has_another_digest(write):
    noise = make_noise(1)
    sets = [
        write((noise, "train")),
        write((noise * np.float32(1.5), "train")),
        write((noise, "heldout")),
        write((noise, None)),
        write((noise, "train"), levels=64),
        write((noise, "train"), segment_length=400),
        write((noise, "train"), stem="bass"),
    ]
    assert len({manifest.digest for _, manifest in sets}) == len(sets)


def test_a_full_file_is_followed_by_another(write, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 3 * SEGMENT)
    noise = make_noise(2.1)
    folder, manifest = write((noise, "train"), (make_noise(0.5, 1), "heldout"))
    assert [(file.name, file.num_segments) for file in manifest.files] == [
        ("train-00000.parquet", 3),
        ("train-00001.parquet", 3),
        ("train-00002.parquet", 3),
        ("heldout-00000.parquet", 2),
    ]
    whole, _ = write((noise, "train"))
    assert np.array_equal(join_codes(read_shards(folder, "train")), join_codes(read_shards(whole, "train")))


def test_a_file_may_be_full_exactly_at_the_end(write, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 2 * SEGMENT)
    folder, manifest = write((make_noise(1), "train"))
    assert [file.num_segments for file in manifest.files] == [2, 2]
    assert len(list(folder.glob("*.parquet"))) == 2


def test_many_segments_fill_more_than_one_row_group(write):
    folder, manifest = write((make_noise(2), "train"), segment_length=20)
    assert manifest.num_segments("train") == 200
    assert pq.ParquetFile(folder / "train-00000.parquet").num_row_groups > 1
    assert len(read_shards(folder, "train")) == 200


def test_256_levels_take_little_more_than_a_byte_a_sample(write):
    noise = np.random.default_rng(0).normal(0, 0.1, 60 * 16000).astype(np.float32)
    _, manifest = write((noise, "train"), sample_rate=16000, segment_length=16000)
    (file,) = manifest.files
    assert file.num_bytes <= 1.05 * file.num_samples


def test_a_rows_level_and_clipped_share_are_of_its_samples(write):
    waveform = np.concatenate([make_noise(0.25, level=0.01), np.zeros(SEGMENT), np.ones(SEGMENT)])
    waveform[-1] = 0.5
    rows = read_shards(write((waveform.astype(np.float32), "train"))[0], "train")
    first = level_db(float(np.square(waveform[:SEGMENT]).mean()))
    last = level_db(float(np.square(waveform[-SEGMENT:]).mean()))
    assert rows["level_db"].tolist() == pytest.approx([first, -120, last], abs=1e-4)
    assert rows["clipped_share"].tolist() == pytest.approx([0, 0, 1 - 1 / SEGMENT])
    assert set(join_codes(rows.iloc[1:2])) == {silence_code(256)}


@pytest.mark.parametrize("levels", [64, 256])
def test_the_manifest_says_how_good_it_can_sound(write, levels):
    noise = make_noise(1.3)
    _, manifest = write((noise, "train"), levels=levels)
    assert manifest.quantization_snr_db == pytest.approx(
        signal_to_quantization_noise(noise, levels), abs=0.01
    )


def test_silence_has_no_quantization_noise_to_state(write):
    assert write((np.zeros(SEGMENT, np.float32), "train"))[1].quantization_snr_db is None


def test_wider_and_faster_working_audio_is_brought_to_mono_at_the_models_rate(write):
    time = np.arange(3 * 4 * RATE) / (4 * RATE)
    left = 0.5 * np.sin(2 * np.pi * 100 * time)
    stereo = np.stack([left, 0.5 * left], axis=1).astype(np.float32)
    folder, manifest = write((stereo, "train"), sample_rate=4 * RATE)
    assert manifest.num_samples("train") == pytest.approx(3 * RATE, abs=1)
    assert read_shards(folder, "train")["level_db"][5] == pytest.approx(
        level_db(0.5 * (0.5 * 0.75) ** 2), abs=0.1
    )


def test_a_track_that_cannot_be_split_by_track_holds_out_its_end(write):
    folder, manifest = write((make_noise(2), None))
    assert read_shards(folder, "train")["start_sample"].tolist() == [0, 500, 1000, 1500, 2000, 2500]
    assert read_shards(folder, "heldout")["start_sample"].tolist() == [3000, 3500]
    assert manifest.tracks[0].split is None


def test_a_split_of_nothing_is_read_as_no_rows(write):
    folder, manifest = write((make_noise(1), "train"))
    assert len(read_shards(folder, "heldout")) == 0
    assert list(read_shards(folder, "heldout", ["codes"]).columns) == ["codes"]
    assert manifest.num_samples("heldout") == 0


def test_working_audio_that_is_gone_leaves_no_manifest(tmp_path):
    source = StemSource(tmp_path / "gone.wav", "0" * 32, "song", "train")
    with pytest.raises(AudioDecodeError, match=r"gone\.wav"):
        write_shards([source], tmp_path, make_format())
    assert not (tmp_path / "manifest.json").exists()


@pytest.mark.parametrize("read", [read_manifest, lambda folder: read_shards(folder, "train")])
def test_a_folder_without_a_manifest_is_no_shard_set(band, read, tmp_path):
    (band[0] / "manifest.json").unlink()
    for folder in (band[0], tmp_path / "nowhere", band[0] / "train-00000.parquet"):
        with pytest.raises(ShardFormatError, match=r"no manifest\.json.*prepare it again"):
            read(folder)


def change_manifest(folder, **values):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize(
    "values", [{"version": 2}, {"format": "tar"}, {"law": "a-law"}, {"new": 1}, {"stem": 5}]
)
def test_a_manifest_of_another_kind_is_refused(band, values):
    change_manifest(band[0], **values)
    with pytest.raises(ShardFormatError, match=r"manifest\.json: not a manifest this version can read"):
        read_manifest(band[0])


@pytest.mark.parametrize("text", ["", "{", "[]", "\udcff"])
def test_a_broken_manifest_is_refused(band, text):
    (band[0] / "manifest.json").write_text(text, errors="surrogateescape")
    with pytest.raises(ShardFormatError, match=r"manifest\.json: not a manifest"):
        read_manifest(band[0])


def test_a_wrong_number_of_rows_is_told(band):
    folder, _ = band
    table = pq.read_table(folder / "train-00000.parquet")
    pq.write_table(table.slice(0, 5), folder / "train-00000.parquet")
    with pytest.raises(ShardFormatError, match=r"train-00000\.parquet: found 5 rows, the manifest says 13"):
        read_shards(folder, "train")
    assert len(read_shards(folder, "heldout")) == 4


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_truncated_file_is_told(band, share):
    path = band[0] / "train-00000.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(
        ShardFormatError, match=r"train-00000\.parquet: cannot be read .*prepare the shards again"
    ):
        read_shards(band[0], "train")


def test_a_missing_file_is_told(band):
    (band[0] / "heldout-00000.parquet").unlink()
    with pytest.raises(ShardFormatError, match=r"heldout-00000\.parquet: cannot be read"):
        read_shards(band[0], "heldout")
