"""What is read is what the manifest states, or an error says what was found."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wavenet.audio.mulaw import encode_mu_law
from wavenet.data.dataset import load_runs
from wavenet.data.shards import sources, split_writer
from wavenet.data.shards.format import codes_of, make_schema, read_manifest
from wavenet.data.shards.reader import read_codes, read_shards
from wavenet.errors import ShardFormatError
from wavenet.files import write_json

RATE, SEGMENT = 2000, 500
TRAIN = "train-00000.parquet"
READERS = [read_shards, read_codes, load_runs]


def make_noise(seconds, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


def join_codes(rows, levels=256):
    return np.concatenate([codes_of(row, levels) for row in rows["codes"]])


def change_rows(folder, change, name=TRAIN):
    """Write a file again with other rows, the manifest as it was."""
    pq.write_table(change(pq.read_table(folder / name)), folder / name)


def change_manifest(folder, change):
    values = json.loads((folder / "manifest.json").read_text())
    change(values)
    write_json(folder / "manifest.json", values)


@pytest.fixture
def band(write):
    """Three tracks: 2 s and 1.1 s to train on, 1 s held out."""
    return write((make_noise(2, 0), "train"), (make_noise(1, 1), "heldout"), (make_noise(1.1, 2), "train"))


@pytest.mark.parametrize("levels", [64, 256, 65536])
@pytest.mark.parametrize("shard_bytes", [1, 2200, 64 << 20])
def test_codes_are_those_of_all_rows_joined(write, monkeypatch, levels, shard_bytes):
    monkeypatch.setattr(split_writer, "SHARD_BYTES", shard_bytes)
    monkeypatch.setattr(sources, "ROWS_A_GROUP", 2)
    monkeypatch.setattr(split_writer, "ROWS_A_GROUP", 2)
    noises = [make_noise(2, 0), make_noise(1.1, 1)]
    folder, manifest = write(*((noise, "train") for noise in noises), levels=levels)
    places, codes = read_codes(folder, "train")
    rows = read_shards(folder, "train")
    assert (len(manifest.files) > 1) == (shard_bytes < 10**6)
    assert np.array_equal(codes, join_codes(rows, levels))
    assert np.array_equal(codes, np.concatenate([encode_mu_law(noise, levels) for noise in noises]))
    columns = ["track_id", "track", "start_sample", "num_samples"]
    assert places.equals(rows[columns])
    assert places.index.tolist() == list(range(len(rows)))


def test_a_split_of_nothing_is_read_as_no_rows(write):
    folder, manifest = write((make_noise(1), "train"))
    assert manifest.num_samples("heldout") == 0
    assert len(read_shards(folder, "heldout")) == 0
    assert list(read_shards(folder, "heldout").columns) == make_schema([], []).names
    assert list(read_shards(folder, "heldout", ["codes"]).columns) == ["codes"]
    places, codes = read_codes(folder, "heldout")
    assert (len(places), len(codes)) == (0, 0)
    assert list(places.columns) == ["track_id", "track", "start_sample", "num_samples"]


def test_columns_are_read_in_the_order_they_are_asked_for(band):
    assert list(read_shards(band[0], "train", ["start_sample", "track"]).columns) == ["start_sample", "track"]


def test_runs_are_views_of_one_array(band):
    folder, manifest = band
    runs = load_runs(folder, "train")
    one, other = (run.codes for run in runs)
    assert one.base is other.base
    assert one.base is not None
    assert len(one.base) == manifest.num_samples("train")


@pytest.mark.parametrize("read", READERS)
def test_a_wrong_number_of_rows_is_told(band, read):
    folder, _ = band
    change_rows(folder, lambda table: table.slice(0, 5))
    with pytest.raises(ShardFormatError, match=r"train-00000\.parquet: found 5 rows, the manifest says 13"):
        read(folder, "train")
    assert len(read_shards(folder, "heldout")) == 4


@pytest.mark.parametrize("num_samples", [6199, 6201, 10**6])
@pytest.mark.parametrize("read", [read_codes, load_runs])
def test_a_wrong_number_of_samples_is_told(band, read, num_samples):
    def lie(values):
        file = next(file for file in values["files"] if file["name"] == TRAIN)
        file["num_samples"] = num_samples

    change_manifest(band[0], lie)
    with pytest.raises(ShardFormatError, match=rf"found 6200 codes .*the manifest says {num_samples}"):
        read(band[0], "train")


def test_a_row_that_states_other_samples_than_it_has_codes_is_told(band):
    """Two rows whose errors cancel out would put one track's codes under another's name."""

    def lie(table):
        lengths = table.column("num_samples").to_pylist()
        lengths[0], lengths[1] = lengths[0] + 10, lengths[1] - 10
        place = table.schema.get_field_index("num_samples")
        return table.set_column(place, "num_samples", pa.array(lengths, pa.int32()))

    change_rows(band[0], lie)
    with pytest.raises(ShardFormatError, match=r"train-00000\.parquet: found 6200 codes in rows that state"):
        read_codes(band[0], "train")


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.drop_columns(["codes"]),
        lambda table: table.set_column(
            table.schema.get_field_index("codes"), "codes", table.column("codes").cast(pa.large_binary())
        ),
    ],
    ids=["none", "another type"],
)
def test_a_file_without_the_codes_of_the_format_is_told(band, change):
    change_rows(band[0], change)
    for read in READERS:
        with pytest.raises(ShardFormatError, match=r"train-00000\.parquet: .*prepare the shards again"):
            read(band[0], "train")


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
@pytest.mark.parametrize("read", READERS)
def test_a_truncated_file_is_told(band, read, share):
    path = band[0] / TRAIN
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(
        ShardFormatError, match=r"train-00000\.parquet: cannot be read .*prepare the shards again"
    ):
        read(band[0], "train")


@pytest.mark.parametrize("read", READERS)
def test_a_missing_file_is_told(band, read):
    (band[0] / "heldout-00000.parquet").unlink()
    with pytest.raises(ShardFormatError, match=r"heldout-00000\.parquet: cannot be read"):
        read(band[0], "heldout")


@pytest.mark.parametrize("read", [lambda folder, split: read_manifest(folder), *READERS])
def test_a_folder_without_a_manifest_is_no_shard_set(band, read):
    (band[0] / "manifest.json").unlink()
    with pytest.raises(ShardFormatError, match=r"no manifest\.json.*prepare it again"):
        read(band[0], "train")
