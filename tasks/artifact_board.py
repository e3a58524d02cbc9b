"""Sends what a Prefect run shows, from a thread of its own.

Knows nothing of what is shown. The invariants: whoever hands something in neither fails nor waits; of each
artifact the newest alone is made and sent, no more often than once in some seconds; a server that is gone
costs a remark, and gets all of it when it is back.

Prefect's own functions are not used to send: they repeat all that is shown in an event of each update.
"""

import sys
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Literal

from wavenet.files import digest_bytes

Kind = Literal["progress", "table", "markdown"]

SHARE_OF_TIME = 0.02
"""Of a core, at most, that making one artifact may take."""
SECONDS_TO_REST, LONGEST_REST = 5.0, 300.0
"""After a failure; twice as long after each more."""
SECONDS_TO_ANSWER = 10.0
BUSY = {408, 425, 429}
"""Answers of a server that may be asked again: timeout, too early, too many requests."""
SECONDS_IDLE = 30.0


@dataclass(frozen=True)
class Content:
    """What an artifact shows. data: a percentage, rows as JSON, or markdown; description: markdown."""

    data: float | str
    description: str


class NotYetError(Exception):
    """What is to be shown is not known yet: ask again a little later."""


Make = Callable[[], Content | None]
"""Makes what is shown, in another thread; None where there is nothing new to show. May raise NotYetError."""


class Artifact:
    """One key of a run, which this process shows. Its board's lock guards what changes."""

    def __init__(
        self, board: "Board | None", kind: Kind, key: str, task_run_id: str | None, pause: float
    ) -> None:
        self.board, self.kind, self.key, self.task_run_id = board, kind, key, task_run_id
        self.pause, self.not_before = pause, 0.0
        self.waiting: Make | None = None
        self.soon = False
        self.id: str | None = None
        self.shown: str | None = None

    def show(self, make: Make, soon: bool = False) -> None:
        """Have something shown in place of what is; soon: as soon as can be, for what is the last."""
        if self.board is not None:
            self.board.take(self, make, soon)

    @property
    def due(self) -> float:
        return 0.0 if self.soon else self.not_before


class Board:
    """The artifacts of one flow run, as far as this process shows them; made inside the run."""

    def __init__(self, flow_run_id: str) -> None:
        self.flow_run_id, self.artifacts = flow_run_id, dict[str, Artifact]()
        self.context = copy_context()  # where Prefect keeps its settings, such as the server's address
        self.changed = threading.Condition()
        self.thread: threading.Thread | None = None
        self.rest, self.rests_until = 0.0, 0.0
        self.closing, self.told = False, set[str]()

    def take(self, artifact: Artifact, make: Make, soon: bool) -> None:
        """Keep what is to be shown, and wake whoever sends it."""
        with self.changed:
            news = soon or artifact.waiting is None
            artifact.waiting, artifact.soon = make, artifact.soon or soon
            if self.thread is None:
                run = self.context.copy().run
                self.thread = threading.Thread(target=run, args=[self._send_all], daemon=True)
                self.thread.start()
            elif news:
                self.changed.notify_all()

    def close(self, seconds: float) -> bool:
        """Wait until all is sent, unless there is nobody to send it to. Returns whether it is."""
        end = time.monotonic() + seconds
        with self.changed:
            self.closing, self.rest, self.rests_until = True, 0.0, 0.0  # it may be back
            for artifact in self.artifacts.values():
                artifact.soon = True
            self.changed.notify_all()
            while self.thread is not None and not self.rest and (left := end - time.monotonic()) > 0:
                self.changed.wait(left)
            return self.thread is None

    def _send_all(self) -> None:
        """Send what is due, until nothing has been for a while."""
        from prefect.client.orchestration import get_client
        from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

        try:
            with (
                temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),  # we have our own way to wait
                get_client(httpx_settings={"timeout": SECONDS_TO_ANSWER}, sync_client=True) as client,
            ):
                while (artifact := self._next()) is not None:
                    self._make_and_send(client, artifact)
        except Exception as error:  # there is no client to be had
            with self.changed:
                self._rest(error)
                self.thread = None

    def _next(self) -> Artifact | None:
        """The artifact that is due next, once it is; None, and the thread is over, where none comes."""
        ends = time.monotonic() + SECONDS_IDLE
        with self.changed:
            while True:
                waiting = [one for one in self.artifacts.values() if one.waiting]
                first = min(waiting, key=lambda one: one.due, default=None)
                if first is None and self.closing:
                    ends = 0.0
                pause = (max(first.due, self.rests_until) if first else ends) - time.monotonic()
                if pause > 0:
                    self.changed.wait(pause)
                    continue
                if first is None:
                    self.thread = None
                    self.changed.notify_all()
                return first

    def _make_and_send(self, client: Any, artifact: Artifact) -> None:
        with self.changed:
            make, artifact.waiting, artifact.soon = artifact.waiting, None, False
        begun = time.monotonic()
        content = self._make(artifact, make)
        made = time.monotonic()
        failure = self._try_to_send(client, artifact, content) if content else None
        with self.changed:
            artifact.not_before = made + max(artifact.pause, (made - begun) / SHARE_OF_TIME)
            if failure is not None:
                artifact.waiting = artifact.waiting or make
            self._rest(failure)

    def _make(self, artifact: Artifact, make: Make | None) -> Content | None:
        try:
            return make() if make else None
        except NotYetError:
            with self.changed:
                artifact.waiting = artifact.waiting or (None if self.closing else make)
            return None
        except Exception as error:  # a picture is never worth a run
            self._remark(f"{artifact.key} cannot be shown ({error!r}); the run goes on")
            return None

    def _try_to_send(self, client: Any, artifact: Artifact, content: Content) -> Exception | None:
        """Returns what kept it from being sent and may be over later."""
        digest = digest_bytes(repr(content).encode())
        if artifact.shown == digest:
            return None
        try:
            send_content(client, self.flow_run_id, artifact, content)
            artifact.shown = digest
        except Exception as error:  # httpx has many, and the server's refusals are among them
            if not is_refused(error):
                return error
            self._remark(f"Prefect refuses to show {artifact.key} ({error}); the run goes on")
        return None

    def _rest(self, failure: Exception | None) -> None:
        """After a failure nothing is sent for a while."""
        if failure is None:
            self.rest = self.rests_until = 0.0
            return
        self._remark(f"Prefect's server cannot be reached to show progress ({failure!r}); the run goes on")
        self.rest = min(LONGEST_REST, 2 * self.rest or SECONDS_TO_REST)
        self.rests_until = time.monotonic() + self.rest
        self.changed.notify_all()

    def _remark(self, text: str) -> None:
        """Once in a run, whatever differs at its end."""
        what, _, _ = text.partition(" (")
        if what not in self.told:
            self.told.add(what)
            print(text, file=sys.stderr, flush=True)


def is_refused(error: Exception) -> bool:
    """Whether a server that answered will not have it later either; one that is busy will."""
    return 400 <= status_of(error) < 500 and status_of(error) not in BUSY


def status_of(error: Exception) -> int:
    """What a server answered by; 0 where it did not."""
    return getattr(getattr(error, "response", None), "status_code", 0)


def send_content(client: Any, flow_run_id: str, artifact: Artifact, content: Content) -> None:
    """Renew what Prefect has of an artifact, or make it. Raises httpx's errors."""
    body = {"data": content.data, "description": content.description}
    artifact.id = artifact.id or _find(client, flow_run_id, artifact.key)
    if artifact.id:
        try:
            client.request("PATCH", "/artifacts/{id}", path_params={"id": artifact.id}, json=body)
            return
        except Exception as error:
            if status_of(error) != 404:  # somebody deleted it
                raise
    whose = {"flow_run_id": flow_run_id, "task_run_id": artifact.task_run_id}
    made = client.request(
        "POST", "/artifacts/", json={"type": artifact.kind, "key": artifact.key, **whose, **body}
    )
    artifact.id = made.json()["id"]


def _find(client: Any, flow_run_id: str, key: str) -> str | None:
    """The id that a key of a run has already: from a task run before, or another process."""
    asked = {"key": {"any_": [key]}, "flow_run_id": {"any_": [flow_run_id]}}
    found = client.request("POST", "/artifacts/filter", json={"artifacts": asked, "limit": 1}).json()
    return found[0]["id"] if found else None
