"""Files and folders appear whole or not at all; digests stand for content."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavenet import files
from wavenet.files import (
    DIGEST_LENGTH,
    digest_bytes,
    digest_file,
    digest_folder,
    digest_json,
    new_folder,
    new_hasher,
    publish_folder,
    read_json,
    write_json,
    write_text,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def publish(parent, name, text="whole"):
    with new_folder(parent, name) as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "file.txt").write_text(text)
        publish_folder(folder, parent / name)


def read_published(parent, name):
    return (parent / name / "inner" / "file.txt").read_text()


def test_write_json_is_read_back(tmp_path):
    value = {"b": [1, 2.5, None], "a": {"é": "音楽"}}
    write_json(tmp_path / "deep" / "er" / "value.json", value)
    assert read_json(tmp_path / "deep" / "er" / "value.json") == value


def test_write_json_of_the_same_value_gives_the_same_bytes(tmp_path):
    write_json(tmp_path / "a.json", {"x": 1, "y": 2})
    write_json(tmp_path / "b.json", {"y": 2, "x": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"deep": [float("-inf")]}, object()])
def test_write_json_refuses_what_is_no_json_and_leaves_the_old_file(tmp_path, value):
    write_json(tmp_path / "value.json", "old")
    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "value.json", value)
    assert read_json(tmp_path / "value.json") == "old"
    assert os.listdir(tmp_path) == ["value.json"]


def test_a_write_that_fails_halfway_leaves_nothing(tmp_path):
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "a.txt", "good so far \ud800")
    assert os.listdir(tmp_path) == []


def test_a_write_that_cannot_be_renamed_leaves_no_temporary_file(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_text(tmp_path / "taken", "text")
    assert os.listdir(tmp_path) == ["taken"]


def test_a_reader_sees_the_old_text_until_the_new_one_is_whole(tmp_path, monkeypatch):
    write_text(tmp_path / "a.txt", "old")
    seen = []
    replace = os.replace

    def look_then_replace(source, destination):
        seen.append((tmp_path / "a.txt").read_text())
        replace(source, destination)

    monkeypatch.setattr(os, "replace", look_then_replace)
    write_text(tmp_path / "a.txt", "new")
    assert seen == ["old"]
    assert (tmp_path / "a.txt").read_text() == "new"


def test_others_may_read_what_was_written(tmp_path):
    write_text(tmp_path / "a.txt", "text")
    publish(tmp_path, "folder")
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("name", ["x" * 250, "🥁" * 60])
def test_names_as_long_as_the_system_allows_can_be_written(tmp_path, name):
    write_text(tmp_path / name, "text")
    publish(tmp_path / "folders", name)
    assert (tmp_path / name).read_text() == "text"
    assert read_published(tmp_path / "folders", name) == "whole"


def test_a_folder_that_is_not_published_is_gone(tmp_path):
    def fill_and_fail():
        with new_folder(tmp_path, "label") as folder:
            (folder / "half.bin").write_bytes(b"half")
            raise RuntimeError("out of ideas")

    with pytest.raises(RuntimeError, match="out of ideas"):
        fill_and_fail()
    assert os.listdir(tmp_path) == []


def test_a_folder_under_way_has_a_hidden_name(tmp_path):
    with new_folder(tmp_path, "label") as folder:
        assert folder.parent == tmp_path
        assert folder.name.startswith(".label-")


def test_a_published_folder_leaves_no_other(tmp_path):
    publish(tmp_path, "a")
    assert os.listdir(tmp_path) == ["a"]
    assert read_published(tmp_path, "a") == "whole"


def test_an_older_folder_of_the_same_name_stays(tmp_path):
    publish(tmp_path, "a", "old")
    publish(tmp_path, "a", "new")
    assert read_published(tmp_path, "a") == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_of_publishers_at_once_one_wins_and_none_fails(tmp_path):
    start = threading.Barrier(8)

    def race(number):
        with new_folder(tmp_path, "a") as folder:
            for name in "xyz":
                (folder / name).write_text(str(number))
            start.wait()
            publish_folder(folder, tmp_path / "a")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(race, range(8)))
    assert os.listdir(tmp_path) == ["a"]
    assert len({(tmp_path / "a" / name).read_text() for name in "xyz"}) == 1


def test_a_race_lost_between_look_and_rename_is_no_error(tmp_path, monkeypatch):
    rename = os.rename

    def lose(source, destination):
        monkeypatch.setattr(os, "rename", rename)
        publish(tmp_path, "a", "the other's")
        rename(source, destination)

    monkeypatch.setattr(os, "rename", lose)
    publish(tmp_path, "a", "mine")
    assert read_published(tmp_path, "a") == "the other's"


def test_a_rename_that_fails_otherwise_is_an_error(tmp_path):
    with new_folder(tmp_path, "a") as folder, pytest.raises(OSError, match="nowhere"):
        publish_folder(folder, tmp_path / "nowhere" / "a")


def test_all_of_a_folder_is_flushed_before_it_has_its_name(tmp_path, monkeypatch):
    flushed = []

    def note(flush):
        def noting(path):
            flushed.append((path.name, (tmp_path / "a").exists()))
            flush(path)

        return noting

    monkeypatch.setattr(files, "sync_file", note(files.sync_file))
    monkeypatch.setattr(files, "sync_folder", note(files.sync_folder))
    publish(tmp_path, "a")
    *before, last = flushed
    assert {"inner", "file.txt"} < {name for name, _ in before}
    assert not any(published for _, published in before)
    assert last == (tmp_path.name, True)


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=5))
def test_digest_json_does_not_depend_on_the_order_of_keys(value):
    turned = dict(reversed(value.items()))
    assert digest_json(turned) == digest_json(value)
    assert len(digest_json(value)) == DIGEST_LENGTH


def test_digest_json_tells_values_apart():
    values = [None, 0, "0", [], {}, [0], {"0": 0}, 0.5, "", [[]], "é", "e\u0301"]
    assert len({digest_json(value) for value in values}) == len(values)


def test_a_files_digest_is_of_its_bytes_alone(tmp_path):
    (tmp_path / "a").write_bytes(b"same")
    (tmp_path / "b").write_bytes(b"same")
    assert digest_file(tmp_path / "a") == digest_file(tmp_path / "b") == digest_bytes(b"sa", b"me")


def test_digests_are_the_first_half_of_blake3():
    """The vectors that come with BLAKE3: nothing, and 1023 and 1024 bytes of 0 to 250 again and again."""
    count = bytes(range(251)) * 5
    assert digest_bytes() == "af1349b9f5f9a1a6a0404dea36dcc949"
    assert digest_bytes(count[:1023]) == "10108970eeda3eb932baac1428c7a216"
    assert digest_bytes(count[:1000], count[1000:1024]) == "42214739f095a406f3fc83deb889744a"


def test_a_file_fed_piece_by_piece_has_the_digest_of_the_whole(tmp_path, monkeypatch):
    content = bytes(range(251)) * 100
    (tmp_path / "a").write_bytes(content)
    monkeypatch.setattr(files, "READ_BYTES", 1000)
    hasher = new_hasher()
    hasher.update(content)
    assert digest_file(tmp_path / "a") == digest_bytes(content) == hasher.hexdigest()[:DIGEST_LENGTH]
    (tmp_path / "empty").touch()
    assert digest_file(tmp_path / "empty") == digest_bytes()


def test_a_folders_digest_is_of_names_and_bytes_in_any_order(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    both = digest_folder(tmp_path, ["a", "b"])
    assert both == digest_folder(tmp_path, ["b", "a"])
    os.rename(tmp_path / "a", tmp_path / "c")
    assert both != digest_folder(tmp_path, ["c", "b"])
