"""The same flow on clusters of this machine, of two workers each: Dask and Ray."""

import pytest

from wavenet.files import read_json


def digests(workspace):
    """Of all that tasks have made, by key."""
    results = (workspace / "results").glob("*.json")
    return {path.stem: read_json(path)["record"]["digest"] for path in results}


@pytest.mark.parametrize("runner", ["dask", "ray"])
def test_a_cluster_makes_what_threads_make(run, lent_run, songs, workspace, runner):
    result = run(songs, f"orchestration.runner={runner}", "orchestration.workers=2")
    assert result.cached == []
    assert result.figures == lent_run.figures
    assert digests(workspace) == digests(lent_run.output.mix.parents[2])
    again = run(songs)  # in threads: the keys are the same
    assert again.ran == []
