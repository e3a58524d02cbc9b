"""What Prefect has of a flow run's artifacts."""

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId


def artifacts_of(flow_run_id):
    """Of each key what Prefect has; there is one of each."""
    asked = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=asked, limit=100)
    assert len({one.key for one in found}) == len(found)
    return {one.key: one for one in found}
