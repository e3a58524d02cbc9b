"""Inputs of this machine: folders, patterns, single files and manifests become one list of names."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavenet.data.folders import _matches, _may_hold
from wavenet.data.listing import WORKSPACE_MARK, open_listing
from wavenet.errors import MetadataError, NoAudioError


@pytest.fixture
def music(tmp_path):
    return fill(tmp_path / "Music", "a.flac", "b.wav", "x/c.flac", "x/y/d.flac", "x/y/cover.jpg")


def fill(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def listed(input):
    return open_listing(input, Path("nowhere"))


def test_a_folder_lists_all_its_files_in_order(music):
    listing = listed(music)
    assert listing.title == "Music"
    assert listing.names == ["a.flac", "b.wav", "x/c.flac", "x/y/cover.jpg", "x/y/d.flac"]
    assert listing.path("x/c.flac") == music / "x/c.flac"
    assert listing.set_aside == []


def test_a_folder_may_be_named_from_where_one_is_or_from_home(music, monkeypatch):
    monkeypatch.chdir(music / "x")
    assert listed(".").title == "x"
    assert listed("..").names == listed(music).names
    monkeypatch.setenv("HOME", str(music.parent))
    assert listed("~/Music").names == listed(music).names


def test_fetching_a_local_file_changes_nothing(music):
    listing = listed(music)
    listing.fetch(listing.path("a.flac"))
    assert listing.path("a.flac").stat().st_size == 0
    assert not Path("nowhere").exists()


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.flac", ["a.flac"]),
        ("**/*.flac", ["a.flac", "x/c.flac", "x/y/d.flac"]),
        ("**", ["a.flac", "b.wav", "x/c.flac", "x/y/cover.jpg", "x/y/d.flac"]),
        ("*/*/*", ["x/y/cover.jpg", "x/y/d.flac"]),
        ("?.*", ["a.flac", "b.wav"]),
        ("[ab].*", ["a.flac", "b.wav"]),
        ("x/**/d.*", ["y/d.flac"]),
        ("x/*/d.*", ["y/d.flac"]),
    ],
)
def test_a_pattern_lists_the_files_it_matches(music, pattern, names):
    listing = listed(str(music / pattern))
    assert listing.names == names
    assert all(listing.path(name).is_file() for name in names)


def test_a_pattern_from_home_is_one(music, monkeypatch):
    monkeypatch.setenv("HOME", str(music.parent))
    assert listed("~/Music/**/*.wav").names == ["b.wav"]


def test_a_pattern_sets_aside_what_it_would_have_matched_and_no_more(music):
    fill(music, ".hidden.flac", ".hidden.wav", "x/.trash/e.flac", "old/.cache/f.wav")
    listing = listed(str(music / "x*/**/*.flac"))
    assert [one.path for one in listing.set_aside] == ["x/.trash"]
    assert [one.path for one in listed(str(music / "*.flac")).set_aside] == [".hidden.flac"]


def test_a_pattern_does_not_enter_folders_that_cannot_match(music, monkeypatch):
    entered = []
    walk = os.walk
    monkeypatch.setattr(
        os, "walk", lambda *args, **more: (entered.append(s[0]) or s for s in walk(*args, **more))
    )
    listed(str(music / "*.flac"))
    assert entered == [str(music)]


def test_a_folder_whose_name_looks_like_a_pattern_is_a_folder(tmp_path):
    fill(tmp_path / "live [2001]", "a.wav", "x/b.wav")
    assert listed(tmp_path / "live [2001]").names == ["a.wav", "x/b.wav"]
    assert listed(str(tmp_path / "live [2001]" / "*.wav")).names == ["a.wav"]


def test_a_pattern_that_matches_nothing_says_how_patterns_work(music):
    with pytest.raises(NoAudioError, match=r"\*\.mp3: matches no file; .* \*\* any depth"):
        listed(str(music / "*.mp3"))


PARTS = st.lists(st.sampled_from(["a", "b", "ab"]), max_size=4)
PATTERN = st.lists(st.sampled_from(["a", "*", "?", "**", "a*"]), min_size=1, max_size=4)


@given(PARTS, PARTS, PATTERN)
def test_a_folder_that_holds_a_match_may_hold_one(folder, below, pattern):
    if below and _matches(folder + below, pattern):
        assert _may_hold(folder, pattern)


def test_a_single_file_is_a_listing_of_one(music):
    listing = listed(music / "x" / "c.flac")
    assert (listing.title, listing.names, listing.manifest) == ("c", ["c.flac"], None)
    assert listing.path("c.flac") == music / "x" / "c.flac"


@pytest.mark.parametrize("name", ["list.csv", "list.JSONL"])
def test_a_manifest_is_known_by_its_suffix(music, name):
    fill(music, name)
    assert listed(music / name).manifest == name


def test_what_is_not_there_is_told_with_what_may_be_given(music):
    with pytest.raises(
        NoAudioError, match=r"gone: no such folder or file; expected a folder.*\*\*.*manifest.*s3://"
    ):
        listed(music / "gone")


@pytest.mark.parametrize("input", ["", " "])
def test_an_empty_name_is_no_input(music, monkeypatch, input):
    monkeypatch.chdir(music)
    with pytest.raises(NoAudioError, match="the input is an empty name; expected a folder"):
        listed(input)


def test_a_manifest_one_folder_up_names_what_lies_beside_it_as_any_manifest_does(music, monkeypatch):
    fill(music, "list.csv")
    monkeypatch.chdir(music / "x")
    for input in ("../list.csv", "../../Music/list.csv", str(music / "x" / ".." / "list.csv")):
        listing = listed(input)
        assert listing.root == str(music)
        assert listing.absolute("a.flac") == f"{listing.root}/a.flac"


def test_text_may_hold_bytes_that_are_no_text_and_begin_with_a_mark(music):
    (music / "x.csv").write_bytes(b"\xef\xbb\xbfcaf\xe9\r\n")
    assert listed(music).read_text("x.csv") == "caf\udce9\r\n"


def test_text_that_is_too_long_or_gone_is_refused(music):
    (music / "x.csv").write_text("12345")
    listing = listed(music)
    with pytest.raises(MetadataError, match=r"x\.csv: 5 bytes are too long for metadata; expected 4 at most"):
        listing.read_text("x.csv", limit=4)
    (music / "x.csv").unlink()
    with pytest.raises(MetadataError, match=r"x\.csv: cannot be read"):
        listing.read_text("x.csv")


def test_a_workspace_itself_may_hold_a_folder_of_music(tmp_path):
    fill(tmp_path, WORKSPACE_MARK, "a.wav")
    assert listed(tmp_path).names == ["a.wav"]
