"""What is wanted again: named stems, once each, and task runs that a person set back."""

import pytest
from prefect import flow, runtime, task
from prefect.client.orchestration import get_client
from prefect.states import Completed, Crashed, Failed, Pending, Running

from flows import again
from flows.again import Again
from tasks.workspace import Workspace


@pytest.fixture
def wish(tmp_path, monkeypatch):
    """Have a flow run of that id begin, and tell on which occasions it makes a stem again."""
    place = Workspace(root=tmp_path)
    monkeypatch.setattr(again, "_was_completed", lambda run: run.startswith("completed"))

    def begin(run, stem="drums", content="settings", set_back=None):
        monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__ID", run)
        begun = Again(place, [stem], set_back)
        begun.of_stem(stem, content)
        return begun

    return begin


def test_a_wish_is_one_until_a_run_that_was_given_it_has_ended(wish):
    killed = wish("1")
    assert set(killed.occasions) == {"train-drums", "generate-drums"}
    assert wish("2").occasions == killed.occasions
    beside = wish("3")
    assert beside.occasions == killed.occasions
    beside.close()
    assert wish("2").occasions == killed.occasions  # a retry of one that had not ended
    assert wish("4").occasions != killed.occasions


def test_a_retry_goes_on_with_its_wish_unless_its_run_was_completed(wish):
    for run, same in (("lost", True), ("completed", False)):
        ended = wish(run)
        ended.close()  # of the one, no server heard that
        assert (wish(run).occasions == ended.occasions) == same


def test_what_others_want_is_another_wish(wish):
    killed = wish("1")
    for other in (wish("2", stem="bass"), wish("3", content="other settings")):
        other.close()
    assert wish("4").occasions == killed.occasions


def test_what_is_set_back_in_a_run_that_makes_a_stem_again_is_wanted_anew_and_once(wish):
    killed = wish("1")
    anew = wish("1", set_back={"train-drums": "state"})
    assert anew.occasions == {"train-drums": "state", "generate-drums": "state"}
    assert wish("1").occasions == anew.occasions != killed.occasions


def test_a_take_that_is_set_back_is_played_anew_and_nothing_is_trained(tmp_path):
    run = Again(Workspace(root=tmp_path), [], {"generate-drums": "state"})
    assert run.of_stem("drums", {}) == {"generate": "state"}
    assert run.of_stem("bass", {}) == {}


def test_the_mix_follows_and_is_made_once(wish, tmp_path):
    mixes = [wish("1").of_mix(), wish("2").of_mix()]
    assert mixes[0] == mixes[1] is not None
    assert wish("2", stem="bass").of_mix() != mixes[0]
    assert Again(Workspace(root=tmp_path)).of_mix() is None
    assert Again(Workspace(root=tmp_path), [], {"mix": "state"}).of_mix() is not None


@pytest.mark.parametrize("damage", ["[]", "{", '{"runs": 7}'])
def test_a_wish_that_cannot_be_read_is_none(wish, tmp_path, damage):
    killed = wish("1")
    (file,) = (tmp_path / "again").iterdir()
    file.write_text(damage)
    assert wish("1").occasions != killed.occasions


def test_that_a_wish_cannot_be_kept_fails_no_run_that_has_ended(wish, monkeypatch, capsys):
    run = wish("1")

    def fail(*_):
        raise PermissionError("no more")

    monkeypatch.setattr(Workspace, "write", fail)
    run.close()
    assert "cannot be kept (no more)" in capsys.readouterr().err


HISTORIES = {
    "failed": [[Running(), Failed()]],
    "crashed": [[Running(), Crashed()]],
    "done": [[Running(), Completed()]],
    "killed": [[Running()]],
    "heard-of-late": [[Running(), Completed()], [Pending()]],
    "set-to-failed": [[Running(), Completed(), Failed()]],
    "set-to-pending": [[Running(), Completed(name="Cached"), Pending()]],
    "set-back-and-killed": [[Completed(), Failed()], [Running()]],
    "set-back-and-failed": [[Completed(), Failed()], [Running(), Failed()]],
    "set-back-and-done": [[Completed(), Failed()], [Running(), Completed()]],
}
"""States of the task runs of one name, in each attempt."""


@task
def work():
    """Nothing."""


@flow
def retried():
    """Task runs with those histories; which of them are set back, and the last state of each task run."""
    states = {}
    with get_client(sync_client=True) as client:
        for attempt in range(2):
            for name, histories in HISTORIES.items():
                for first, *later in histories[attempt : attempt + 1]:
                    run = client.create_task_run(
                        work, runtime.flow_run.id, f"{name}-{attempt}", name=name, state=first
                    )
                    for state in later:
                        client.set_task_run_state(run.id, state, force=True)
                    states[name, attempt] = str(client.read_task_run(run.id).state_id)
    return again.find_set_back(), states


def test_what_was_completed_and_set_back_is_wanted_again_until_it_was_done(prefect_server, monkeypatch):
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__RUN_COUNT", "2")
    found, states = retried()
    wanted = ("set-to-failed", "set-to-pending", "set-back-and-killed", "set-back-and-failed")
    assert found == {name: states[name, 0] for name in wanted}
