"""Which device a training has, and that no other training has it meanwhile.

A device is guarded twice. On this machine by an flock, which the system frees when its holder dies; and in
Prefect by a global concurrency limit of its own, `waveband HOST DEVICE`, so that the UI shows what is taken,
and a person may set it to 0 to keep a device free. Only who holds the flock takes the limit, so what a killed
run left occupied is freed by whoever is next. Knows nothing of what is trained.
"""

import contextlib
import fcntl
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.concurrency.sync import concurrency
from prefect.context import TaskRunContext
from prefect.exceptions import ObjectNotFound

AUTO, CPU = "auto", "cpu"
SECONDS_BETWEEN_LOOKS = 0.2
LEASE_SECONDS = 60.0


def list_slots(devices: Sequence[str]) -> list[str]:
    """Where trainings may run, one at a time in each: `cuda:0` ..., `cpu`.

    A device that is named twice has two slots; auto stands for every GPU there is, or the CPU."""
    slots: list[str] = []
    for device in devices:
        slots += _there_are() if device == AUTO else [device]
    return slots


def is_gpu(slot: str) -> bool:
    """Whether a training there leaves the processor's cores free."""
    return slot.startswith("cuda")


def _there_are() -> list[str]:
    import torch  # seconds

    return [f"cuda:{number}" for number in range(torch.cuda.device_count())] or [CPU]


@contextmanager
def lease_device(slots: Sequence[str]) -> Iterator[str]:
    """Hold the first slot that is free, waiting for one. Yields its device: cpu, cuda:0 ..."""
    with _held(_numbered(slots)) as device:
        yield device


@contextmanager
def lease_all(slots: Sequence[str]) -> Iterator[None]:
    """Hold every slot, for a training that several devices share. In order: no two wait for each other."""
    with contextlib.ExitStack() as stack:
        for name, device in _numbered(slots).items():
            stack.enter_context(_held({name: device}))
        yield


@contextmanager
def _held(names: dict[str, str]) -> Iterator[str]:
    with contextlib.ExitStack() as stack:
        device, name = stack.enter_context(_claimed(names))
        if TaskRunContext.get() is not None:
            stack.enter_context(_limited(f"waveband {platform.node()} {name}"))
        yield device


def _numbered(slots: Sequence[str]) -> dict[str, str]:
    """Devices by a name for each slot: cpu, cpu-2 ..."""
    names: dict[str, str] = {}
    for slot in slots:
        number = 1 + sum(device == slot for device in names.values())
        names[slot if number == 1 else f"{slot}-{number}"] = slot
    return names


@contextmanager
def _claimed(names: dict[str, str]) -> Iterator[tuple[str, str]]:
    told = False
    while True:
        for name, device in names.items():
            if stream := _try_lock(name):
                with stream:
                    yield device, name
                return
        if not told:
            told = True
            print(f"waiting for {' or '.join(names)}, where another training is", file=sys.stderr, flush=True)
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _try_lock(name: str) -> IO[bytes] | None:
    stream = (_folder() / re.sub(r"\W", "-", name)).open("wb")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return stream
    except BlockingIOError:
        stream.close()
        return None


def _folder() -> Path:
    """One a user, whatever the workspace: devices are the machine's. Or what WAVEBAND_DEVICES names."""
    usual = Path(tempfile.gettempdir()) / f"waveband-devices-{os.getuid()}"
    folder = Path(os.environ.get("WAVEBAND_DEVICES") or usual)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


@contextmanager
def _limited(name: str) -> Iterator[None]:
    """Occupy the limit of that name. A Prefect that cannot be reached stops no training."""
    try:
        _make_free(name)
        stack = contextlib.ExitStack()
        stack.enter_context(
            concurrency(name, lease_duration=LEASE_SECONDS, raise_on_lease_renewal_failure=False)
        )
    except Exception as error:
        print(f"Prefect's limit '{name}' cannot be used ({error}); going on", file=sys.stderr, flush=True)
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(Exception):  # the server may be gone by now
            stack.close()


def _make_free(name: str) -> None:
    """Make the limit, or free what a run left occupied that was killed: we alone may take it now."""
    with get_client(sync_client=True) as client:
        try:
            limit = client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))
            return
        if limit.active_slots:
            client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(active_slots=0))
