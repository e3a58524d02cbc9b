"""Which device a training has, and that no other training has it meanwhile.

A device is guarded twice. On this machine by an flock, which the system frees when its holder dies; and in
Prefect by a global concurrency limit of its own, which only who holds the flock takes: so what a killed run
left occupied is freed by whoever is next. Knows nothing of what is trained.
"""

import contextlib
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from prefect.context import TaskRunContext

from tasks.device_limits import occupied
from tasks.stopping import Waiting
from wavenet.errors import ConfigError
from wavenet.locks import SECONDS_BETWEEN_LOOKS, lent, try_lock

AUTO, CPU = "auto", "cpu"
VISIBLE = "CUDA_VISIBLE_DEVICES"


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
    """Hold every slot, for a training that several devices share. In one order, whatever order they are named
    in: no two trainings wait for each other."""
    with contextlib.ExitStack() as stack:
        for name, device in sorted(_numbered(slots).items()):
            stack.enter_context(_held({name: device}))
        yield


@contextmanager
def _held(names: dict[str, str]) -> Iterator[str]:
    with contextlib.ExitStack() as stack:
        device, name = stack.enter_context(_claimed(names))
        if TaskRunContext.get() is not None:
            stack.enter_context(occupied(name))
        yield device


def _numbered(slots: Sequence[str]) -> dict[str, str]:
    """Devices by a name for each slot: cpu, cpu-2 ..., of cards the machine's own."""
    names: dict[str, str] = {}
    for slot in slots:
        number = 1 + sum(_card(device) == _card(slot) for device in names.values())
        names[_card(slot) if number == 1 else f"{_card(slot)}-{number}"] = slot
    return names


def _card(slot: str) -> str:
    """What all of a machine call a card, whichever cards CUDA_VISIBLE_DEVICES shows to this process."""
    if not is_gpu(slot):
        return slot
    number = int(slot.partition(":")[2] or 0)
    visible = [each.strip() for each in os.environ.get(VISIBLE, "").split(",") if each.strip()]
    return f"cuda:{visible[number] if number < len(visible) else number}"


def list_cards(slots: Sequence[str]) -> list[str]:
    """A slot of each GPU that there is among them."""
    return list({_card(slot): slot for slot in slots if is_gpu(slot)}.values())


def slots_of(cards: Sequence[str], slots: Sequence[str]) -> list[str]:
    """All slots that these cards have."""
    names = set(map(_card, cards))
    return [slot for slot in slots if _card(slot) in names]


def showing_only(cards: Sequence[str]) -> dict[str, str]:
    """The environment in which a process finds these cards as cuda:0 ..., and no others; empty for none."""
    names = [_card(card).removeprefix("cuda:") for card in cards]
    return {VISIBLE: ",".join(names)} if names else {}


@contextmanager
def _claimed(names: dict[str, str]) -> Iterator[tuple[str, str]]:
    waiting = Waiting(f"{' or '.join(names)}, where another training is")
    while True:
        for name, device in names.items():
            if stream := try_lock(_folder() / re.sub(r"\W", "-", name)):
                with stream, lent(stream):
                    yield device, name
                return
        waiting.look()
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _folder() -> Path:
    """One a user, whatever the workspace: devices are the machine's. Or what WAVEBAND_DEVICES names."""
    usual = Path(tempfile.gettempdir()) / f"waveband-devices-{os.getuid()}"
    folder = Path(os.environ.get("WAVEBAND_DEVICES") or usual)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder == usual and folder.lstat().st_uid != os.getuid():
        raise ConfigError(
            f"{folder}: is somebody else's, and locks of devices should lie there; let WAVEBAND_DEVICES name "
            "a folder of yours"
        )
    return folder
