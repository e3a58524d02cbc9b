"""From outboxes to MLflow: entry by entry, each marked once it has arrived.

Knows nothing of what the entries are about. The invariants: what MLflow refuses for good is passed over with
a warning; what does not arrive waits and is tried again, each time later, and holds up its own run alone,
which artifacts do not; nothing is raised.
"""

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from tasks.tracking.entries import ARTIFACTS, Begin, End, Entry, Metrics
from tasks.tracking.failures import Patience, is_away, is_refused
from tasks.tracking.outbox import (
    Outbox,
    Sent,
    end_what_died,
    folders_of,
    outboxes_in,
    remove_if_told,
    store_of,
)
from tasks.tracking.store import find_or_make_experiment, open_client, tracking_uri, uri_of
from tasks.tracking.telling import tell
from tasks.tracking.words import ID_TAG
from tasks.workspace import Workspace
from wavenet.data.stores import public_address, public_text

ENTRIES_AT_ONCE = 100
ALL = ""
"""Whose patience it is where MLflow is away; no outbox is called so."""
Piece = tuple[list[Entry], int]
"""Entries that are told in one go, and the position behind them."""


class NotYet(Exception):  # noqa: N818
    """The run above this one is not there yet."""


class NotTried(Exception):  # noqa: N818
    """An artifact waits, as its store has just not taken another: each try may last minutes."""


class Delivery:
    """Tells one pipeline run's outboxes to one MLflow."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        self.workspace, self.folder = workspace, folder
        self.uri = uri_of(workspace, store_of(folder))
        self.patience: defaultdict[str, Patience] = defaultdict(Patience)
        self.is_store_away = False
        self.run_ids: dict[str, str] = {}

    @cached_property
    def client(self) -> Any:
        return open_client(self.uri)

    @cached_property
    def experiment(self) -> str:
        return find_or_make_experiment(self.workspace, self.uri, self.client)

    def deliver(self, force: bool = False) -> bool:
        """Tell what waits. force: also what could not be told a moment ago. Returns whether all is told."""
        self.is_store_away = False
        if force:
            self.patience.clear()
        told = [self._try(outbox, wait=force) for outbox in outboxes_in(self.folder)]
        if all(told):
            self.patience.clear()
        with suppress(FileNotFoundError):  # another removes it
            remove_if_told(self.folder)
        return all(told)

    def _try(self, outbox: Outbox, wait: bool) -> bool:
        """Returns whether all of one run is told. What fails is put off alone, unless MLflow is away."""
        if not (self.patience[ALL].is_over and self.patience[outbox.label].is_over):
            return False
        try:
            return self._deliver(outbox, wait)
        except NotYet:  # it costs nothing to look again
            return False
        except NotTried:
            self.patience[outbox.label].fail()
            return False
        except Exception as error:
            self.patience[ALL if is_away(error) else outbox.label].fail()
            self._warn(error)
            return False

    def _warn(self, error: Exception) -> None:
        if not isinstance(error, FileNotFoundError):  # another has told it all meanwhile
            warnings.warn(
                public_text(
                    f"MLflow at {self.uri} cannot be told ({error}); the run goes on, and what is missing "
                    "there is sent as soon as it can be, by the next run or by `waveband runs --sync`"
                ),
                stacklevel=5,
            )

    def _deliver(self, outbox: Outbox, wait: bool) -> bool:
        """Returns whether all of it is told. Raises what keeps something from being told."""
        with outbox.claimed(wait) as mine:
            if not mine:
                return False
            failure: Exception | None = None
            for entries, position in pieces(outbox):
                if isinstance(entries[0], Begin):
                    run_id: str | None = self._begin(outbox, entries[0])
                elif run_id := outbox.sent.run_id:
                    kept = self._tell(outbox, run_id, entries)
                    failure = failure or kept
                sent = outbox.sent.model_copy(update={"run_id": run_id})
                ended = sent.ended or isinstance(entries[-1], End)
                outbox.mark(sent.model_copy(update={"position": position, "ended": ended}))
                if sent.run_id:
                    self.run_ids[outbox.label] = sent.run_id  # known still when the outbox is gone
            if failure:
                raise failure
            return outbox.is_empty

    def _begin(self, outbox: Outbox, entry: Begin) -> str:
        """The id of the run, which is there already if an answer was lost."""
        tags = {**entry.tags, ID_TAG: outbox.key}
        if entry.parent:
            tags["mlflow.parentRunId"] = self._parent_of(entry.parent)
        if outbox.sent.tried and (found := self._find(outbox.key)):
            return found
        experiment = self.experiment
        outbox.mark(Sent(tried=True))
        made = self.client.create_run(experiment, run_name=entry.name, tags=tags, start_time=entry.when)
        return made.info.run_id

    def _parent_of(self, label: str) -> str:
        parent = Outbox(self.folder, label).sent.run_id
        if parent is None:
            raise NotYet
        return parent

    def _find(self, key: str) -> str | None:
        found = self.client.search_runs([self.experiment], f"tags.`{ID_TAG}` = '{key}'", max_results=1)
        return found[0].info.run_id if found else None

    def _tell(self, outbox: Outbox, run_id: str, entries: Sequence[Entry]) -> Exception | None:
        """Returns what kept an artifact from being told, which then waits behind all else."""
        if self.is_store_away and isinstance(entries[0], ARTIFACTS):
            outbox.add(*entries)
            return NotTried()
        try:
            tell(self.client, self.workspace, run_id, entries)
        except Exception as error:
            if is_refused(error):
                warnings.warn(
                    public_text(
                        f"MLflow: a run's {entries[0].kind} is not taken ({error}); the run goes on without"
                    ),
                    stacklevel=5,
                )
                return None
            if is_away(error) or not isinstance(entries[0], ARTIFACTS):
                raise
            outbox.add(*entries)
            self.is_store_away = True
            return error
        return None


def pieces(outbox: Outbox) -> Iterator[Piece]:
    """What was not told yet, with metrics that follow each other in one piece."""
    joined: list[Entry] = []
    last = 0
    for entry, position in outbox.unsent():
        full = len(joined) >= ENTRIES_AT_ONCE
        if joined and (full or not isinstance(entry, Metrics)):
            yield joined, last
            joined = []
        if isinstance(entry, Metrics):
            joined.append(entry)
        else:
            yield [entry], position
        last = position
    if joined:
        yield joined, last


def sync_outboxes(workspace: Workspace, tell_of: Callable[[str], None] | None = None) -> bool:
    """Tell what earlier runs could not, and end the runs whose process died.

    tell_of: takes a remark for people for each run; all MLflows are told then, and otherwise only the one in
    use. Returns whether all is told.
    """
    told = []
    for folder in folders_of(workspace):
        try:
            delivery = Delivery(workspace, folder)
            if tell_of is None and delivery.uri != tracking_uri(workspace):
                continue
            end_what_died(folder)
            told.append(delivery.deliver(force=tell_of is not None))
        except (OSError, ValueError, KeyError, TypeError) as error:
            warnings.warn(f"{folder}: cannot be read ({error}); delete it", stacklevel=2)
            continue
        if tell_of:
            tell_of(
                f"{folder.name}: {'all is told' if told[-1] else 'waits'} ({public_address(delivery.uri)})"
            )
    return all(told)
