"""The deployments: what `waveband deploy` serves, and what `prefect.yaml` has; a test compares them."""

from collections.abc import Mapping
from typing import Any

from prefect import Flow, serve

from flows.build_and_train import build_and_train
from flows.evaluate import evaluate
from flows.generate_and_mix import generate_and_mix
from flows.prepare_shards import prepare
from flows.train_stem import train_stem

FLOWS: tuple[Flow, ...] = (build_and_train, prepare, train_stem, generate_and_mix, evaluate)


def serve_deployments(parameters: Mapping[str, Any]) -> None:
    """Answer runs of all deployments from here, each in a process of its own, until it is ended.

    parameters: defaults other than the flows', for those that take them.
    """
    deployments = [
        flow.to_deployment(
            name=flow.name,
            description=(flow.__doc__ or "").partition("\n\n    Args:")[0],
            tags=["waveband"],
            parameters={key: value for key, value in parameters.items() if key in flow.parameters.properties},
        )
        for flow in FLOWS
    ]
    serve(*deployments)
