"""The same flow on clusters of this machine, of two workers each: Dask and Ray."""

import sys

import pytest

from flows.deployments import FLOWS
from flows.runners import open_cluster
from wavenet.config import OrchestrationConfig
from wavenet.errors import ConfigError
from wavenet.files import read_json


def digests(workspace):
    """Of all that tasks have made, by key."""
    results = (workspace / "results").glob("*.json")
    return {path.stem: read_json(path)["record"]["digest"] for path in results}


@pytest.mark.timeout(1800)  # workers that import torch each, on a machine that may be busy
@pytest.mark.parametrize("runner", ["dask", "ray"])
def test_a_cluster_makes_what_threads_make(run, lent_run, songs, workspace, runner):
    result = run(songs, f"orchestration.runner={runner}", "orchestration.workers=2")
    assert result.cached == []
    assert result.figures == lent_run.figures
    assert digests(workspace) == digests(lent_run.output.mix.parents[2])  # and so the keys are the same


@pytest.mark.parametrize("runner", ["dask", "ray"])
def test_workers_elsewhere_need_a_prefect_that_they_can_reach(runner):
    settings = OrchestrationConfig(runner=runner, address="tcp://10.1.2.3:8786")
    with pytest.raises(ConfigError, match="set PREFECT_API_URL"), open_cluster(settings):
        pass


@pytest.mark.parametrize("name", ["build-and-train", "prepare", "evaluate"])
def test_all_flows_run_where_the_configuration_says(name, songs, tiny, workspace, prefect_server):
    """Here on a cluster that could not reach Prefect, which is told before anything is done."""
    (chosen,) = (flow for flow in FLOWS if flow.name == name)
    elsewhere = ["orchestration.runner=dask", "orchestration.address=tcp://10.1.2.3:8786"]
    with pytest.raises(ConfigError, match="set PREFECT_API_URL"):
        chosen(input=str(songs), config=[str(tiny)], overrides=elsewhere, workspace=workspace)


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "prefect_dask", None)
    settings = OrchestrationConfig(runner="dask")
    with pytest.raises(ConfigError, match=r"pip install 'waveband\[dask\]'"), open_cluster(settings):
        pass


def test_threads_need_no_cluster():
    with open_cluster(OrchestrationConfig()) as cluster:
        assert cluster is None
