"""Where the tasks of a flow run: in threads of its own process, or on a cluster of Dask or Ray.

Knows nothing of what the tasks do. The invariants: the same flow runs everywhere, since what crosses borders
are records; and a cluster that was started here ends with the flow.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from prefect.context import FlowRunContext
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import TaskRunner

from wavenet.config import OrchestrationConfig
from wavenet.errors import ConfigError

LOOPBACK = "127.0.0.1"


class Cluster:
    """A cluster that takes tasks. gpus: of a worker, for each training alone; 0: it asks for none."""

    def __init__(self, runner: TaskRunner, gpus: int) -> None:
        self.runner, self.gpus = runner, gpus

    def submit(self, task: Any, inputs: Mapping[str, Any]) -> Any:
        """Begin a task on some worker. Returns a future of Prefect's."""
        from prefect.utilities.callables import get_call_parameters

        with self._resources(task.name):
            return self.runner.submit(task, get_call_parameters(task.fn, (), dict(inputs)))

    def _resources(self, name: str) -> Any:
        """What a task asks of a worker, for whoever submits it in this context."""
        if not self.gpus or name != "train":
            return nullcontext()
        if type(self.runner).__name__ == "DaskTaskRunner":
            import dask

            return dask.annotate(resources={"GPU": self.gpus})
        from prefect_ray.context import remote_options

        return remote_options(num_gpus=self.gpus)


@contextmanager
def open_cluster(settings: OrchestrationConfig) -> Iterator[Cluster | None]:
    """What the configuration names, in a running flow: a cluster to submit to, or None for threads.

    Raises ConfigError where a package is missing, or workers elsewhere could not reach Prefect.
    """
    if settings.runner == "threads":
        yield None
        return
    url = _api_url(settings)
    try:
        runner = _dask(settings) if settings.runner == "dask" else _ray(settings)
    except ImportError as error:
        raise ConfigError(
            f"orchestration.runner={settings.runner}: a package for it is missing ({error}); "
            f"pip install 'waveband[{settings.runner}]'"
        ) from None
    with temporary_settings({PREFECT_API_URL: url}), runner:  # which go along with each task
        yield Cluster(runner, settings.gpus)


def _api_url(settings: OrchestrationConfig) -> str:
    """Where workers tell Prefect what they do: where this flow does."""
    context = FlowRunContext.get()
    url = str(context.client.api_url) if context else ""
    if settings.address and "PREFECT_API_URL" not in os.environ and not _is_here(settings.address):
        raise ConfigError(
            f"orchestration.address={settings.address}: its workers cannot reach the embedded Prefect API of "
            "this machine; start a server (prefect server start), and set PREFECT_API_URL here"
        )
    return url


def _is_here(address: str) -> bool:
    return any(name in address for name in (LOOPBACK, "localhost"))


def _dask(settings: OrchestrationConfig) -> TaskRunner:
    """A running scheduler, or workers of this machine, which may have processes of their own."""
    import dask
    from prefect_dask import DaskTaskRunner

    if settings.address:
        return DaskTaskRunner(address=settings.address)
    dask.config.set({"distributed.worker.daemon": False})
    local = {
        "n_workers": settings.workers or os.cpu_count() or 1,
        "threads_per_worker": 1,
        "host": LOOPBACK,
        "security": True,  # keys of its own, or anyone on this machine could have it run what they like
        "dashboard_address": None,
        "resources": {"GPU": settings.gpus} if settings.gpus else None,
    }
    return DaskTaskRunner(cluster_kwargs=local)


def _ray(settings: OrchestrationConfig) -> TaskRunner:
    """A running cluster, or one of this machine."""
    from prefect_ray import RayTaskRunner

    if settings.address:
        return RayTaskRunner(address=settings.address)
    local = {
        "num_cpus": settings.workers or os.cpu_count() or 1,
        "include_dashboard": False,
        "_node_ip_address": LOOPBACK,
    }
    return RayTaskRunner(init_kwargs=local)
