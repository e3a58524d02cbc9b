"""A set without problems is whole; whatever is done to it is told in words."""

import json
import random
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wavenet.data.scores import Note
from wavenet.data.shards import sources, split_writer
from wavenet.data.shards.card import card_text
from wavenet.data.shards.checker import name_remedy, verify_shards
from wavenet.data.shards.format import DIMS, Manifest, manifest_text
from wavenet.files import digest_file

RATE = 2000
TRAIN, HELDOUT = "train-00000.parquet", "heldout-00000.parquet"
EVERYTHING = list(DIMS)


def make_noise(seconds, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


@pytest.fixture
def band(write):
    """Three tracks of 64 levels: 2 s whose end is held out and 1.1 s to train on, 1 s held out."""
    return write(
        (make_noise(2, 0), "train", {"end_heldout": True, "labels": {"genre": "dub"}}),
        (make_noise(1, 1), "heldout", {"labels": {"genre": "ska"}}),
        (make_noise(1.1, 2), "train"),
        levels=64,
    )[0]


def reseal(folder, change=lambda values: None):
    """What a forger would do: a manifest and a card that are right for whatever lies in the files now."""
    values = json.loads((folder / "manifest.json").read_text())
    for file in values["files"]:
        if (folder / file["name"]).is_file():
            file["digest"] = digest_file(folder / file["name"])
            file["num_bytes"] = (folder / file["name"]).stat().st_size
    change(values)
    manifest = Manifest.model_validate(values).sealed()
    (folder / "manifest.json").write_text(manifest_text(manifest))
    (folder / "README.md").write_text(card_text(manifest))


def change_rows(folder, change, name=TRAIN):
    pq.write_table(change(pq.read_table(folder / name)), folder / name)


def set_column(column, values):
    """A change of rows: the first of them have other values in a column."""

    def change(table):
        place = table.schema.get_field_index(column)
        there = table.column(column).to_pylist()
        there[: len(values)] = values
        return table.set_column(
            place, table.schema.field(place), pa.array(there, table.schema.field(place).type)
        )

    return change


def drop_row(table, number=1):
    return pa.concat_tables([table.slice(0, number), table.slice(number + 1)])


# what is whole


def test_a_whole_set_has_no_problems(band):
    assert verify_shards(band) == []


def test_whole_sets_of_every_kind_have_no_problems(write, tmp_path, monkeypatch):
    monkeypatch.setattr(split_writer, "SHARD_BYTES", 4000)
    monkeypatch.setattr(sources, "ROWS_A_GROUP", 3)
    monkeypatch.setattr(split_writer, "ROWS_A_GROUP", 3)
    notes = [Note(60, 0.1, 0.3, 90, 0, 0)]
    tracks = [
        (make_noise(2.2), "train", {"kept": [(0.25, 0.75), (1.0, 2.2)], "end_heldout": True}),
        (make_noise(1.1, 1), "heldout", {"notes": notes, "labels": {"genre": "dub", "Genre": "x|y"}}),
        (make_noise(0.6, 2), "test", {"labels": {"genre": "<b>"}, "licence": "CC BY 4.0\n| x"}),
    ]
    for options in (
        {"features": EVERYTHING},
        {"law": "linear", "dither": True, "levels": 65536},
        {"levels": 16, "audio_rate": 3 * RATE},
        {"segment_length": 70},
    ):
        assert verify_shards(write(*tracks, **options)[0]) == []
    assert verify_shards(write((make_noise(1), "train", {"kept": []}))[0]) == []


# bytes


@pytest.mark.parametrize(("name", "kept"), [("manifest.json", None), ("README.md", []), (TRAIN, None)])
def test_any_flipped_byte_is_found(write, name, kept):
    """Any bit of every byte of a file, also of those that JSON and Markdown make nothing of."""
    folder, _ = write((make_noise(0.02), "train", {"kept": kept}))
    whole = (folder / name).read_bytes()
    bits = random.Random(0)
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << bits.randrange(8)
        (folder / name).write_bytes(damaged)
        assert verify_shards(folder), (name, place)
    (folder / name).write_bytes(whole)
    assert verify_shards(folder) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"  ", b"\t "), (b"\n", b"\r\n"), (b"}\n", b"}"), (b'"version": 3', b'"version": 3, "version": 3')],
)
def test_a_manifest_that_says_the_same_in_other_bytes_is_told(band, old, new):
    path = band / "manifest.json"
    path.write_bytes(path.read_bytes().replace(old, new))
    assert verify_shards(band) == ["manifest.json: its bytes are not those that were written"]


@pytest.mark.parametrize("name", ["manifest.json", "README.md", TRAIN, HELDOUT])
def test_truncated_and_lengthened_files_are_told(band, name):
    whole = (band / name).read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole[:-1], whole + b"\n", whole + whole):
        (band / name).write_bytes(damaged)
        problems = verify_shards(band)
        assert problems
        assert all(name in problem for problem in problems)


@pytest.mark.parametrize("name", ["manifest.json", "README.md", TRAIN, HELDOUT])
@pytest.mark.parametrize("instead", ["nothing", "a folder", "a dead link"])
def test_a_missing_file_is_told(band, name, instead):
    (band / name).unlink()
    if instead == "a folder":
        (band / name).mkdir()
    elif instead == "a dead link":
        (band / name).symlink_to(band / "nowhere")
    (problem,) = verify_shards(band)
    assert name in problem


def test_a_damaged_set_is_told_what_mends_it_and_a_folder_that_is_none_is_not_to_be_deleted(band, tmp_path):
    assert name_remedy(band, verify_shards(band)) is None
    (band / "notes.txt").touch()
    assert name_remedy(band, verify_shards(band)) == f"move the foreign files out of {band}"
    (band / TRAIN).write_bytes(b"x")
    assert name_remedy(band, verify_shards(band)).startswith(f"delete {band} and prepare again")
    (problem,) = verify_shards(tmp_path)
    assert name_remedy(tmp_path, [problem]) is None
    (band / "manifest.json").write_text("{}")
    (problem,) = verify_shards(band)
    assert problem.endswith("if it is of a shard set, delete the folder and prepare again")


@pytest.mark.parametrize("name", ["train-00001.parquet", "notes.txt", ".DS_Store", "a folder"])
def test_a_foreign_file_is_told(band, name):
    if name == "a folder":
        (band / name).mkdir()
    else:
        shutil.copy(band / TRAIN, band / name)
    assert verify_shards(band) == [f"{name}: a foreign file; it is not in manifest.json"]


def test_a_renamed_file_is_told(band):
    (band / TRAIN).rename(band / "train-00001.parquet")
    assert verify_shards(band) == [
        "train-00001.parquet: a foreign file; it is not in manifest.json",
        f"{TRAIN}: cannot be read (No such file or directory)",
    ]

    def rename(values):
        next(file for file in values["files"] if file["name"] == TRAIN)["name"] = "train-00001.parquet"

    reseal(band, rename)
    (problem,) = verify_shards(band)
    assert problem == "manifest.json: the files of train are not numbered in order: train-00001.parquet"


def test_swapped_files_are_told(band):
    (band / TRAIN).rename(band / "other")
    (band / HELDOUT).rename(band / TRAIN)
    (band / "other").rename(band / HELDOUT)
    assert {problem.split(":")[0] for problem in verify_shards(band)} == {TRAIN, HELDOUT}
    reseal(band)
    problems = "; ".join(verify_shards(band))
    assert f"{TRAIN}: rows of another split or stem than train, drums" in problems
    assert f"{HELDOUT}: rows of another split or stem than heldout, drums" in problems


def test_swapped_files_of_one_split_are_told(write, monkeypatch):
    monkeypatch.setattr(split_writer, "SHARD_BYTES", 1)
    monkeypatch.setattr(sources, "ROWS_A_GROUP", 1)
    monkeypatch.setattr(split_writer, "ROWS_A_GROUP", 1)
    folder, _ = write((make_noise(0.5), "train"))
    first, second = folder / TRAIN, folder / "train-00001.parquet"
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)
    assert len(verify_shards(folder)) == 2
    reseal(folder)
    assert verify_shards(folder) == ["train-00001.parquet: the segment at 0 is out of order or there twice"]


def test_the_files_of_two_sets_may_not_be_mixed(band, write):
    other, _ = write((make_noise(2, 7), "train"), levels=64)
    shutil.copy(other / TRAIN, band / TRAIN)
    assert verify_shards(band)
    reseal(band)
    assert verify_shards(band)


# rows


@pytest.mark.parametrize("number", [0, 1, 10])
def test_a_missing_row_is_told(band, number):
    change_rows(band, lambda table: drop_row(table, number))
    (problem,) = verify_shards(band)
    assert problem.startswith(f"{TRAIN}: ")


def test_a_missing_row_is_told_though_the_manifest_knows_the_file(band):
    change_rows(band, drop_row)
    reseal(band)
    assert verify_shards(band) == [
        f"{TRAIN}: 10 rows, the manifest says 11",
        f"{TRAIN}: 4700 samples, the manifest says 5200",
        "track 00000000000000000000000000000000: 3500 samples, the manifest says 4000",
    ]

    def count_again(values):
        file = next(file for file in values["files"] if file["name"] == TRAIN)
        file["num_segments"], file["num_samples"] = 10, 4700

    reseal(band, count_again)
    assert verify_shards(band) == [
        "track 00000000000000000000000000000000: 3500 samples, the manifest says 4000"
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda table: table.take([1, 0, *range(2, len(table))]),
            "segment at 0 is out of order",
        ),
        (
            lambda table: pa.concat_tables([table.slice(0, 1), table]),
            "segment at 0 is out of order",
        ),
        (
            lambda table: table.take([*range(6, len(table)), *range(6)]),
            "segment at 0 is out of order",
        ),
        (set_column("start_sample", [7]), "segments off the grid of 500 samples"),
        (set_column("start_sample", [-500]), "segments off the grid of 500 samples"),
        (set_column("num_samples", [400, 600]), "segments off the grid of 500 samples"),
        (set_column("num_samples", [0, 1000]), "segments off the grid of 500 samples"),
        (set_column("num_samples", [-(2**31)]), "segments off the grid of 500 samples"),
        (set_column("start_sample", [2**63 - 1]), "segments off the grid of 500 samples"),
        (set_column("track_id", ["f" * 32]), f"rows of track {'f' * 32}, which the manifest does not know"),
        (set_column("track", ["x"]), f"track {'0' * 32} has another name than in the manifest"),
        (set_column("stem", ["bass"]), "rows of another split or stem than train, drums"),
        (set_column("split", ["heldout"]), "rows of another split or stem than train, drums"),
        (set_column("codes", [bytes([64]) * 500]), "row 0: a code above 63"),
        (set_column("codes", [bytes(499)]), "row 0: not one code of 1 bytes a sample"),
        (set_column("codes", [b""]), "row 0: not one code of 1 bytes a sample"),
        (set_column("codes", [None]), "rows without codes"),
        (set_column("start_sample", [None]), "rows without start_sample"),
        (set_column("track_id", [None]), "rows without track_id"),
        (set_column("level_db", [None]), "rows without level_db"),
        (
            set_column("label_genre", ["rock"]),
            "label genre: the values in the rows are not",
        ),
        (lambda table: table.drop_columns(["clipped_share"]), "columns ['track_id'"),
        (lambda table: table.append_column("more", table.column("track")), "columns ['track_id'"),
        (lambda table: table.slice(0, 0), "0 rows, the manifest says 11"),
    ],
)
def test_rows_that_the_manifest_does_not_know_are_told(band, change, told):
    """Though its digests and the card were made again."""
    change_rows(band, change)
    reseal(band)
    problems = verify_shards(band)
    assert any(told in problem for problem in problems), problems


def change_track(number, **changes):
    return lambda values: values["tracks"][number].update(changes)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (change_track(0, split="heldout"), f"{TRAIN}: track {'0' * 32} is of heldout in the manifest"),
        (change_track(0, end_heldout=False), f"{HELDOUT}: track {'0' * 32} is of train in the manifest"),
        (change_track(1, split="test"), f"{HELDOUT}: track {'0' * 31}1 is of test in the manifest"),
        (change_track(0, track="x"), f"{TRAIN}: track {'0' * 32} has another name than in the manifest"),
        (change_track(0, num_samples=3999), f"track {'0' * 32}: 4000 samples, the manifest says 3999"),
        (change_track(0, total_samples=3999), f"track {'0' * 32}: segments off the grid of 500 samples"),
        (change_track(0, total_samples=5), f"manifest.json: 4000 samples of track {'0' * 32}, which has 5"),
        (lambda values: values["tracks"].reverse(), "is out of order or there twice"),
        (lambda values: values["tracks"].pop(), "which the manifest does not know"),
        (lambda values: values["tracks"].append(values["tracks"][0]), f"track {'0' * 32} is there 2 times"),
        (lambda values: values.update(stem="bass"), "rows of another split or stem than train, bass"),
        (lambda values: values.update(segment_length=250), "segments off the grid of 250 samples"),
        (lambda values: values.update(segment_length=1000), "segments off the grid of 1000 samples"),
        (lambda values: values.update(quantization_channels=1024), "not one code of 2 bytes a sample"),
        (lambda values: values.update(quantization_channels=16), "a code above 15"),
        (lambda values: values.update(labels={}), "columns ['track_id'"),
        (
            lambda values: values.update(labels={"genre": ["dub"]}),
            "label genre: the values in the rows are not",
        ),
        (lambda values: values.update(features=[{"name": "energy", "dims": 1}]), "columns ['track_id'"),
        (lambda values: values["files"].clear(), f"{TRAIN}: a foreign file"),
        (lambda values: values["files"].append(values["files"][0]), "not numbered in order"),
        (
            lambda values: values["files"][0].update(split="test"),
            "the files of test are not numbered in order",
        ),
        (lambda values: values["files"][0].update(num_samples=1), "5200 samples, the manifest says 1"),
        (lambda values: values["files"][0].update(num_segments=2**61), "11 rows, the manifest says 23058"),
    ],
)
def test_a_manifest_sealed_again_after_it_was_changed_is_told(band, change, told):
    reseal(band, change)
    problems = verify_shards(band)
    assert any(told in problem for problem in problems), problems


def test_a_manifest_that_was_changed_and_not_sealed_is_told(band):
    path = band / "manifest.json"
    path.write_text(path.read_text().replace('"sample_rate": 2000', '"sample_rate": 4000'))
    told, card = verify_shards(band)
    assert told.startswith("manifest.json: its digest is ")
    assert card == "README.md: not the card of this manifest"


@pytest.mark.parametrize("name", EVERYTHING)
def test_features_of_another_length_are_told(write, name):
    folder, _ = write((make_noise(1.1), "train"), features=[name])

    def shorten(table):
        frames = table.column(name).to_pylist()
        return set_column(name, [frames[0][:-1]])(table)

    change_rows(folder, shorten)
    reseal(folder)
    assert verify_shards(folder) == [f"{TRAIN}: {name}: not {DIMS[name]} values a frame of 20 samples"]


def test_features_of_another_width_are_told(write):
    folder, _ = write((make_noise(1.1), "train"), features=["f0"])
    reseal(folder, lambda values: values["features"][0].update(dims=1))
    assert "manifest.json: f0 has 1 values, expected 2" in verify_shards(folder)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 100, b"no Parquet at all"])
def test_what_is_no_parquet_is_told_though_the_manifest_knows_it(band, content):
    (band / TRAIN).write_bytes(content)
    reseal(band)
    problems = verify_shards(band)
    assert any(problem.startswith(f"{TRAIN}: not readable as Parquet (") for problem in problems)
    assert not any("\n" in problem for problem in problems)


def test_any_flipped_byte_under_a_new_seal_ends_without_a_traceback(write):
    """Whether it can be told then depends on where: a code may well have been another."""
    folder, _ = write((make_noise(0.1), "train"))
    whole = (folder / TRAIN).read_bytes()
    bits = random.Random(0)
    for place in [*range(0, len(whole), 17), *range(len(whole) - 12, len(whole))]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << bits.randrange(8)
        (folder / TRAIN).write_bytes(damaged)
        reseal(folder)
        assert all(isinstance(problem, str) for problem in verify_shards(folder))


def test_no_shard_set_is_told_in_words(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        (problem,) = verify_shards(folder)
        assert "no manifest.json" in problem
