"""What MLflow is told of a run, sooner or later: by a real store, by a real server that is killed."""

import json
import multiprocessing
import os
import sqlite3
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient

from tasks.tracking import (
    EXPERIMENT,
    download_weights,
    find_page,
    metrics_mirror,
    prefect_tags,
    promote_stems,
    read_runs,
    sync_outboxes,
    ui_command,
)
from tasks.tracking.entries import ARTIFACTS, Data, Metrics, Params, Text
from tasks.tracking.outbox import OUTBOX, STORE, Outbox, folders_of, new_outboxes, store_of
from tasks.tracking.store import make_database
from tasks.tracking.system import SystemSampler
from tasks.tracking.telling import tell
from tests.databases import MLFLOW, copy_database
from tests.loopback import free_port, wait_for
from tests.mlflow_server import MlflowServer
from tests.small_training import shard_folder
from tests.tracked_runs import band, client, place
from wavenet.config import load_config
from wavenet.errors import ConfigError

__all__ = ["band", "client", "place", "shard_folder"]
CURVE = "train/bits_per_sample"


@pytest.fixture(scope="module")
def started_server(tmp_path_factory):
    """Starting one takes seconds; who kills it starts it again."""
    server = MlflowServer(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def server(started_server, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", started_server.url)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    yield started_server
    if started_server.process is None:
        started_server.start()


def runs_of(client):
    """Parents and children, the newest first."""
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    runs = client.search_runs([experiment], order_by=["attributes.start_time DESC"])
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    return [run for run in runs if run not in children], children


def steps_of(client, run, name=CURVE):
    return [metric.step for metric in client.get_metric_history(run.info.run_id, name)]


def test_runs_are_named_by_what_distinguishes_them_and_described(band, client):
    band.run(
        "training.steps=8", "stems.drums.training.seed=2", "stems.bass.training.seed=3", "mix.clip_mode=none"
    )
    (parent,), (child,) = runs_of(client)
    assert parent.info.run_name == "songs tiny (drums.seed=2, bass.seed=3, clip_mode=none and 1 more)"
    assert child.info.run_name == "drums, steps=8, seed=2 (songs tiny)"
    assert "3.000 bits per sample" in child.data.tags["mlflow.note.content"]
    assert "-14%" in child.data.tags["mlflow.note.content"]
    assert "Trained in 1:01" in child.data.tags["mlflow.note.content"]
    assert child.data.tags["stem"] == "drums"
    assert child.data.params["data.sample_rate"] == "2000"
    (dataset,) = [item.dataset for item in child.inputs.dataset_inputs]
    assert dataset.digest == band.shards.digest
    assert {run.info.status for run in (parent, child)} == {"FINISHED"}
    assert folders_of(band.place) == []


def test_a_stem_links_to_prefect(band, client):
    config = load_config([]).for_stem("drums")
    with band.tracked() as tracker:
        tracker.start_stem(band.place, "drums", config, band.shards, prefect_tags("flow_run", "f-1"))
        tracker.tag_stem("drums", prefect_tags("task_run", "t-1", "http://127.0.0.1:4200/runs/task-run/t-1"))
        tracker.log_training(band.place, "drums", band.model(1, 3.0), band.beside, False)
        run_id = tracker.run_id("drums")
    _, (child,) = runs_of(client)
    assert child.info.run_id == run_id
    assert child.data.tags["prefect.flow_run_id"] == "f-1"
    assert child.data.tags["prefect.task_run_url"].endswith("/t-1")
    assert "[task run in Prefect](http://127.0.0.1:4200" in child.data.tags["mlflow.note.content"]


class StoredAtOnce(dict):
    """Stores what two threads bring when both have come."""

    def __init__(self):
        super().__init__()
        self.both = threading.Barrier(2)

    def __setitem__(self, key, value):
        self.both.wait(60)
        super().__setitem__(key, value)


def test_two_stems_that_start_at_once_are_two_runs_whatever_letters_name_them(band, client):
    config = load_config([])
    with band.tracked() as tracker, ThreadPoolExecutor() as pool:
        tracker.stems = StoredAtOnce()
        begun = [
            pool.submit(tracker.start_stem, band.place, stem, config.for_stem(stem), band.shards)
            for stem in ("ドラム", "ベース")
        ]
        labels = {one.result().label for one in begun}
    _, children = runs_of(client)
    assert len(labels) == 2
    assert {child.data.tags["stem"] for child in children} == {"ドラム", "ベース"}


def test_the_outbox_of_a_stem_is_called_by_its_name(band):
    with band.tracked() as tracker:
        tracked = tracker.start_stem(band.place, "drums", load_config([]).for_stem("drums"), band.shards)
    assert tracked.label.startswith("drums-")


def test_long_params_and_lists_and_many_of_them_break_nothing(band, client):
    long = {f"stems.drums.model.key{number}": number for number in range(150)}
    names = [f"weight.{number}" for number in range(5000)]
    with band.tracked() as tracker:
        tracker._tell(tracker.parent, Params(values={}))
        tracker.start(
            {
                **long,
                "freeze": names,
                "freeze2": [*names, "more"],
                "short": ["a", "b"],
                "ключ {}": 1,
                "k" * 300: 2,
            },
            {},
        )
    (parent, *_), _ = runs_of(client)
    params = parent.data.params
    assert params["stems.drums.model.key149"] == "149"
    assert params["short"] == "a, b"
    assert params["freeze"] != params["freeze2"]
    assert max(map(len, params.values())) <= 500
    assert params["ключ __"] == "1"
    assert max(map(len, params)) == 250


def test_the_machine_is_looked_at_in_a_training_and_not_where_that_is_off(band, client):
    band.run()
    band.run(system_metrics=False, seed=2)
    _, (without, with_it) = runs_of(client)
    assert with_it.data.metrics["system/system_memory_usage_megabytes"] > 100
    assert steps_of(client, with_it, "system/cpu_utilization_percentage") == [0]
    assert not [name for name in without.data.metrics if name.startswith("system/")]


def test_figures_of_cards_are_there_where_their_library_is(monkeypatch):
    from mlflow.system_metrics.metrics import gpu_monitor

    memory, rates = SimpleNamespace(used=4e9, total=8e9), SimpleNamespace(gpu=75)
    library = SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetMemoryInfo=lambda card: memory,
        nvmlDeviceGetUtilizationRates=lambda card: rates,
        nvmlDeviceGetPowerUsage=lambda card: 100_000,
        nvmlDeviceGetEnforcedPowerLimit=lambda card: 400_000,
    )
    monkeypatch.setitem(sys.modules, "pynvml", library)
    monkeypatch.setattr(gpu_monitor, "pynvml", library, raising=False)
    seen = SystemSampler().sample()
    assert (seen["system/gpu_0_utilization_percentage"], seen["system/gpu_0_memory_usage_percentage"]) == (
        75,
        50,
    )
    monkeypatch.setattr(library, "nvmlDeviceGetCount", lambda: 1 / 0)
    assert not [name for name in SystemSampler().sample() if "gpu" in name]


def test_looks_at_the_machine_come_by_the_clock_and_end_with_the_training(band, client):
    config = load_config([]).for_stem("drums")
    with band.tracked(system_seconds=1) as tracker:
        tracked = tracker.start_stem(band.place, "drums", config, band.shards)

        def looks():
            drums = client.get_run(tracker.run_id("drums"))
            return len(steps_of(client, drums, "system/cpu_utilization_percentage"))

        begun = time.monotonic()
        with metrics_mirror(band.place, tracked):
            wait_for(lambda: tracker.run_id("drums") and looks() >= 2)
        seen = looks()
        assert seen <= time.monotonic() - begun
        time.sleep(2.5)
        assert looks() == seen


def test_a_report_never_waits_for_mlflow(band, monkeypatch):
    asked, may_answer, waited_long = threading.Event(), threading.Event(), []

    def answer_late(*_):
        if threading.current_thread().name == "mlflow-courier":
            asked.set()
            waited_long.append(not may_answer.wait(60))

    def meanwhile(step):
        if step == 2:
            assert asked.wait(60)
        if step == 50:
            may_answer.set()

    monkeypatch.setattr("tasks.tracking.delivery.tell", answer_late)
    band.run(meanwhile=meanwhile, steps=50)
    assert waited_long
    assert not any(waited_long)


def test_metrics_are_complete_where_mlflow_is_killed_in_a_training_and_comes_back(band, server):
    def meanwhile(step):
        if step == 2:
            server.kill()
        if step == 4:
            time.sleep(2.5)  # the courier has found nobody
            server.start()

    with pytest.warns(UserWarning, match="the run goes on"):
        band.run(meanwhile=meanwhile, steps=5)
    client = MlflowClient(server.url)
    _, (child, *_) = runs_of(client)
    assert steps_of(client, child) == [1, 2, 3, 4, 5]
    assert child.info.status == "FINISHED"
    assert folders_of(band.place) == []


def test_what_comes_back_only_after_the_run_is_told_by_the_next_one_or_by_sync(band, server):
    with pytest.warns(UserWarning, match="runs --sync"):
        band.run(meanwhile=lambda step: server.kill() if step == 2 else None, steps=5, seed=7)
    assert len(folders_of(band.place)) == 1
    with pytest.warns(UserWarning, match="cannot be told"):
        assert not sync_outboxes(band.place, print)
    server.start()
    lines = []
    assert sync_outboxes(band.place, lines.append)
    assert "all is told" in lines[0]
    client = MlflowClient(server.url)
    _, (child, *_) = runs_of(client)
    assert steps_of(client, child) == [1, 2, 3, 4, 5]
    assert (child.info.status, child.data.metrics["final/heldout_bits_per_sample"]) == ("FINISHED", 3.0)
    assert child.info.end_time - child.info.start_time < 60_000
    assert [
        version.tags["stem"] for version in client.search_model_versions(f"run_id = '{child.info.run_id}'")
    ]


def test_an_mlflow_that_was_away_all_along_is_told_the_whole_run_later(band, server):
    server.kill()
    with pytest.warns(UserWarning, match="the run goes on"):
        tracker = band.run("training.seed=77", seed=8)
    assert (tracker.run_id(), tracker.url()) == (None, None)
    server.start()
    later = band.run("training.seed=78", seed=9)
    assert later.url("drums").startswith(f"{server.url}/#/experiments/")
    client = MlflowClient(server.url)
    _, children = runs_of(client)
    (missed,) = [child for child in children if child.data.params["training.seed"] == "77"]
    assert steps_of(client, missed) == [1, 2, 3]
    assert client.get_run(missed.data.tags["mlflow.parentRunId"]).info.status == "FINISHED"
    assert folders_of(band.place) == []


def test_the_curve_of_a_training_on_a_machine_that_sees_no_outbox_comes_with_its_model(
    band, client, tmp_path
):
    elsewhere = type(band.place)(root=tmp_path / "elsewhere")
    with band.tracked() as tracker:
        tracked = tracker.start_stem(band.place, "drums", load_config([]).for_stem("drums"), band.shards)
        with metrics_mirror(elsewhere, tracked) as mirror:
            mirror.report({"step": 1, CURVE: 5.9})
        model = band.model(1, 3.0)
        for _ in range(2):
            tracker.log_training(band.place, "drums", model, band.beside, reused=False)
    _, (child,) = runs_of(client)
    assert steps_of(client, child) == [1, 2, 3]
    assert child.data.metrics["final/heldout_bits_per_sample"] == 3.0


def test_the_curve_that_a_training_has_told_is_not_told_again_by_its_model(band, client):
    band.run()
    band.run(seed=2, reused=True)
    _, children = runs_of(client)
    assert [steps_of(client, child) for child in children] == [[1, 2, 3], [1, 2, 3]]


def test_what_is_told_twice_is_there_once(band, client):
    config = load_config([]).for_stem("drums")
    with band.tracked() as tracker:
        tracked = tracker.start_stem(band.place, "drums", config, band.shards)
        with metrics_mirror(band.place, tracked) as mirror:
            mirror.report({"step": 1, CURVE: 5.0})
        outbox = tracker.stems["drums"].outbox
        outbox.mark(outbox.sent.model_copy(update={"position": 0, "run_id": None}))  # as if marks were lost
        tracker.delivery.deliver()
    _, (child,) = runs_of(client)
    assert steps_of(client, child) == [1]


def test_what_mlflow_refuses_holds_up_nothing(band, client):
    with band.tracked() as tracker, pytest.warns(UserWarning, match="params is not taken"):
        tracker._tell(
            tracker.parent, Params(values={"ingest.sample_rate": "changed"}), Text(text="x", to="x.txt")
        )
    (parent,), _ = runs_of(client)
    assert "x.txt" in {item.path for item in client.list_artifacts(parent.info.run_id)}


def test_artifacts_that_cannot_be_stored_hold_up_nothing_and_are_told_once_they_can(band, client):
    closed = band.place.root / "mlflow-artifacts"
    closed.write_text("a file, where MLflow wants a folder")
    with pytest.warns(UserWarning, match="cannot be told"):
        band.run(stems=["drums", "bass"])
    (parent,), children = runs_of(client)
    assert [steps_of(client, child) for child in children] == [[1, 2, 3], [1, 2, 3]]
    assert all("final/best_simple_bits" in child.data.metrics for child in children)
    assert {run.info.status for run in (parent, *children)} == {"FINISHED"}
    with pytest.warns(UserWarning, match="cannot be told"):
        assert not sync_outboxes(band.place, print)
    closed.unlink()
    assert sync_outboxes(band.place, print)
    for child in children:
        assert "take/take.wav" in {item.path for item in client.list_artifacts(child.info.run_id, "take")}
        assert client.search_model_versions(f"run_id = '{child.info.run_id}'")
    assert [model.status for model in client.search_logged_models(["1"])] == ["READY", "READY"]
    assert folders_of(band.place) == []


def test_a_store_of_artifacts_that_is_away_is_asked_once_each_time(band, monkeypatch):
    """Each try may last minutes, and a training holds its device meanwhile."""
    asked = []

    def count(client, workspace, run_id, entries):
        if isinstance(entries[0], ARTIFACTS):
            asked.append(entries[0])
            raise PermissionError("no keys")
        tell(client, workspace, run_id, entries)

    monkeypatch.setattr("tasks.tracking.delivery.tell", count)
    with pytest.warns(UserWarning, match="cannot be told"):
        band.run(stems=["drums", "bass"])
    asked.clear()
    with pytest.warns(UserWarning, match="cannot be told"):
        assert not sync_outboxes(band.place, print)
    assert len(asked) == 1
    monkeypatch.undo()
    assert sync_outboxes(band.place, print)


def test_a_run_that_cannot_be_told_holds_up_no_other(band, client, monkeypatch):
    def fail_for_bass(client, workspace, run_id, entries):
        if isinstance(entries[0], Data) and client.get_run(run_id).data.tags["stem"] == "bass":
            raise RuntimeError("no room in the database")
        tell(client, workspace, run_id, entries)

    monkeypatch.setattr("tasks.tracking.delivery.tell", fail_for_bass)
    with pytest.warns(UserWarning, match="no room"):
        band.run(stems=["bass", "drums"])
    (parent,), children = runs_of(client)
    told = {child.data.tags["stem"]: (child.info.status, steps_of(client, child)) for child in children}
    assert told == {"bass": ("RUNNING", []), "drums": ("FINISHED", [1, 2, 3])}
    assert parent.info.status == "FINISHED"
    monkeypatch.undo()
    assert sync_outboxes(band.place)
    assert steps_of(client, children[0]) == steps_of(client, children[1]) == [1, 2, 3]


def test_an_mlflow_that_is_away_is_asked_once_and_not_by_every_run(band, server, monkeypatch):
    config = load_config([])
    asked = []

    def count(*told):
        asked.append(told)
        tell(*told)

    with band.tracked() as tracker:
        for stem in ("drums", "bass"):
            tracker.start_stem(band.place, stem, config.for_stem(stem), band.shards)
        server.kill()
        for outbox in (tracker.parent, *(one.outbox for one in tracker.stems.values())):
            outbox.add(Params(values={"more": "1"}))
        monkeypatch.setattr("tasks.tracking.delivery.tell", count)
        with pytest.warns(UserWarning, match="cannot be told"):
            tracker.delivery.deliver(force=True)
        assert len(asked) == 1
        server.start()
    assert folders_of(band.place) == []


def test_after_an_experiment_was_deleted_runs_are_in_one_beside_it_which_is_said_once(band, client, capsys):
    files = (band.place.root / "mlflow-artifacts").as_uri()
    client.delete_experiment(client.create_experiment(EXPERIMENT, files))
    first, second = band.run(), band.run(seed=2)
    places = {client.get_run(one.run_id()).info.experiment_id for one in (first, second)}
    (beside,) = [client.get_experiment(place) for place in places]
    assert beside.name.startswith(f"{EXPERIMENT} ")
    assert capsys.readouterr().err.count("was deleted") == 1
    assert len(read_runs(band.place)) == 2
    assert folders_of(band.place) == []


def test_a_database_is_made_anew_where_a_process_of_the_same_number_was_killed_making_it(
    tmp_path, mlflow_database
):
    half = tmp_path / f".{MLFLOW}-{os.getpid()}"
    copy_database(mlflow_database, half)
    with closing(sqlite3.connect(half)) as opened, opened:
        opened.execute("DELETE FROM alembic_version")
    half.with_name(f"{half.name}-journal").write_bytes(b"of another")
    make_database(f"sqlite:///{tmp_path / MLFLOW}")
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / MLFLOW}")
    assert client.get_experiment_by_name("Default")
    assert [path.name for path in tmp_path.iterdir()] == [str(MLFLOW)]


def test_no_message_tells_the_password_of_a_server(band, monkeypatch, tmp_path, recwarn):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{free_port()}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    told = [ui_command(band.place)]
    band.run()
    sync_outboxes(band.place, told.append)
    find_page(band.place, "run")
    for ask in (
        lambda: promote_stems(band.place, ["drums"]),
        lambda: read_runs(band.place),
        lambda: download_weights(band.place, "models:/waveband-drums/1", tmp_path),
    ):
        with pytest.raises(ConfigError, match="cannot be reached") as refused:
            ask()
        told.append(str(refused.value))
    told += [text for one in recwarn if "MLflow" in (text := str(one.message))]
    assert len(told) >= 7
    assert all("127.0.0.1" in text and "secret" not in text for text in told)


def test_an_mlflow_that_is_named_with_a_password_is_kept_for_its_owner_alone(place):
    modes = {}
    for named in ("https://me:secret@host", "https://host", None):
        with new_outboxes(place, f"run-{len(modes)}", named) as folder:
            modes[named] = (folder / STORE).stat().st_mode & 0o777
            assert store_of(folder) == named
    assert list(modes.values()) == [0o600, 0o644, 0o644]


def begin_and_die(band):
    with band.tracked() as tracker:
        config = load_config([]).for_stem("drums")
        tracked = tracker.start_stem(band.place, "drums", config, band.shards)
        with metrics_mirror(band.place, tracked) as mirror:
            mirror.report({"step": 1, CURVE: 5.0})
            outbox = tracker.stems["drums"].outbox
            with outbox.path.open("ab") as stream:
                stream.write(b'{"kind": "met')
            os._exit(9)


def test_a_run_whose_process_was_killed_is_ended_and_completed_by_the_next(band, client):
    process = multiprocessing.get_context("spawn").Process(target=begin_and_die, args=(band,))
    process.start()
    process.join(120)
    assert process.exitcode == 9
    (parent,), _ = runs_of(client)
    assert parent.info.status == "RUNNING"
    band.run(seed=2)
    parents, children = runs_of(client)
    assert [run.info.status for run in parents] == ["FINISHED", "KILLED"]
    assert [run.info.status for run in children] == ["FINISHED", "KILLED"]
    assert steps_of(client, children[1]) == [1]
    assert folders_of(band.place) == []


def test_a_run_under_way_is_not_ended_by_another(band, client):
    with band.tracked(name="slow"):
        band.run()
        running = client.search_runs(["1"], "attributes.status = 'RUNNING'")
        assert [run.info.run_name for run in running] == ["slow"]


def test_a_run_that_has_told_nothing_yet_is_let_be_and_one_that_never_will_is_removed(place):
    with new_outboxes(place, "young", None) as folder:
        sync_outboxes(place)
        assert folder.exists()
    sync_outboxes(place)
    assert not folder.exists()


def test_an_entry_after_a_torn_line_is_whole(tmp_path):
    outbox = Outbox(tmp_path, "parent")
    outbox.add(Text(text="one", to="one.txt"))
    with outbox.path.open("ab") as stream:
        stream.write(b'{"kind": "te')
    outbox.add(Metrics(rows=[(1, 2, {"loss": float("nan")})]))
    told = [entry for entry, _ in outbox.unsent()]
    assert told[0] == Text(text="one", to="one.txt")
    assert str(told[1].rows[0][2]["loss"]) == "nan"
    assert len(told) == 2


def test_a_moved_workspace_tells_its_own_store_where_it_is_now(band, client, monkeypatch, tmp_path):
    monkeypatch.setattr("tasks.tracking.pipeline.Delivery.deliver", lambda *_, **__: False)
    band.run()
    monkeypatch.undo()
    moved = tmp_path / "moved"
    band.place.root.rename(moved)
    assert sync_outboxes(type(band.place)(root=moved))
    assert not list((moved / OUTBOX).iterdir())
    client = MlflowClient(tracking_uri=f"sqlite:///{moved}/mlflow.db")
    _, (child,) = runs_of(client)
    assert steps_of(client, child) == [1, 2, 3]
    assert json.loads((moved / "store/models/drums-1" / "config.json").read_text())["stem"] == "drums"
