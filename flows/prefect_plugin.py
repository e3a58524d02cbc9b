"""A plugin of Prefect's command line: deployments by name, `prefect deployment run build-and-train`.

Prefect asks for FLOW/DEPLOYMENT. Here a name without a slash stands for the only deployment of that name, or
for the only one of the flow of that name. Switched on in `prefect.toml`; loaded by the entry point
`prefect.plugins`. Changes nothing but the command line's own look-up, and nothing where a slash is given.
"""

import os
import sys
from typing import Any

from prefect.plugins import register_hook

PREFECT_PLUGIN_API_REQUIRES = ">=0.1,<1"


@register_hook
def setup_environment(*, ctx: Any) -> None:
    """Let `prefect deployment ...` find deployments by bare names."""
    if _is_deployment_command(sys.argv):
        _accept_bare_names()


def _is_deployment_command(arguments: list[str]) -> bool:
    name = os.path.basename(arguments[0]) if arguments else ""
    return name in ("prefect", "prefect.exe", "__main__.py") and "deployment" in arguments[1:3]


def _accept_bare_names() -> None:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.filters import (
        DeploymentFilter,
        DeploymentFilterName,
        FlowFilter,
        FlowFilterName,
    )

    read_by_name = PrefectClient.read_deployment_by_name

    async def read_deployment_by_name(self: Any, name: str) -> Any:
        if "/" in name:
            return await read_by_name(self, name)
        wanted = [name]
        found = await self.read_deployments(
            deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=wanted))
        ) or await self.read_deployments(flow_filter=FlowFilter(name=FlowFilterName(any_=wanted)))
        return found[0] if len(found) == 1 else await read_by_name(self, f"{name}/{name}")

    PrefectClient.read_deployment_by_name = read_deployment_by_name  # type: ignore[method-assign]
