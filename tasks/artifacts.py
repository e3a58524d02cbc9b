"""Artifacts: what the page of a Prefect run shows, put there while the run goes on.

Knows nothing of what is shown, nor of how it is sent (`artifact_board.py`). The invariants: outside of a run
nothing happens; an artifact is one key of one flow run, so a task that is run again renews what it showed.
"""

import atexit
import re
import sys
import threading

from tasks.artifact_board import Artifact, Board, Kind
from wavenet.files import digest_bytes

SECONDS_BETWEEN = 2.0
SECONDS_AT_END, SECONDS_AT_EXIT = 20.0, 2.0
"""So long what a run shows last may take to be drawn and sent: at its end, and where it was stopped."""
LONGEST_PART = 40
"""Letters of a name in a key."""

_boards: dict[str, Board] = {}
_opening = threading.Lock()


def run_artifact(kind: Kind, key: str, pause: float = SECONDS_BETWEEN) -> Artifact:
    """The artifact of a key in the run that this is called in; outside of any, one that nobody sees.

    key: as `artifact_key` makes it. pause: least seconds between what is shown and what is shown next.
    """
    task_run_id, flow_run_id = run_ids()
    if flow_run_id is None:
        return Artifact(None, kind, key, None, pause)
    with _opening:
        if flow_run_id not in _boards:
            _boards[flow_run_id] = Board(flow_run_id)
            atexit.unregister(close_what_is_left)
            atexit.register(close_what_is_left)
        board = _boards[flow_run_id]
        return board.artifacts.setdefault(key, Artifact(board, kind, key, task_run_id, pause))


def run_ids() -> tuple[str | None, str | None]:
    """The ids of the task run and of the flow run that this is called in, where it is in one."""
    if "prefect.context" not in sys.modules:  # it takes seconds to import, and who has not is in no run
        return None, None
    from prefect.context import FlowRunContext, TaskRunContext

    task, flow = TaskRunContext.get(), FlowRunContext.get()
    task_run, flow_run = task.task_run if task else None, flow.flow_run if flow else None
    flow_run_id = flow_run.id if flow_run else task_run.flow_run_id if task_run else None
    return str(task_run.id) if task_run else None, str(flow_run_id) if flow_run_id else None


def close_artifacts(seconds: float = SECONDS_AT_END) -> None:
    """At the end of a run, wait until what it shows is sent: not for long, nor for a server that is gone."""
    _, flow_run_id = run_ids()
    if board := _boards.pop(flow_run_id or "", None):
        board.close(seconds)


def close_what_is_left() -> None:
    """Send what runs show that failed or were stopped, in little time, for somebody waits: before an embedded
    server ends, or where this process does."""
    while _boards:
        _boards.popitem()[1].close(SECONDS_AT_EXIT)


def artifact_key(*parts: str) -> str:
    """A key of such parts: lower-case letters, digits and dashes are all that Prefect takes.

    A part of anything else gets some letters of its digest, so that no two names have one key.
    """
    return "-".join(filter(None, map(_plain_part, parts)))


def _plain_part(text: str) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:LONGEST_PART]
    if plain == text:
        return plain
    return f"{plain}-{digest_bytes(text.encode('utf-8', 'surrogatepass'))[:6]}".strip("-")
