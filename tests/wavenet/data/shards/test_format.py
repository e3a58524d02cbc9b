"""The manifest of a shard set and its columns: what is written is read, and nothing else."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavenet.audio.mulaw import code_dtype
from wavenet.data.shards.format import (
    BASE_COLUMNS,
    DIMS,
    Feature,
    Manifest,
    ShardFile,
    ShardTrack,
    codes_of,
    label_columns,
    make_schema,
    manifest_text,
    read_manifest,
)
from wavenet.errors import ShardFormatError

COUNT = st.integers(0, 2**40)
TEXT = st.text(max_size=10)
FILES = st.builds(
    ShardFile,
    name=st.sampled_from(["train-00000.parquet", "heldout-00012.parquet", "test-123456.parquet"]),
    split=st.sampled_from(["train", "heldout", "test"]),
    digest=TEXT,
    num_segments=COUNT,
    num_samples=COUNT,
    num_bytes=COUNT,
)
TRACKS = st.builds(
    ShardTrack,
    track_id=TEXT,
    track=TEXT,
    split=st.sampled_from(["train", "heldout", "test"]),
    end_heldout=st.booleans(),
    num_samples=COUNT,
    total_samples=COUNT,
    licence=TEXT,
    sources=st.lists(TEXT, max_size=2),
)
MANIFESTS = st.builds(
    Manifest,
    stem=TEXT,
    sample_rate=st.integers(1, 192000),
    quantization_channels=st.integers(16, 65536),
    law=st.sampled_from(["mu-law", "linear"]),
    dither=st.booleans(),
    segment_length=st.integers(1, 10**6),
    hop_length=st.integers(1, 10**4),
    features=st.lists(st.sampled_from([Feature(name=name, dims=dims) for name, dims in DIMS.items()])),
    labels=st.dictionaries(TEXT, st.lists(TEXT, max_size=3), max_size=3),
    quantization_snr_db=st.none() | st.floats(0.5, 200),
    files=st.lists(FILES, max_size=3),
    tracks=st.lists(TRACKS, max_size=3),
)


def plain_manifest():
    return {
        "stem": "drums",
        "sample_rate": 16000,
        "quantization_channels": 256,
        "segment_length": 4000,
        "hop_length": 160,
        "quantization_snr_db": 30.5,
        "files": [
            {
                "name": "train-00000.parquet",
                "split": "train",
                "digest": "d",
                "num_segments": 1,
                "num_samples": 10,
                "num_bytes": 100,
            }
        ],
        "tracks": [],
    }


@given(MANIFESTS)
def test_a_manifest_is_read_as_it_was_written(tmp_path_factory, manifest):
    folder = tmp_path_factory.mktemp("set")
    sealed = manifest.sealed()
    (folder / "manifest.json").write_text(manifest_text(sealed), encoding="utf-8")
    assert read_manifest(folder) == sealed
    assert read_manifest(folder).content_digest() == sealed.digest


@given(MANIFESTS, MANIFESTS)
def test_a_digest_stands_for_everything_in_a_manifest(one, other):
    assert (one.content_digest() == other.content_digest()) == (one == other)
    assert one.sealed().content_digest() == one.content_digest()


def test_a_manifest_counts_each_split():
    files = [
        {**plain_manifest()["files"][0], "split": split, "num_segments": n, "num_samples": 100 * n}
        for n, split in enumerate(["train", "train", "heldout", "test"], 1)
    ]
    manifest = Manifest.model_validate({**plain_manifest(), "files": files})
    assert [manifest.num_segments(split) for split in ("train", "heldout", "test")] == [3, 3, 4]
    assert [manifest.num_samples(split) for split in ("train", "heldout", "test")] == [300, 300, 400]


@pytest.mark.parametrize(
    "values",
    [
        {"version": 2},
        {"format": "tar"},
        {"law": "a-law"},
        {"new": 1},
        {"stem": 5},
        {"segment_length": 0},
        {"hop_length": 10**30},
        {"quantization_channels": 65537},
        {"quantization_snr_db": float("nan")},
        {"features": [{"name": "mood", "dims": 1}]},
        {"features": [{"name": "energy", "dims": -1}]},
    ],
)
def test_a_manifest_of_another_kind_is_refused(tmp_path, values):
    (tmp_path / "manifest.json").write_text(json.dumps({**plain_manifest(), **values}))
    with pytest.raises(ShardFormatError, match=r"manifest\.json: not a manifest this version can read"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "name", ["../train-00000.parquet", "/etc/passwd", "train-00000.parquet\n", "a/b", ""]
)
def test_a_manifest_that_names_files_elsewhere_is_refused(tmp_path, name):
    values = plain_manifest()
    values["files"][0]["name"] = name
    (tmp_path / "manifest.json").write_text(json.dumps(values))
    with pytest.raises(ShardFormatError, match=r"not a manifest this version can read"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "\udcff", '{"stem": "\\udcff"}', "[" * 100_000])
def test_a_broken_manifest_is_refused(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text, errors="surrogateescape")
    with pytest.raises(ShardFormatError, match=r"manifest\.json: not a manifest"):
        read_manifest(tmp_path)


def test_a_folder_without_a_manifest_is_no_shard_set(tmp_path):
    (tmp_path / "a file").touch()
    for folder in (tmp_path, tmp_path / "nowhere", tmp_path / "a file"):
        with pytest.raises(ShardFormatError, match=r"no manifest\.json.*prepare it again"):
            read_manifest(folder)


@given(st.lists(st.text(max_size=5), unique=True))
def test_no_two_labels_share_a_column(labels):
    columns = label_columns(labels)
    assert sorted(columns) == sorted(labels)
    assert len(set(columns.values())) == len(labels)
    assert all(column.startswith("label_") for column in columns.values())
    assert columns == label_columns(labels[::-1])


def test_a_label_is_a_plain_column():
    assert label_columns(["Recording Year", "genre"]) == {
        "Recording Year": "label_recording_year",
        "genre": "label_genre",
    }
    assert label_columns(["genre", "Genre"]) == {"Genre": "label_genre", "genre": "label_genre_2"}


def test_a_schema_has_the_features_and_labels_that_are_asked_for():
    base = [name for name, _ in BASE_COLUMNS]
    assert make_schema([], []).names == base
    features = [Feature(name="notes", dims=256), Feature(name="f0", dims=2)]
    assert make_schema(features, ["genre"]).names == [*base, "label_genre", "notes", "note_events", "f0"]


@pytest.mark.parametrize("levels", [16, 256, 257, 65536])
def test_codes_are_little_endian_in_the_smallest_type(levels):
    size = code_dtype(levels).itemsize
    assert size == (1 if levels <= 256 else 2)
    codes = codes_of((levels - 1).to_bytes(size, "little") * 3, levels)
    assert np.array_equal(codes, [levels - 1] * 3)
