"""What all tests share: services that stay on this machine, and toy songs to feed them."""

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import soundfile

os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="waveband-prefect-")
os.environ["WAVEBAND_DEVICES"] = tempfile.mkdtemp(prefix="waveband-devices-")  # or all tests would take turns
os.environ["OMP_NUM_THREADS"] = "1"  # tiny networks gain nothing from more, and wait for each other
os.environ.pop("PREFECT_API_URL", None)
os.environ.pop("MLFLOW_TRACKING_URI", None)

from flows.runtime import prepare_environment
from tests.databases import (
    MLFLOW,
    PREFECT,
    copy_database,
    make_mlflow_database,
    make_once,
    make_prefect_database,
)
from tests.forked_sessions import forked_trainings, session_server
from tests.loopback import free_port
from tests.tiny_demucs import write_tiny_demucs
from wavenet.files import digest_bytes

prepare_environment(Path(os.environ["PREFECT_HOME"]))

TINY = """
ingest: {sample_rate: 2000}
segmentation: {segment_seconds: 0.5, heldout_share: 0.2}
quantization: {quantization_channels: 64}
model: {dilation_cycle: 4, num_cycles: 1, residual_channels: 8, gate_channels: 8, skip_channels: 16}
training: {steps: 6, batch_size: 2, scored_length: 200, warmup_steps: 1, log_every: 2, heldout_every: 3}
generation: {seconds: 0.5}
"""

WriteTone = Callable[..., Path]


@pytest.fixture(autouse=True, scope="session")
def no_folders_left() -> Iterator[None]:
    """Prefect's home and the devices' locks go with the session."""
    folders = [os.environ[name] for name in ("PREFECT_HOME", "WAVEBAND_DEVICES")]
    yield
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Also where torch was imported before OMP_NUM_THREADS was set."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny(tmp_path) -> Path:
    """A configuration that trains in a moment."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(name="write_tone")
def tone_writer() -> WriteTone:
    """As the function of that name."""
    return write_tone


def write_tone(path: Path, frequency: float, seconds: float = 2.0, sample_rate: int = 4000) -> Path:
    """Write a plucked tone, once a half second, in the format its suffix names."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    path.parent.mkdir(parents=True, exist_ok=True)
    waveform = 0.4 * np.sin(2 * np.pi * frequency * time) * (1 - (2 * time) % 1)
    soundfile.write(path, waveform, sample_rate)
    return path


@pytest.fixture
def songs(tmp_path) -> Path:
    """Three songs of two stems, drums and bass, as folders."""
    return write_songs(tmp_path / "songs")


def write_songs(folder: Path) -> Path:
    """As `songs` has them, which are the same each time."""
    for number in range(3):
        write_tone(folder / f"song {number}" / "drums.wav", 200 + 10 * number)
        write_tone(folder / f"song {number}" / "bass.wav", 60 + 10 * number)
    return folder


@pytest.fixture(scope="session")
def prefect_database(tmp_path_factory) -> Path:
    """Of a Prefect server that was never asked for anything."""
    return make_once(tmp_path_factory, "prefect-database", make_prefect_database) / PREFECT


@pytest.fixture(scope="session")
def mlflow_database(tmp_path_factory) -> Path:
    """An empty MLflow store; making its tables takes seconds, copying them does not."""
    return make_once(tmp_path_factory, "mlflow-database", make_mlflow_database) / MLFLOW


@pytest.fixture(scope="session")
def prefect_server(prefect_database, tmp_path_factory) -> Iterator[None]:
    """A real Prefect server with a database of its own, for the session."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    home = tmp_path_factory.mktemp("prefect")
    copy_database(prefect_database, home / "prefect-test.db")
    with (
        patch("prefect.testing.utilities.mkdtemp", return_value=str(home)),  # or its tables take seconds
        patch("prefect.testing.utilities._find_available_port", free_port),
        prefect_test_harness(server_startup_timeout=90),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield


@pytest.fixture(scope="session")
def sessions() -> Iterator[object]:
    """What trainings are forked from."""
    with session_server() as server:
        yield server


@pytest.fixture(scope="module")
def fast_trainings(sessions) -> Iterator[None]:
    """Trainings that begin at once, in processes of their own; those that commands start are real ones."""
    with forked_trainings(sessions):
        yield


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The endpoint of a real S3 API on this machine, for the session."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # or it tells of every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server, monkeypatch, tmp_path) -> Iterator[str]:
    """The address of an empty bucket; what is s3:// in this test is that server."""
    import boto3
    from s3fs import S3FileSystem

    for name, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()  # of others who had another endpoint
    bucket = f"bucket-{digest_bytes(str(tmp_path).encode())[:12]}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    yield f"s3://{bucket}"
    S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="session")
def tiny_demucs(tmp_path_factory) -> Path:
    """A Hugging Face cache that holds a tiny `htdemucs`."""
    return write_tiny_demucs(tmp_path_factory.mktemp("hub"))
