"""A disk that is full is told as that, costs nothing that was finished, and is gone on from."""

import os
import resource
import subprocess
import sys

import pytest

from flows.prepare import prepare_input
from tasks.session import run_session
from tests.conftest import TINY, write_tone
from tests.small_training import shard_folder, small_config
from wavenet.disk import full_disk_told, is_of_full_disk
from wavenet.errors import DiskFullError
from wavenet.session.job import Job
from wavenet.training.metrics import METRICS, SPEED, read_metrics

__all__ = ["shard_folder"]


def mount(folder, *options):
    done = subprocess.run(["mount", *options, "tmpfs", str(folder)], capture_output=True, text=True)
    return done.returncode == 0


@pytest.fixture
def small_disk(tmp_path):
    """Makes a file system of so many kilobytes; called again, changes its size."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def make(kilobytes):
        size = f"size={kilobytes}k"
        options = ["-o", f"remount,{size}"] if os.path.ismount(folder) else ["-t", "tmpfs", "-o", size]
        if not mount(folder, *options):
            pytest.skip("only root may mount a small disk")
        return folder

    yield make
    if os.path.ismount(folder):
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def long_songs(tmp_path):
    """A megabyte of working audio."""
    for number in range(2):
        for stem in ("drums", "bass"):
            write_tone(tmp_path / "songs" / f"song {number}" / f"{stem}.wav", 200 + 10 * number, seconds=30)
    return tmp_path / "songs"


@pytest.mark.parametrize("kilobytes", [300, 700, 1000, 1200])
def test_a_disk_that_fills_up_before_shards_are_whole_is_gone_on_from_once_there_is_room(
    small_disk, long_songs, tiny, tmp_path, kilobytes
):
    disk = small_disk(kilobytes)
    told = rf"{disk}/workspace: the disk is full \(0\.\d MB free.*make room"
    with pytest.raises(DiskFullError, match=told):
        prepare_input(str(long_songs), [str(tiny)], [], disk / "workspace")
    done = {path.name: path.stat().st_mtime_ns for path in (disk / "workspace" / "results").glob("*.json")}
    small_disk(8000)
    places = prepare_input(str(long_songs), [str(tiny)], [], disk / "workspace").places
    assert {name: (disk / "workspace" / "results" / name).stat().st_mtime_ns for name in done} == done
    elsewhere = prepare_input(str(long_songs), [str(tiny)], [], tmp_path / "elsewhere").places
    assert {stem: os.path.basename(place) for stem, place in places.items()} == {
        stem: os.path.basename(place) for stem, place in elsewhere.items()
    }


@pytest.fixture(scope="module")
def eager():
    """Settings that write something after each step."""
    training = small_config().training.model_copy(update={"log_every": 1, "checkpoint_seconds": 0.0})
    return small_config().model_copy(update={"training": training})


def make_job(folder, shards, config):
    return Job(stem="drums", shards=str(shards), shards_digest="d", folder=folder, config=config)


@pytest.fixture(scope="module")
def undisturbed(fast_trainings, eager, shard_folder, tmp_path_factory):
    """Held-out bits and metrics of a training that had room."""
    job = make_job(tmp_path_factory.mktemp("whole") / "work", shard_folder, eager)
    return run_session(job, [])[1].heldout_bits, without_timings(job.folder)


@pytest.mark.parametrize("kilobytes", [12, 60, 150])
def test_a_training_that_fills_a_disk_goes_on_with_the_same_losses(
    small_disk, shard_folder, eager, undisturbed, kilobytes
):
    """Its job, its metrics, its checkpoints or its model may be what there is no room for."""
    disk = small_disk(kilobytes)
    job = make_job(disk / "work", shard_folder, eager)
    with pytest.raises(DiskFullError, match=f"{disk}/work: the disk is full"), full_disk_told(job.folder):
        run_session(job, [])
    small_disk(8000)
    _, result = run_session(job, [])
    assert (result.heldout_bits, without_timings(job.folder)) == undisturbed


def without_timings(folder):
    return [{k: v for k, v in row.items() if k != SPEED} for row in read_metrics(folder / METRICS)]


def test_a_limit_on_the_size_of_files_is_told_like_a_full_disk(long_songs, tmp_path):
    """The portable twin: no mount, and EFBIG in the place of ENOSPC."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "prepare", long_songs, "--config", tmp_path / "tiny.yaml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert f"waveband: {tmp_path}/workspace: the disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("workspace/store/*/[!.]*"))


def test_what_a_library_has_made_of_a_full_disk_is_known_too():
    wrapped = RuntimeError("could not be written")
    wrapped.__cause__ = OSError(28, "No space left on device")
    assert is_of_full_disk(wrapped)
    assert is_of_full_disk(RuntimeError("(sqlite3.OperationalError) database or disk is full"))
    assert not is_of_full_disk(OSError(2, "No such file or directory"))
