"""A claim on a name across machines that share nothing but a remote store.

The claim is a small file LOCK/NUMBER, made only if there is none of that number. Its holder writes it anew
now and then; one that has stayed the same for a minute, by the clock of whoever waits, is its holder's no
more, and the next number is anybody's. So no two clocks are compared. Knows nothing of what is claimed. The
invariant: of all who try to make one number, one does. What a holder that was thought dead goes on doing is
done twice: that costs time and nothing else, since what is made is named by its content.
"""

import json
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from tasks.stopping import Waiting
from wavenet.data.remote_folders import RemoteFolders
from wavenet.errors import ConfigError

RENEW_SECONDS = 15.0
LAPSE_SECONDS = 60.0
"""So long a claim stays the same before it counts as left behind."""
LOOK_SECONDS = 2.0


@dataclass(frozen=True)
class Claim:
    """What was seen of a lock: the highest number, and what its file says."""

    number: int
    content: bytes

    @property
    def machine(self) -> str:
        """Whose it is; nobody's where that cannot be read."""
        try:
            return str(json.loads(self.content)["machine"])
        except (ValueError, KeyError, TypeError):
            return ""


@contextmanager
def lease(store: RemoteFolders, name: str, machine: str) -> Iterator[None]:
    """Hold the only claim on a name; waits for it.

    machine: of which only one process at a time asks for this name, so that a claim of its own is one that a
    killed process left. Where the store cannot make files exclusively, nobody waits for anybody.
    """
    number = _acquire(store, name, machine)
    if number is None:
        yield
        return
    left = threading.Event()
    keeper = threading.Thread(target=_renew, args=(store, name, number, machine, left), daemon=True)
    keeper.start()
    try:
        yield
    finally:
        left.set()
        keeper.join()
        with suppress(ConfigError):  # the store is gone: the claim lapses by itself
            store.delete(f"{name}/{earlier:06d}" for earlier in range(number, 0, -1))


def _acquire(store: RemoteFolders, name: str, machine: str) -> int | None:
    """The number of a claim that is now held; None where the store knows no exclusive ones."""
    seen, since, waiting = None, time.monotonic(), Waiting(f"another machine that makes {name}")
    while True:
        claim = _look(store, name)
        if claim != seen:
            seen, since = claim, time.monotonic()
        lapsed = time.monotonic() - since > LAPSE_SECONDS
        if claim is None or claim.machine == machine or lapsed:
            number = claim.number + 1 if claim else 1
            made = store.create(f"{name}/{number:06d}", _content(machine))
            if made is None:
                return _tell_unlocked(store)
            if made:
                return number
            continue
        waiting.look()
        time.sleep(LOOK_SECONDS)


def _look(store: RemoteFolders, name: str) -> Claim | None:
    """The highest claim there is."""
    numbers = [int(file) for file in store.sizes(name) if file.isdigit()]
    if not numbers:
        return None
    try:
        return Claim(max(numbers), store.read(f"{name}/{max(numbers):06d}"))
    except FileNotFoundError:  # given up meanwhile
        return None


def _content(machine: str) -> bytes:
    return json.dumps({"machine": machine, "beat": uuid.uuid4().hex}).encode()


def _renew(store: RemoteFolders, name: str, number: int, machine: str, left: threading.Event) -> None:
    while not left.wait(RENEW_SECONDS):
        with suppress(ConfigError):  # the store is out of reach: it may come back in time
            store.write(f"{name}/{number:06d}", _content(machine))


_told: set[str] = set()


def _tell_unlocked(store: RemoteFolders) -> None:
    if store.address not in _told:
        _told.add(store.address)
        print(
            f"{store.address}: this store makes no file exclusively, so two machines may do the same work; "
            "it ends the same",
            file=sys.stderr,
        )
