"""Shard sets behind a URL: a real S3 API on this machine."""

import shutil
import sys
from pathlib import Path

import fsspec.registry  # noqa: F401
import numpy as np
import pytest

from wavenet.config import ModelConfig, StemConfig, TrainingConfig
from wavenet.data.dataset import load_runs
from wavenet.data.primes import choose_places
from wavenet.data.shards.checker import verify_shards
from wavenet.data.shards.format import read_manifest
from wavenet.data.shards.reader import read_codes, read_shards
from wavenet.data.shards.storage import check_target, is_url, open_location, plain_target, upload_shards
from wavenet.errors import ConfigError, ShardFormatError
from wavenet.training.loop import train_model
from wavenet.training.metrics import METRICS, SPEED, read_metrics

RATE = 2000


def make_tone(seconds, seed):
    time = np.arange(round(seconds * RATE)) / RATE
    return ((0.5 - 0.1 * seed) * np.sin(2 * np.pi * 90 * time) * (1 - time % 1)).astype(np.float32)


@pytest.fixture
def band(write):
    """The folder of a set of two tracks to train on, in two runs each, and one held out."""
    kept = {"kept": [(0.0, 1.0), (1.5, 3.0)]}
    tracks = [
        (make_tone(3, 0), "train", kept),
        (make_tone(3, 1), "train", kept),
        (make_tone(2, 2), "heldout"),
    ]
    return write(*tracks, levels=64, features=["energy"])[0]


@pytest.fixture
def uploaded(band, s3):
    """The same set in a bucket."""
    location = open_location(f"{s3}/shards/drums-1")
    upload_shards(band, location)
    return location


def names_in(location):
    return sorted(path.name for path in location.iterdir()) if location.exists() else []


def without_timings(folder):
    return [{k: v for k, v in row.items() if k != SPEED} for row in read_metrics(folder / METRICS)]


def test_a_path_is_a_path_and_an_address_is_reached_through_fsspec(s3, tmp_path):
    assert not is_url(str(tmp_path))
    assert open_location(str(tmp_path)) == tmp_path
    assert isinstance(open_location(str(tmp_path)), Path)
    assert is_url(s3)
    assert str(open_location(f"{s3}/x") / "y") == f"{s3}/x/y"


def test_what_is_uploaded_is_the_set_to_the_byte(band, uploaded):
    assert names_in(uploaded) == names_in(band)
    for path in band.iterdir():
        assert (uploaded / path.name).read_bytes() == path.read_bytes()


def test_a_remote_set_is_read_as_a_local_one(band, uploaded):
    assert read_manifest(uploaded) == read_manifest(band)
    for split in ("train", "heldout", "test"):
        assert read_shards(uploaded, split).equals(read_shards(band, split))
        assert np.array_equal(read_codes(uploaded, split)[1], read_codes(band, split)[1])
        for ours, there in zip(load_runs(band, split), load_runs(uploaded, split), strict=True):
            assert (ours.track_id, ours.start_sample) == (there.track_id, there.start_sample)
            assert np.array_equal(ours.codes, there.codes)
    assert choose_places({"drums": uploaded}, 500, 500) == choose_places({"drums": band}, 500, 500)


def test_training_from_a_bucket_gives_the_losses_of_training_from_the_folder(band, uploaded, tmp_path):
    model = {"residual_channels": 4, "gate_channels": 4, "skip_channels": 4}
    steps = {"steps": 4, "batch_size": 2, "scored_length": 100, "log_every": 1, "heldout_every": 2}
    config = StemConfig(
        model=ModelConfig(dilation_cycle=3, num_cycles=1, **model), training=TrainingConfig(**steps)
    )
    local = train_model(band, tmp_path / "local", config)
    remote = train_model(uploaded, tmp_path / "remote", config)
    assert remote.heldout_bits == local.heldout_bits
    assert without_timings(tmp_path / "remote") == without_timings(tmp_path / "local")


def test_a_remote_set_is_checked_as_a_local_one(band, uploaded):
    assert verify_shards(uploaded) == []
    name = "train-00000.parquet"
    damaged = bytearray((band / name).read_bytes())
    damaged[100] ^= 1
    (uploaded / name).write_bytes(bytes(damaged))
    (problem,) = verify_shards(uploaded)
    assert problem.startswith(f"{name}: its bytes are not those that were written")
    (uploaded / name).unlink()
    (uploaded / "foreign").write_bytes(b"x")
    foreign, missing = verify_shards(uploaded)
    assert foreign == "foreign: a foreign file; it is not in manifest.json"
    assert missing.startswith(f"{name}: cannot be read (")


@pytest.mark.parametrize("survivors", range(4))
def test_an_upload_that_dies_leaves_no_set_and_a_second_one_completes_it(band, s3, monkeypatch, survivors):
    """Killed after so many of its four files, the manifest being the last of them."""
    location = open_location(f"{s3}/shards/drums-1")
    put_file, sent = location.fs.put_file, []

    def put_some(source, destination):
        if len(sent) == survivors:
            raise ConnectionError("the line is dead")
        sent.append(destination)
        put_file(source, destination)

    with monkeypatch.context() as dying:
        dying.setattr(location.fs, "put_file", put_some)
        with pytest.raises(ConfigError, match=r"cannot be written there .*the line is dead.*storage\.shards"):
            upload_shards(band, location)
    assert len(names_in(location)) == survivors
    with pytest.raises(ShardFormatError, match=r"no manifest\.json"):
        read_manifest(location)
    assert verify_shards(location)
    upload_shards(band, location)
    assert verify_shards(location) == []


def test_a_set_that_is_there_is_not_sent_again(band, uploaded, monkeypatch):
    def put_file(source, destination):
        raise AssertionError(f"{destination} was sent again")

    monkeypatch.setattr(uploaded.fs, "put_file", put_file)
    upload_shards(band, uploaded)


@pytest.mark.parametrize("name", ["train-00000.parquet", "README.md"])
@pytest.mark.parametrize("content", [None, b"cut short"])
def test_a_file_that_was_lost_from_a_set_is_sent_again(band, uploaded, name, content):
    if content is None:
        (uploaded / name).unlink()
    else:
        (uploaded / name).write_bytes(content)
    assert verify_shards(uploaded)
    upload_shards(band, uploaded)
    assert verify_shards(uploaded) == []


def test_an_address_of_which_nothing_is_there_is_no_set(s3):
    with pytest.raises(ShardFormatError, match=r"no manifest\.json"):
        read_manifest(open_location(f"{s3}/nowhere"))


@pytest.mark.parametrize("missing", ["upath", "s3fs"])
def test_without_its_package_an_address_is_refused_with_what_to_install(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(ConfigError, match=r"s3://bucket/x: a package .*pip install 'waveband\[remote\]'$"):
        open_location("s3://bucket/x")
    with pytest.raises(ConfigError, match=r"s3://bucket/x: a package .*pip install 'waveband\[remote\]'$"):
        check_target("s3://bucket/x")


def test_an_unknown_kind_of_address_is_refused():
    with pytest.raises(
        ConfigError, match=r"gopher://x/y: no kind of address that is known; expected .*s3://"
    ):
        open_location("gopher://x/y")


# where shards are to lie


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        (" ", "is empty"),
        ("s3:/bucket/x", r"s3:/bucket/x: expected a folder, or s3:// with two slashes"),
        ("foo://x", r"foo://x: no kind of address that is known; expected a path, or .*s3://, gs://"),
        ("file:///x", r"file:///x: no kind of address that is known"),
        ("http://host/x", r"http://host/x: a web server cannot be written to"),
        ("https://host/x", r"https://host/x: a web server cannot be written to"),
    ],
)
def test_a_target_that_cannot_be_one_is_refused_by_its_name_alone(text, told):
    with pytest.raises(ConfigError, match=told):
        plain_target(text)


def test_a_target_is_an_address_or_an_absolute_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert plain_target("x/shards/") == str(tmp_path / "x" / "shards")
    assert plain_target("~/shards") == str(tmp_path / "home" / "shards")
    assert plain_target(str(tmp_path)) == plain_target(f"{tmp_path}/x/..") == str(tmp_path)
    assert plain_target("s3://bucket/x/") == "s3://bucket/x"


def test_a_target_is_tried_with_a_small_write_that_leaves_nothing(s3, tmp_path):
    for target in (f"{s3}/shards", str(tmp_path / "new" / "shards"), "memory://shards"):
        check_target(target)
        assert names_in(open_location(target)) == []


def test_a_bucket_that_is_not_there_is_told_before_anything_is_made(s3):
    with pytest.raises(ConfigError, match=r"storage\.shards=s3://no-such-bucket/x: shards cannot be written"):
        check_target("s3://no-such-bucket/x")


def test_a_file_is_no_folder_to_write_to(tmp_path):
    (tmp_path / "file").touch()
    for target in (tmp_path / "file", tmp_path / "file" / "x"):
        with pytest.raises(ConfigError, match=r"/file.*: shards cannot be written there"):
            check_target(str(target))


def test_a_package_that_is_no_part_of_remote_is_named(monkeypatch):
    for protocol, package in (("gs", "gcsfs"), ("abfs", "adlfs")):
        monkeypatch.setitem(sys.modules, package, None)
        monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, protocol, raising=False)
        with pytest.raises(ConfigError, match=rf"pip install 'waveband\[remote\]' {package}$"):
            check_target(f"{protocol}://bucket/x")


def test_a_set_in_a_folder_appears_whole_or_not_at_all(band, tmp_path, monkeypatch):
    place = tmp_path / "elsewhere" / "drums-1"

    def die(*args, **more):
        raise OSError("the disk is full")

    with monkeypatch.context() as dying:
        dying.setattr(shutil, "copytree", die)
        with pytest.raises(ConfigError, match="the disk is full"):
            upload_shards(band, place)
    assert names_in(place.parent) == []
    upload_shards(band, place)
    assert verify_shards(place) == []
    assert names_in(place.parent) == ["drums-1"]
