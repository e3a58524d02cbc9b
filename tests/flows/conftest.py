"""Runs of the flow in this process, against a real Prefect server and a real MLflow store; and commands."""

import functools
import os
import shutil
import subprocess
import sys

import pytest

from tests.forked_sessions import open_process, session_server


@pytest.fixture(scope="session")
def sessions():
    """What trainings are forked from."""
    with session_server() as server:
        yield server


@pytest.fixture(autouse=True, scope="module")
def forked_trainings(sessions):
    """Trainings that begin at once, in processes of their own; those that commands start are real ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.session.Popen", functools.partial(open_process, sessions))
        yield


@pytest.fixture
def workspace(tmp_path, mlflow_database):
    """A new workspace."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    shutil.copy(mlflow_database, folder / "mlflow.db")
    return folder


@pytest.fixture
def run(prefect_server, workspace, tiny):
    """Run build-and-train with the tiny configuration; what differs is given by name."""
    from flows.build_and_train import build_and_train

    def run(input, *overrides, **options):
        settings = {"config": [str(tiny)], "workspace": workspace, "overrides": list(overrides)}
        return build_and_train(input=str(input), **{**settings, **options})

    return run


@pytest.fixture(scope="session")
def start_waveband():
    """Start `waveband` in a process and a folder of its own, with nothing in its environment but what a
    person has."""

    def start(folder, *arguments, environment=None):
        hidden = ("PREFECT_", "MLFLOW_", "DO_NOT_TRACK")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        return subprocess.Popen(
            [sys.executable, "-m", "flows.cli", *map(str, arguments)],
            cwd=folder,
            env={**kept, **(environment or {})},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    return start


@pytest.fixture
def waveband(start_waveband, tmp_path):
    """Start `waveband` in this test's folder."""
    return functools.partial(start_waveband, tmp_path)


@pytest.fixture
def ledgers(monkeypatch):
    """The ledgers of the commands that follow and need no Prefect, doctor and prepare: one each."""
    import flows.doctor
    import flows.prepare
    from flows.ledger import DirectLedger

    kept = []

    class KeptLedger(DirectLedger):
        def __init__(self):
            super().__init__()
            kept.append(self)

    for module in (flows.doctor, flows.prepare):
        monkeypatch.setattr(module, "DirectLedger", KeptLedger)
    return kept
