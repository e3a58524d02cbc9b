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

    def begin(run, stem="drums", content="settings", set_back=None, ends=0):
        monkeypatch.setattr(again, "_count_ends", lambda _: ends)
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
    ended = wish("1")
    ended.close()
    assert wish("1").occasions == ended.occasions  # no server heard of its end
    assert wish("2").occasions != ended.occasions
    retried = wish("3", ends=1)
    assert wish("3", ends=1).occasions == retried.occasions  # and it was killed
    assert wish("3", ends=2).occasions != retried.occasions


def test_what_is_set_back_in_a_run_that_was_completed_is_all_that_is_made_again(wish):
    completed = wish("1")
    completed.close()
    anew = wish("1", set_back={"generate-drums": "state"}, ends=1)
    assert anew.occasions == {**completed.occasions, "generate-drums": "state"}
    assert wish("1", set_back={"train-bass": "state"}, ends=1).occasions == anew.occasions
    assert wish("1", ends=1).occasions == anew.occasions  # the retry that made that again was killed
    other = wish("2", ends=1)
    other.close()
    assert wish("1", set_back={"mix": "state"}, ends=2).occasions == other.occasions


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


SET, SET_TO_PENDING = Failed(message="by hand"), Pending(message="by hand")
HISTORIES = {
    "failed": [[Running(), Failed()]],
    "crashed": [[Running(), Crashed()]],
    "done": [[Running(), Completed()]],
    "killed": [[Running()]],
    "heard-of-late": [[Running(), Completed()], [Pending()]],
    "crashed-at-its-end": [[Running(), Completed(), Crashed()]],
    "set-to-failed": [[Running(), Completed(), SET]],
    "set-to-pending": [[Running(), Completed(name="Cached"), SET_TO_PENDING]],
    "set-to-pending-and-crashed": [[Running(), Completed(), SET_TO_PENDING, Crashed()]],
    "set-back-and-killed": [[Completed(), SET], [Running()]],
    "set-back-and-failed": [[Completed(), SET], [Running(), Failed()]],
    "set-back-and-done": [[Completed(), SET], [Running(), Completed()]],
}
"""States of the task runs of one name, in each attempt."""


@task
def work():
    """Nothing."""


@flow
def retried():
    """Task runs with those histories; which of them are set back, and which states people gave them."""
    given = {}
    with get_client(sync_client=True) as client:
        for attempt in range(2):
            for name, histories in HISTORIES.items():
                for first, *later in histories[attempt : attempt + 1]:
                    key = f"{name}-{attempt}"
                    run = client.create_task_run(
                        work, runtime.flow_run.id, key, name=f"train-{name}", state=first
                    )
                    for state in later:
                        client.set_task_run_state(run.id, state, force=True)
                    for state in client.read_task_run_states(run.id):
                        if state.message == SET.message:
                            given[run.name] = str(state.id)
    return again.find_set_back(), given


def test_what_was_completed_and_set_back_is_wanted_again_until_it_was_done(prefect_server, monkeypatch):
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__RUN_COUNT", "2")
    found, given = retried()
    assert len(given) == 6
    del given["train-set-back-and-done"]
    assert found == given
