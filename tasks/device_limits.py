"""A device's global concurrency limit in Prefect, `waveband HOST DEVICE`, taken while a training has it.

So the UI shows what is taken, and a person may set the limit to 0 to keep a device free. It is asked for with
a client of its own each time: Prefect's `concurrency` keeps one for each name as long as the process lives,
and would go on asking a server that the run has left. Knows nothing of who else wants the device.
"""

import contextlib
import contextvars
import platform
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.exceptions import ObjectNotFound

from tasks.stopping import Waiting
from wavenet.errors import TrainingStoppedError

LEASE_SECONDS = 60.0
"""How long a limit looks taken after its holder was killed, where a server looks after that."""
SECONDS_BETWEEN_ASKS, SECONDS_BETWEEN_RENEWALS = 2.0, 30.0


def name_limit(device: str) -> str:
    """As the UI shows it."""
    return f"waveband {platform.node()} {device}"


@contextmanager
def occupied(device: str) -> Iterator[None]:
    """Occupy a device's limit, waiting while it is 0. A Prefect that cannot be reached stops no training."""
    name = name_limit(device)
    try:
        lease = _take(name)
    except TrainingStoppedError:
        raise
    except Exception as error:
        print(f"Prefect's limit '{name}' cannot be used ({error}); going on", file=sys.stderr, flush=True)
        yield
        return
    with _renewed(lease):
        try:
            yield
        finally:
            with contextlib.suppress(Exception), get_client(sync_client=True) as client:
                client.release_concurrency_slots_with_lease(lease)  # the server may be gone by now


def _take(name: str) -> UUID:
    """The lease of a limit's one slot."""
    with get_client(sync_client=True) as client:
        waiting = Waiting(f"Prefect's limit '{name}', which lets no training run")
        while (lease := _ask(client, name)) is None:
            waiting.look()
            time.sleep(SECONDS_BETWEEN_ASKS)
        return lease


def _make_free(client: SyncPrefectClient, name: str) -> int:
    """Make the limit, or free what a killed run left occupied: who asks holds the device. Its slots."""
    try:
        limit = client.read_global_concurrency_limit_by_name(name)
    except ObjectNotFound:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))
        return 1
    if limit.active_slots:
        client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(active_slots=0))
    return limit.limit


def _ask(client: SyncPrefectClient, name: str) -> UUID | None:
    if _make_free(client, name) == 0:  # which Prefect refuses to be asked for
        return None
    try:
        answer = client.increment_concurrency_slots_with_lease([name], 1, "concurrency", LEASE_SECONDS)
        return UUID(answer.json()["lease_id"])
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.LOCKED:
            raise
        return None


@contextmanager
def _renewed(lease: UUID) -> Iterator[None]:
    """Renew a lease in a thread for as long as the block lasts."""
    over = threading.Event()

    def renew() -> None:
        while not over.wait(SECONDS_BETWEEN_RENEWALS):
            with contextlib.suppress(Exception), get_client(sync_client=True) as client:
                client.renew_concurrency_lease(lease, LEASE_SECONDS)

    context = contextvars.copy_context()  # or it would not know which server to ask
    threading.Thread(target=context.run, args=(renew,), daemon=True).start()
    try:
        yield
    finally:
        over.set()
