"""The dataset card, and that the tools people have read a set without Waveband."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from wavenet.audio.io import write_audio
from wavenet.audio.quantization import Quantizer
from wavenet.data.scores import Note
from wavenet.data.shards.card import card_text, write_card, write_manifest
from wavenet.data.shards.format import Manifest, ShardFile, ShardTrack, read_manifest
from wavenet.data.shards.reader import read_codes, read_shards
from wavenet.data.shards.sources import ShardFormat, StemSource
from wavenet.data.shards.writer import write_shards

RATE = 2000
SPLITS = ["train", "heldout", "test"]
NASTY = [
    "a|b",
    "<script>alert(1)</script>",
    "a\nb",
    "\\|",
    "[x](javascript:alert(1))",
    "*`_`*",
    "&lt;",
    "a\r| b",
]


def make_manifest(tracks=(), stem="drums", licence="CC0", splits=SPLITS):
    """A manifest of made-up figures: 90 s a split, and tracks of a minute by their names."""
    files = [
        ShardFile(
            name=f"{split}-00000.parquet",
            split=split,
            digest="d",
            num_segments=7,
            num_samples=90 * RATE,
            num_bytes=1,
        )
        for split in splits
    ]
    entries = [
        ShardTrack(
            track_id=f"{number:032x}",
            track=track,
            split="train",
            end_heldout=False,
            num_samples=60 * RATE,
            total_samples=120 * RATE,
            licence=licence,
        )
        for number, track in enumerate(tracks)
    ]
    return Manifest(
        stem=stem,
        sample_rate=RATE,
        quantization_channels=256,
        segment_length=500,
        hop_length=20,
        labels={"genre|x": ["dub", "ska"]},
        quantization_snr_db=31.25,
        files=files,
        tracks=entries,
    ).sealed()


class Page(HTMLParser):
    """The cells of all tables of a page, row by row, and the elements there are."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.elements, self.in_cell = [], set(), False
        self.feed(MarkdownIt("commonmark", {"html": True}).enable("table").render(text.split("---\n", 2)[2]))

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.in_cell = True
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.in_cell = self.in_cell and tag not in ("td", "th")

    def handle_data(self, data):
        if self.in_cell:
            self.rows[-1][-1] += data


def test_a_card_states_splits_licences_minutes_and_digests():
    manifest = make_manifest(["song 0", "song 1"], licence="CC BY 4.0")
    page = Page(card_text(manifest))
    assert [row[:3] for row in page.rows[:4]] == [
        ["split", "minutes", "segments"],
        *([split, "1.50", "7"] for split in SPLITS),
    ]
    assert page.rows[5:] == [
        ["song 0", "train", "1.00", "2.00", "CC BY 4.0", "not stated", "0" * 32],
        ["song 1", "train", "1.00", "2.00", "CC BY 4.0", "not stated", "0" * 31 + "1"],
    ]
    text = card_text(manifest)
    for fact in ("2000 Hz", "256 levels, mu-law", "31.25 dB", "500 samples", manifest.digest, "CC BY 4.0"):
        assert fact in text


def test_a_card_names_the_files_that_a_track_came_from(tmp_path):
    manifest = make_manifest(["a", "b"]).with_sources({"0" * 32: ["one/a.wav", "s3://x/b|c.wav (0-10 s)"]})
    assert [row[5] for row in Page(card_text(manifest)).rows[-2:]] == [
        "one/a.wav, s3://x/b|c.wav (0-10 s)",
        "not stated",
    ]
    assert manifest.digest == manifest.content_digest() != make_manifest(["a", "b"]).digest
    assert write_manifest(manifest, tmp_path) == read_manifest(tmp_path)


def test_a_track_whose_end_is_held_out_says_so():
    manifest = make_manifest(["a"])
    track = manifest.tracks[0].model_copy(update={"end_heldout": True})
    text = card_text(manifest.model_copy(update={"tracks": [track]}))
    assert Page(text).rows[-1][1] == "train, its end held out"


@pytest.mark.parametrize("splits", [SPLITS, ["train"], ["train", "test"], []])
def test_the_front_matter_names_the_files_of_each_split(splits):
    head = card_text(make_manifest(splits=splits)).split("---\n")[1]
    (config,) = yaml.safe_load(head)["configs"]
    assert config["config_name"] == "default"
    assert config["data_files"] == [{"split": split, "path": f"{split}-*.parquet"} for split in splits]


def check_cells(name):
    """A name is one cell of the table, as it was but for what has no width; the page gains no element."""
    plain, nasty = Page(card_text(make_manifest(["x"]))), Page(card_text(make_manifest([name], name, name)))
    assert nasty.elements == plain.elements
    assert [len(row) for row in nasty.rows] == [len(row) for row in plain.rows]
    shown = "".join(char if char.isprintable() else " " for char in name).strip()
    assert nasty.rows[-1][0] == shown
    assert nasty.rows[-1][4] == shown


@pytest.mark.parametrize("name", NASTY)
def test_a_name_cannot_break_out_of_its_cell(name):
    check_cells(name)


@given(st.text(alphabet=st.sampled_from("|\\`*_[]<>&\"'!#-~:$() \n\r\t\u2028ab/"), min_size=1, max_size=12))
def test_no_name_breaks_out_of_its_cell(name):
    check_cells(name)


def test_a_name_is_no_front_matter():
    text = card_text(make_manifest(["---\nconfigs: []\n---"], "---\nx: y\n---", "---\n"))
    assert text.count("\n---\n") == 1
    assert list(yaml.safe_load(text.split("---\n")[1])) == ["configs", "tags"]


def test_a_card_is_a_view_of_the_manifest(tmp_path):
    manifest = make_manifest(["a"])
    write_card(manifest, tmp_path)
    assert (tmp_path / "README.md").read_bytes() == card_text(manifest).encode()


# the tools that people have


@pytest.fixture(scope="module")
def band(tmp_path_factory):
    """A set of all three splits with features, labels and notes; its folder and codes."""
    folder = tmp_path_factory.mktemp("set")
    sources = []
    for number, split in enumerate(["train", "heldout", "test", "train"]):
        noise = np.random.default_rng(number).normal(0, 0.1, 2100 + number).astype(np.float32)
        path = tmp_path_factory.mktemp("audio") / "a.wav"
        write_audio(path, noise, RATE)
        source = StemSource(
            path=path,
            num_samples=len(noise),
            track_id=f"{number:032x}",
            track=f"song {number}",
            split=split,
            labels={"genre": "dub"} if number else {},
            notes=[Note(60, 0.1, 0.2, 90, 0, 0)],
        )
        sources.append(source)
    features = ["energy", "f0", "notes"]
    fmt = ShardFormat("drums", RATE, Quantizer("mu-law", 256), 500, 0.25, 20, features)
    write_shards(sources, folder, fmt)
    return folder


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """Hugging Face datasets with its cache in a folder of the test, and no way to the network."""
    settings = {
        "HF_HOME": str(tmp_path_factory.mktemp("hf")),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    }
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        import datasets

        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        yield datasets


def check_rows(found, folder, split):
    """Codes and features of a table of datasets are those that our reader gives."""
    rows = read_shards(folder, split)
    assert len(found) == len(rows)
    assert b"".join(found["codes"]) == b"".join(rows["codes"]) == read_codes(folder, split)[1].tobytes()
    for name in ("energy", "f0"):
        assert np.array_equal(np.concatenate(found[name][:]), np.concatenate(rows[name]))
    assert b"".join(found["notes"]) == b"".join(rows["notes"])
    for name in ("track", "split", "start_sample", "num_samples"):
        assert found[name][:] == rows[name].tolist()


def test_datasets_reads_the_splits_of_a_folder_by_its_card(band, datasets):
    found = datasets.load_dataset(str(band))
    assert list(found) == SPLITS
    for split in SPLITS:
        check_rows(found[split], band, split)
    assert found["train"][0]["label_genre"] is None
    assert found["heldout"][0]["label_genre"] == "dub"


def test_datasets_reads_the_files_as_parquet(band, datasets):
    files = {split: str(band / f"{split}-*.parquet") for split in ("train", "heldout")}
    found = datasets.load_dataset("parquet", data_files=files)
    for split in files:
        check_rows(found[split], band, split)


def test_duckdb_queries_a_set(band):
    import duckdb

    with duckdb.connect(config={"threads": 1}) as connection:
        query = """SELECT stem, split, sum(num_samples), count(*) FROM read_parquet(?)
                   GROUP BY stem, split ORDER BY 3"""
        found = connection.execute(query, [str(band / "*.parquet")]).fetchall()
        assert found == [
            ("drums", "heldout", 2101, 5),
            ("drums", "test", 2102, 5),
            ("drums", "train", 4203, 10),
        ]
        query = "SELECT octet_length(codes) = num_samples, len(f0), len(note_events) FROM read_parquet(?)"
        rows = connection.execute(query, [str(band / "heldout-*.parquet")]).fetchall()
        assert rows == [(True, 50, 1), *[(True, 50, 0)] * 3, (True, 12, 0)]


def test_pandas_reads_a_set(band):
    rows = pd.read_parquet(band / "heldout-00000.parquet")
    assert rows.groupby("stem")["num_samples"].sum().to_dict() == {"drums": 2101}
    assert rows["note_events"][0][0]["pitch"] == 60
    assert np.array_equal(rows["energy"][0], read_shards(band, "heldout")["energy"][0])


def test_the_lines_of_the_readme_read_a_set(band, datasets):
    readme = Path(__file__).parents[4] / "README.md"
    (lines,) = re.findall(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    found = {"FOLDER": str(band)}
    exec(lines, found)
    assert sorted(found["rows"]["split"]) == sorted(s for s in SPLITS for _ in range(len(found["splits"][s])))
    assert dict(found["minutes"].fetchall()) == {"train": 4203, "heldout": 2101, "test": 2102}
    assert list(found["splits"]) == SPLITS
    codes = np.frombuffer(found["rows"]["codes"][0], np.uint8)
    assert np.array_equal(Quantizer("mu-law", 256).encode(found["waveform"]), codes)
