"""What the machine does meanwhile: processor, memory, disk, network, and cards where their library is there.

By MLflow's own monitors, so that its page of system metrics shows them. Knows nothing of where they go. The
invariant: whatever cannot be measured is left out.
"""

import importlib
import logging
from typing import Any

PREFIX = "system/"
MONITORS = ("cpu_monitor.CPUMonitor", "disk_monitor.DiskMonitor", "network_monitor.NetworkMonitor")
CARDS = ("gpu_monitor.GPUMonitor", "rocm_monitor.ROCMMonitor")


class SystemSampler:
    """Looks at the machine when asked."""

    def __init__(self) -> None:
        self.monitors = [one for name in (*MONITORS, *CARDS) if (one := _monitor(name)) is not None]
        self._collect()  # rates are since the look before
        self._clear()

    def sample(self) -> dict[str, float]:
        """Figures since the last look, by MLflow's names."""
        self._collect()
        figures = {
            f"{PREFIX}{name}": v for one in self.monitors for name, v in one.aggregate_metrics().items()
        }
        self._clear()
        return figures

    def _collect(self) -> None:
        for one in list(self.monitors):
            try:
                one.collect_metrics()
            except Exception:
                self.monitors.remove(one)

    def _clear(self) -> None:
        for one in self.monitors:
            one.clear_metrics()


def _monitor(name: str) -> Any | None:
    """One of MLflow's monitors; None where its package or device is missing."""
    module, _, kind = name.partition(".")
    log = logging.getLogger("mlflow.system_metrics")
    level, log.level = log.level, logging.CRITICAL
    try:
        return getattr(importlib.import_module(f"mlflow.system_metrics.metrics.{module}"), kind)()
    except Exception:
        return None
    finally:
        log.level = level
