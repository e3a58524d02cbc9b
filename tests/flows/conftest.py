"""Runs of the flow in this process, against a real Prefect server and a real MLflow store; and commands."""

import shutil
import subprocess
import sys

import pytest

from tests.conftest import TINY, write_songs
from tests.databases import MLFLOW, PREFECT, copy_database, lend
from tests.forked_sessions import forked_trainings
from tests.prefect_server import clean_environment


@pytest.fixture(autouse=True, scope="module")
def trainings_begin_at_once(fast_trainings):
    pass


@pytest.fixture
def workspace(tmp_path, mlflow_database):
    """A new workspace."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    copy_database(mlflow_database, folder / MLFLOW)
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
def lend_run(prefect_server, sessions, mlflow_database, tmp_path_factory):
    """Run build-and-train with the tiny configuration, for several tests to look at the result."""
    from flows.build_and_train import build_and_train

    def run(input):
        folder = tmp_path_factory.mktemp("lent")
        (folder / "workspace").mkdir()
        copy_database(mlflow_database, folder / "workspace" / MLFLOW)
        (folder / "tiny.yaml").write_text(TINY)
        with forked_trainings(sessions):
            return build_and_train(str(input), [str(folder / "tiny.yaml")], workspace=folder / "workspace")

    return run


@pytest.fixture(scope="session")
def lent_run(lend_run, tmp_path_factory):
    """The result of a run on `songs`."""
    return lend_run(write_songs(tmp_path_factory.mktemp("lent") / "songs"))


@pytest.fixture
def first_run(lent_run, workspace):
    """The result of `run(songs)`, made once, copied into this workspace; MLflow knows the old place."""
    lent = lent_run.output.mix.parents[2]
    shutil.copytree(lent, workspace, dirs_exist_ok=True)
    return type(lent_run).model_validate_json(lent_run.model_dump_json().replace(str(lent), str(workspace)))


@pytest.fixture(scope="session")
def start_waveband():
    """Start `waveband` in a process and a folder of its own, with nothing in its environment but what a
    person has."""

    def start(folder, *arguments, environment=None):
        return subprocess.Popen(
            [sys.executable, "-m", "flows.cli", *map(str, arguments)],
            cwd=folder,
            env={**clean_environment(), **(environment or {})},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    return start


@pytest.fixture(scope="session")
def databases(tmp_path_factory, prefect_database, mlflow_database):
    """A workspace of empty databases, to be lent."""
    folder = tmp_path_factory.mktemp("databases")
    copy_database(prefect_database, folder / PREFECT)
    copy_database(mlflow_database, folder / MLFLOW)
    return folder


@pytest.fixture
def waveband(start_waveband, tmp_path, databases):
    """Start `waveband` in this test's folder; a new workspace has its databases already."""

    def start(*arguments, **options):
        words = list(map(str, arguments))
        named = words[words.index("--workspace") + 1] if "--workspace" in words else "workspace"
        if not (tmp_path / named).exists():
            lend(databases, tmp_path / named, PREFECT, MLFLOW)
        return start_waveband(tmp_path, *words, **options)

    return start


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
