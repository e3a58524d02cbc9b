"""Folders of a remote store are whole or not there. A real S3 API on this machine."""

import json
import os

import pytest

from wavenet.data.remote_folders import INVENTORY, RemoteFolders
from wavenet.errors import ConfigError
from wavenet.files import sizes_of_files


@pytest.fixture
def remote(s3):
    return RemoteFolders(f"{s3}/project")


@pytest.fixture
def folder(tmp_path):
    """A finished folder."""
    place = tmp_path / "finished"
    (place / "inner").mkdir(parents=True)
    (place / "a.bin").write_bytes(b"12345")
    (place / "inner" / "b.txt").write_text("words")
    os.utime(place / "a.bin", (1, 1))
    return place


def test_what_is_fetched_is_what_was_uploaded(remote, folder, tmp_path):
    remote.upload(folder, "store/x")
    assert remote.holds("store/x", sizes_of_files(folder))
    assert remote.folders("store") == ["x"]
    remote.fetch("store/x", tmp_path / "fetched")
    assert sizes_of_files(tmp_path / "fetched") == sizes_of_files(folder)
    assert (tmp_path / "fetched" / "inner" / "b.txt").read_text() == "words"


def test_one_file_of_a_folder_is_fetched_alone(remote, folder, tmp_path):
    remote.upload(folder, "store/x")
    remote.fetch_file("store/x", "inner/b.txt", tmp_path / "parts" / "b.txt")
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["b.txt"]
    with pytest.raises(FileNotFoundError):
        remote.fetch_file("store/x", "c", tmp_path / "parts" / "c")


@pytest.mark.parametrize("left", [INVENTORY, "a.bin"])
def test_a_folder_of_which_something_is_missing_is_not_there_and_is_completed(remote, folder, tmp_path, left):
    remote.upload(folder, "store/x")
    remote.delete([f"store/x/{left}"])
    assert not remote.holds("store/x", sizes_of_files(folder))
    with pytest.raises(FileNotFoundError):
        remote.fetch("store/x", tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()
    remote.upload(folder, "store/x")
    assert remote.holds("store/x", sizes_of_files(folder))


def test_an_upload_that_is_cut_off_leaves_no_folder(remote, folder, monkeypatch):
    def fail(*_):
        raise TimeoutError("gone")

    monkeypatch.setattr(remote._store, "put_file", fail)
    with pytest.raises(ConfigError, match="Nothing is lost: run again"):
        remote.upload(folder, "store/x")
    assert remote.folders("store") == []


@pytest.mark.parametrize("whole", [False, True])
def test_no_folder_is_made_of_two_of_one_name(remote, folder, tmp_path, whole):
    remote.upload(folder, "work/step-1")
    if not whole:
        remote.delete([f"work/step-1/{INVENTORY}", "work/step-1/inner/b.txt"])
    (folder / "a.bin").write_bytes(b"54321")
    (folder / "inner" / "b.txt").write_text("other words")
    remote.upload(folder, "work/step-1")
    remote.fetch("work/step-1", tmp_path / "fetched")
    assert (tmp_path / "fetched" / "a.bin").read_bytes() == b"54321"
    assert (tmp_path / "fetched" / "inner" / "b.txt").read_text() == "other words"


def test_of_a_folder_that_is_named_by_its_content_only_what_is_missing_is_uploaded(
    remote, folder, tmp_path, monkeypatch
):
    remote.upload(folder, "store/x", by_content=True)
    remote.delete([f"store/x/{INVENTORY}", "store/x/inner/b.txt"])
    put, sent = remote._store.put_file, []
    monkeypatch.setattr(remote._store, "put_file", lambda file, key: (sent.append(file), put(file, key)))
    remote.upload(folder, "store/x", by_content=True)
    assert sent == [str(folder / "inner" / "b.txt")]
    assert remote.folders("store") == ["x"]


def test_a_file_that_was_cut_short_meanwhile_is_not_read(remote, folder, tmp_path):
    remote.upload(folder, "store/x")
    remote.write("store/x/a.bin", b"123")
    with pytest.raises(FileNotFoundError, match="5 bytes"):
        remote.fetch("store/x", tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


@pytest.mark.parametrize("name", ["../escaped", "/escaped", "inner/../../escaped"])
def test_names_that_lead_elsewhere_are_refused(remote, folder, tmp_path, name):
    remote.upload(folder, "store/x")
    remote.write(f"store/x/{INVENTORY}", json.dumps({"files": {name: 1}, "made": 0}).encode())
    with pytest.raises(ConfigError, match="no plain name"):
        remote.fetch("store/x", tmp_path / "fetched")
    assert not list(tmp_path.rglob("escaped"))


def test_of_two_that_make_one_file_one_does(remote):
    assert remote.create("lock", b"mine") is True
    assert remote.create("lock", b"theirs") is False
    assert remote.read("lock") == b"mine"


def test_a_store_that_is_not_there_is_told_in_words(monkeypatch, s3):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setattr("wavenet.data.remote_folders.ATTEMPTS", 1)
    with pytest.raises(ConfigError, match="AWS_ENDPOINT_URL"):
        RemoteFolders(f"{s3}/project").read("x")
