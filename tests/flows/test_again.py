"""Task runs that are wanted again: those that a person set back, and none that Prefect heard of too late."""

import pytest
from prefect import flow, runtime, task
from prefect.client.orchestration import get_client
from prefect.states import Completed, Crashed, Failed, Pending, Running

from flows import again

STATES = {
    "train-failed": Failed(),
    "train-crashed": Crashed(),
    "train-done": Completed(),
    "train-killed": Running(),
    "train-waits": Pending(),
}


@flow(log_prints=False)
def retried(to):
    """Make task runs in such states, and one that was completed and then set back; find them."""
    with get_client(sync_client=True) as client:
        for name, state in STATES.items():
            client.create_task_run(work, runtime.flow_run.id, name, name=name, state=state)
        ended = client.create_task_run(work, runtime.flow_run.id, "set-back", name="train-set-back")
        for state in (Running(), Completed(), {"failed": Failed(), "pending": Pending()}[to]):
            client.set_task_run_state(ended.id, state, force=True)
    return again.find_set_back()


@task
def work():
    """Nothing."""


@pytest.mark.parametrize("to", ["failed", "pending"])
def test_what_failed_or_was_set_back_is_wanted_again_and_what_was_killed_is_not(
    to, prefect_server, monkeypatch
):
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__RUN_COUNT", "2")
    assert retried(to) == {"train-failed", "train-crashed", "train-set-back"}
