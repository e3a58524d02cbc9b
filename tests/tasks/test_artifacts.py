"""What a run shows on its page: read back from a real Prefect server, which may be slow, or gone, or back."""

import base64
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from markdown_it import MarkdownIt
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import running
from tasks.artifact_board import Artifact, Board, Content, NotYetError
from tasks.artifact_words import NOTHING, cell, code, escape, link, picture, table
from tasks.artifacts import artifact_key, close_artifacts, run_artifact, run_ids
from tasks.links import link_runs
from tasks.progress import Progress, RunProgress, TrainingProgress
from tasks.stem_pictures import LearningPictures, thin_out
from tasks.tracking import TrackedStem
from tasks.workspace import Workspace
from tests.prefect_artifacts import artifacts_of
from wavenet.evaluation.baselines import Baselines
from wavenet.evaluation.plots import plot_loss
from wavenet.files import write_text
from wavenet.training.metrics import FINAL_BITS, HELDOUT_BITS, METRICS, SPEED, STEP, TRAIN_BITS

BASELINES = Baselines(uniform=8.0, unigram=5.0, order2=3.75, order4=3.5, unresolved=3.0)
NAMES = [
    "drums", "Drüms & Bass", "<b>x</b>", "[a](http://b/c)", "![a](http://b/c.png)", "*a* _b_ `c` ~~d~~",
    "a|b", "a\nb", "&lt;", "# 1", "<script>alert(1)</script>", "<http://a.b>", "a\\*b", "http://a_b.c/d_e",
    "a\udcffb",
]  # fmt: skip


@pytest.fixture
def run(prefect_server):
    """Call a function in a flow, or in a task of one; returns the run's artifacts by key."""

    def run(function, in_task=False):
        flow_run_ids = []

        @flow(name="showing")
        def showing():
            flow_run_ids.append(run_ids()[1])
            (task(function) if in_task else function)()
            close_artifacts(60)

        showing()
        return artifacts_of(flow_run_ids[0])

    return run


def show(key, text, soon=False, pause=0.0):
    run_artifact("markdown", key, pause).show(lambda: Content(text, ""), soon)


def test_progress_of_a_run_ends_at_100(run):
    def count():
        progress = Progress("ingest", 3)
        for _ in range(3):
            progress.advance()

    ingest = run(count)["progress-ingest"]
    assert ingest.type == "progress"
    assert ingest.data == 100
    assert ingest.description.startswith("**100%** ingest 3/3 took")


def test_what_is_not_done_is_never_told_as_100(run):
    assert run(lambda: RunProgress("ingest").show(0.99999, list))["progress-ingest"].data == 99.9


def test_what_is_no_stage_is_shown_only_if_it_takes_long(run, monkeypatch):
    def measure():
        RunProgress("floors").show(1.0, list)
        monkeypatch.setattr("tasks.progress.SECONDS_TO_BE_SHOWN", -1.0)
        RunProgress("prints").show(1.0, list)

    assert run(measure).keys() == {"progress-prints"}


def test_a_training_that_stops_early_ends_at_100_too(run):
    def train():
        progress = TrainingProgress("drums", 1000, BASELINES)
        progress.begin([])
        progress.report({STEP: 40, TRAIN_BITS: 3.0, SPEED: 10.0})
        progress.report({STEP: 40, FINAL_BITS: 3.0})

    shown = run(train, in_task=True)["progress-train-drums"]
    assert shown.data == 100
    assert "train drums 40/1000" in shown.description
    assert shown.task_run_id is not None


def test_parts_of_a_whole_are_one_artifact(run):
    def separate():
        whole = RunProgress("separate")
        first = RunProgress("separate", span=(0.0, 0.5))
        assert first.artifact is whole.artifact
        whole.show(0.0, list)
        first.show(0.5, lambda: ["song 1"])

    assert run(separate)["progress-separate"].data == 25


def test_outside_of_a_run_nothing_is_shown(capsys):
    Progress("ingest", 1).advance()
    show("nobody", "sees this", soon=True)
    close_artifacts()
    assert "nobody" not in capsys.readouterr().err


def test_what_a_run_that_failed_showed_last_is_sent_before_the_process_ends(prefect_server, tmp_path):
    script = tmp_path / "failing.py"
    script.write_text(FAILING)
    with temporary_settings():
        environment = {
            **os.environ,
            "PREFECT_API_URL": PREFECT_API_URL.value(),
            "PREFECT_LOGGING_LEVEL": "CRITICAL",
        }
    ended = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, timeout=120
    )
    assert "no more" in ended.stderr
    assert artifacts_of(ended.stdout.strip())["loss"].data == "last"


FAILING = """
import time
from prefect import flow
from tasks import artifacts
from tasks.artifact_board import Content
from tasks.artifacts import run_artifact, run_ids

artifacts.SECONDS_AT_EXIT = 60.0

@flow
def failing():
    print(run_ids()[1])
    for text in ("first", "last"):
        run_artifact("markdown", "loss", 60.0).show(lambda text=text: Content(text, ""))
        time.sleep(0.5)
    raise ValueError("no more")

failing()
"""


def test_a_task_that_is_run_again_renews_what_it_showed(run):
    def twice():
        show("loss-drums", "before")
        close_artifacts()
        show("loss-drums", "after")

    shown = run(twice)
    assert [(key, one.data) for key, one in shown.items()] == [("loss-drums", "after")]


def test_an_artifact_that_somebody_deleted_is_made_again(run):
    def delete():
        show("loss-drums", "before")
        while not (made := artifacts_of(run_ids()[1])):
            time.sleep(0.05)
        with get_client(sync_client=True) as client:
            client.delete_artifact(made["loss-drums"].id)
        show("loss-drums", "after")

    assert run(delete)["loss-drums"].data == "after"


def test_what_prefect_refuses_costs_a_remark_and_no_run(run, capsys):
    assert list(run(lambda: (show("No Key!", "a"), show("key", "b")))) == ["key"]
    assert "Prefect refuses to show No Key!" in capsys.readouterr().err


def test_what_cannot_be_drawn_costs_a_remark_and_no_run(run, capsys):
    def draw():
        run_artifact("markdown", "loss").show(lambda: 1 / 0)
        show("key", "b")

    assert list(run(draw)) == ["key"]
    assert "loss cannot be shown (ZeroDivisionError" in capsys.readouterr().err


class Server:
    """As much of Prefect's API as artifacts need, which can be slow or out of order."""

    def __init__(self):
        self.data, self.status, self.may_answer = [], 200, threading.Event()
        self.may_answer.set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.may_answer.wait(60)
                status, finding = server.status, self.path.endswith("filter")
                if status == 200 and not finding:
                    server.data.append(body["data"])
                answer = json.dumps([] if finding else {"id": "1"}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_PATCH = do_POST  # noqa: N815

            def do_GET(self):
                self.send_error(404)  # it knows of no tokens that make requests safe

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.http.server_port}/api"


@pytest.fixture
def server():
    server = Server()
    with temporary_settings({PREFECT_API_URL: server.url}):
        yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture
def board(server):
    board = Board("a-flow-run")
    yield board
    board.close(5)


def artifact_of(board, key="key", pause=0.0):
    return board.artifacts.setdefault(key, Artifact(board, "markdown", key, None, pause))


def show_texts(artifact, texts, seconds=0.0, made=None):
    """Show one text after another. made: when each was made that was."""

    def make(text):
        if made is not None:
            made.append(time.monotonic())
        return Content(text, "")

    for text in texts:
        artifact.show(lambda text=text: make(text))
        time.sleep(seconds)


def test_of_many_updates_few_are_sent_and_the_last_is_among_them(server, board):
    made = []
    show_texts(artifact_of(board, pause=0.5), map(str, range(100)), 0.01, made)
    assert board.close(60)
    assert server.data[-1] == "99"
    *in_time, _ = made  # the last does not wait
    assert all(after - before >= 0.49 for before, after in itertools.pairwise(in_time))


def test_what_shows_something_waits_for_no_server(server, board):
    server.may_answer.clear()
    show_texts(artifact_of(board), map(str, range(50)))
    assert server.data == []
    server.may_answer.set()
    assert board.close(60)
    assert server.data[-1] == "49"


def test_a_server_that_is_gone_holds_nothing_up_and_gets_all_when_it_is_back(
    server, board, capsys, monkeypatch
):
    monkeypatch.setattr("tasks.artifact_board.SECONDS_TO_REST", 0.2)
    server.status = 503
    show_texts(artifact_of(board), ["a", "b"], seconds=0.2)
    artifact_of(board, "other").show(lambda: Content("c", ""))
    begun = time.monotonic()
    assert not board.close(10)
    assert time.monotonic() - begun < 5
    server.status = 200
    wait_until(lambda: set(server.data) == {"b", "c"})
    assert capsys.readouterr().err.count("cannot be reached") == 1


@pytest.mark.parametrize("status", [503, 429], ids=["out of order", "busy"])
def test_the_end_of_a_run_asks_once_more_for_a_server_that_was_gone(server, board, status):
    server.status = status
    artifact_of(board).show(lambda: Content("a", ""))
    wait_until(lambda: board.rest)
    server.status = 200
    assert board.close(10)
    assert server.data == ["a"]


def test_what_a_run_that_was_stopped_showed_last_is_sent_before_its_own_server_ends(server, monkeypatch):
    monkeypatch.setattr("tasks.artifacts.run_ids", lambda: (None, "a-flow-run"))
    monkeypatch.setattr("tasks.artifacts.SECONDS_AT_EXIT", 60.0)
    with suppress(KeyboardInterrupt), running._api_at(server.url):
        show_texts(run_artifact("markdown", "key", 60.0), ["first"])
        wait_until(lambda: server.data == ["first"])
        show_texts(run_artifact("markdown", "key", 60.0), ["last"])
        raise KeyboardInterrupt
    assert server.data == ["first", "last"]


def test_what_takes_long_to_draw_is_drawn_seldom(server, board, monkeypatch):
    monkeypatch.setattr("tasks.artifact_board.SHARE_OF_TIME", 0.1)

    def draw(text):
        time.sleep(0.1)
        return Content(text, "")

    begun = time.monotonic()
    for number in range(100):
        artifact_of(board).show(lambda number=number: draw(str(number)))
        time.sleep(0.01)
    wait_until(lambda: server.data)
    assert len(server.data) <= 2 + (time.monotonic() - begun) / 1.0


def test_what_is_not_known_yet_is_asked_for_again_but_not_for_ever(server, board):
    asked = []

    def make():
        asked.append(1)
        if len(asked) < 3:
            raise NotYetError
        return Content("known", "")

    artifact_of(board, pause=0.05).show(make)
    wait_until(lambda: server.data == ["known"])

    def never():
        raise NotYetError

    artifact_of(board, "other", pause=0.05).show(never)
    begun = time.monotonic()
    assert board.close(10)
    assert time.monotonic() - begun < 5


def test_a_training_that_sees_no_outbox_does_not_look_for_its_mlflow_run(run, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("tasks.links.run_of", lambda *told: asked.append(told))
    tracked = TrackedStem(run="elsewhere", label="drums", system_seconds=None)
    assert run(lambda: link_runs(Workspace(root=tmp_path), "drums", tracked), in_task=True) == {}
    assert asked == []


def test_the_thread_ends_when_there_is_nothing_to_send(server, board, monkeypatch):
    monkeypatch.setattr("tasks.artifact_board.SECONDS_IDLE", 0.1)
    artifact_of(board).show(lambda: Content("a", ""))
    wait_until(lambda: board.thread is None)
    artifact_of(board).show(lambda: Content("b", ""))
    wait_until(lambda: server.data == ["a", "b"])


def wait_until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("name", [*NAMES, "", "---", "a" * 300])
def test_a_key_is_what_prefect_takes(name):
    assert re.fullmatch(r"loss(-[a-z0-9]+)*", artifact_key("loss", name))


def test_no_two_names_have_one_key():
    names = [*NAMES, "Drums", "drums!", "a" * 300, "a" * 301, "-drums"]
    assert len({artifact_key("loss", name) for name in names}) == len(names)


def read_markdown(text):
    """The tokens of inline markdown, as GitHub has it."""
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    return [child for token in parser.parse(text) for child in token.children or []]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_read_as_it_is(name):
    tokens = read_markdown(f"Of {escape(name)} nothing")
    assert {token.type for token in tokens} <= {"text", "text_special"}
    shown = "".join(token.content for token in tokens).replace(NOTHING, "")
    assert shown == f"Of {name} nothing".replace("\n", " ").replace("\udcff", "\\udcff")


@pytest.mark.parametrize("name", NAMES)
def test_any_name_fits_into_a_table_and_a_link(name):
    rows = read_markdown(table(["a", "b"], [[escape(name), "2"]]))
    assert len([token for token in rows if token.content]) >= 4
    opening, *_, closing = read_markdown(link(name, f"http://127.0.0.1/{name}"))
    assert (opening.type, closing.type) == ("link_open", "link_close")
    assert opening.attrs["href"].startswith("http://127.0.0.1/")


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_of_a_table_artifact_is_no_markup_where_it_is_read_as_markdown(name):
    tokens = read_markdown(cell(name))
    assert not {"html_inline", "link_open", "image"} & {token.type for token in tokens}
    assert cell(name).replace(NOTHING, "") == name.replace("\n", " ").replace("\udcff", "\\udcff")


@pytest.mark.parametrize("path", ["/a b/c", "/a`b", "/`a``b`", "mlflow ui --backend-store-uri 'a b'"])
def test_a_path_can_be_copied(path):
    (token,) = read_markdown(code(path))
    assert (token.type, token.content) == ("code_inline", path)


def write_rows(folder, rows):
    folder.mkdir(exist_ok=True)
    write_text(folder / METRICS, "".join(json.dumps(row) + "\n" for row in rows))


def picture_in(text):
    return base64.b64decode(re.search(r"data:image/png;base64,([^)]+)", text)[1])


def test_a_training_shows_its_curve_and_its_latest_sample(run, tmp_path):
    rows = [{STEP: n, TRAIN_BITS: 5 - n / 100, HELDOUT_BITS: 5.0} for n in range(0, 100, 10)]
    write_rows(tmp_path, rows)
    for step in (50, 9):
        folder = tmp_path / "samples" / f"step-{step:08d}"
        folder.mkdir(parents=True)
        (folder / "seed-0.png").write_bytes(f"picture of {step}".encode())

    def train():
        pictures = LearningPictures("Drüms", BASELINES, tmp_path)
        pictures.begin([])
        for row in rows:
            pictures.report(row)

    shown = run(train, in_task=True)
    loss, sample = shown[artifact_key("loss", "Drüms")], shown[artifact_key("sample", "Drüms")]
    assert picture_in(loss.description)[:4] == b"\x89PNG"
    words = [
        "Drüms at step 90, in bits per sample",
        "train 4.100",
        "held out 5.000",
        "best baseline, order4: 3.500",
    ]
    assert loss.description.split("\n\n")[1:] == words
    assert picture_in(sample.description) == b"picture of 50"
    assert sample.description.endswith("What Drüms plays after step 50")
    assert str(tmp_path / "samples") in sample.data


def test_what_is_shown_at_the_end_is_what_is_kept(run, tmp_path):
    rows = [{STEP: 2, TRAIN_BITS: 4.0}, {STEP: 2, FINAL_BITS: 3.25}]
    work, model = tmp_path / "work", tmp_path / "model"
    write_rows(work, rows[:1])
    write_rows(model, rows)
    plot_loss(rows, BASELINES.models, model / "loss.png")

    def train():
        pictures = LearningPictures("drums", BASELINES, work)
        pictures.begin(rows[:1])
        pictures.finish(model, model / "loss.png")
        shutil.rmtree(work)

    shown = run(train)
    assert picture_in(shown["loss-drums"].description) == (model / "loss.png").read_bytes()
    assert "all that is held out 3.250" in shown["loss-drums"].description
    assert "sample-drums" not in shown


def test_of_a_long_curve_enough_is_drawn_and_its_end():
    rows = [
        {STEP: n, TRAIN_BITS: 5.0, **({HELDOUT_BITS: 4.0} if n % 1000 == 0 else {})} for n in range(20001)
    ]
    thin = thin_out(rows, 100)
    assert len(thin) < 250
    assert thin == sorted(thin, key=lambda row: row[STEP])
    assert thin[-1] is rows[-1]
    assert sum(HELDOUT_BITS in row for row in thin) >= 10


def test_a_picture_is_inside_of_the_text():
    (token,) = read_markdown(picture(b"png", "a [curve]"))
    assert token.type == "image"
    assert picture_in(token.attrs["src"] + ")") == b"png"
