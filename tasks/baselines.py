"""What a stem's network is measured against: a task of its own, since it depends on the shards alone."""

from tasks.caching import cached_task
from tasks.records import BaselinesRecord, ShardsRecord
from tasks.workspace import Workspace
from wavenet.evaluation.baselines import measure_baselines
from wavenet.files import digest_json, write_json

FIGURES = "baselines.json"


@cached_task(version="1", run_name="baselines-{stem}")
def baselines(workspace: Workspace, stem: str, shards: ShardsRecord, receptive_field: int) -> BaselinesRecord:
    """Measure the simplest models of a stem on the samples that its network will be scored on."""
    measured = measure_baselines(workspace.path(shards.folder), receptive_field)
    digest = digest_json(measured.model_dump())
    with workspace.new_folder("baselines") as folder:
        write_json(folder / FIGURES, measured.model_dump())
        place = workspace.publish(folder, digest, stem)
        return BaselinesRecord(digest=digest, folder=place, bits=measured)
