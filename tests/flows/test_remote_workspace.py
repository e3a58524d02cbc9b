"""A workspace behind an address: machines that share nothing but a bucket. A real S3 API on this machine."""

import pytest

from tasks.remote import CACHE
from tests.databases import MLFLOW, copy_database
from wavenet.files import digest_folder, sizes_of_files


@pytest.fixture
def on_machine(monkeypatch, tmp_path, mlflow_database):
    """Be another machine: one with a cache of its own."""

    def switch(name):
        cache = tmp_path / name
        monkeypatch.setenv(CACHE, str(cache))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
        copy_database(mlflow_database, tmp_path / MLFLOW)
        return cache

    return switch


def digest_of(output):
    folder = output.mix.parent
    return digest_folder(folder, sorted(sizes_of_files(folder)))


def test_a_second_machine_reuses_all_that_the_first_has_made(run, lent_run, songs, s3, on_machine):
    on_machine("first")
    first = run(songs, workspace=f"{s3}/project")
    assert first.cached == []
    assert first.figures == lent_run.figures  # as with a folder
    cache = on_machine("second")
    second = run(songs, workspace=f"{s3}/project")
    assert second.ran == []
    assert set(second.cached) == set(first.ran)
    assert digest_of(second.output) == digest_of(first.output)
    assert second.output.mix.is_relative_to(cache)
