"""MLflow: one parent run a pipeline run, one child a stem, one registered model a stem.

The only importer of mlflow. What a run has to tell is written to an outbox in the workspace first, and sent
from there: so MLflow is a mirror, which may be away at any time. The invariant: an MLflow that cannot be
reached costs a warning and never a training, and is told all it missed when it is back; but where something
is asked of it, an error says that it cannot be reached.

    store.py     which MLflow, and which experiment
    words.py     names, tags, params and descriptions of runs; pure
    entries.py   what a run can be told
    outbox.py    what is still to be told, on disk
    delivery.py  from outboxes to MLflow; telling.py, one entry of them
    failures.py  what a failure means, and when to try again
    facts.py     what of records is told; pure
    pages.py     where a run is seen
    mirror.py    a training's metrics and the machine's, while it goes on (system.py)
    pipeline.py  the runs of one pipeline run
    registry.py  versions of a stem's model, and its champion (promotion.py decides, and is pure)
    reading.py   runs as a table
    uris.py      weights by models:/ and runs:/
    doctor.py    the doctor's report
"""

from tasks.tracking.delivery import sync_outboxes
from tasks.tracking.doctor import log_to_run_under_way
from tasks.tracking.mirror import TrackedStem, metrics_mirror
from tasks.tracking.pages import RunPage, find_page, run_of, tag_run
from tasks.tracking.pipeline import PipelineTracker, tracked_run
from tasks.tracking.reading import read_runs
from tasks.tracking.registry import promote_stems
from tasks.tracking.store import EXPERIMENT, tracking_uri, ui_command
from tasks.tracking.uris import INIT_FROM, download_weights, is_mlflow_uri
from tasks.tracking.words import flatten, name_with_changes, prefect_tags

__all__ = [
    "EXPERIMENT",
    "INIT_FROM",
    "PipelineTracker",
    "RunPage",
    "TrackedStem",
    "download_weights",
    "find_page",
    "flatten",
    "is_mlflow_uri",
    "log_to_run_under_way",
    "metrics_mirror",
    "name_with_changes",
    "prefect_tags",
    "promote_stems",
    "read_runs",
    "run_of",
    "sync_outboxes",
    "tag_run",
    "tracked_run",
    "tracking_uri",
    "ui_command",
]
