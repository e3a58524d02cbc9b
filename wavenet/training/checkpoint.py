"""Checkpoints: all that a training needs to go on as if it had never stopped.

A checkpoint is a folder `step-00000100` holding weights and optimiser as safetensors and the rest as
JSON; it appears whole by one rename. Windows, masks and what is dropped depend on seed and step alone, so
the step is the whole state of all that is random. The invariants: resumed and uninterrupted training agree
to the bit on one machine; and all ranks of a training go on from one checkpoint, whatever each sees.
"""

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from wavenet.errors import IncompatibleCheckpointError, UnreadableError
from wavenet.files import new_folder, publish_folder, read_json, write_json
from wavenet.model.wavenet import WaveNet
from wavenet.training.memory import is_out_of_memory
from wavenet.training.ranks import ALONE, Ranks
from wavenet.training.schedule import Watch

KEPT = 2
"""Checkpoints kept: the newest, and one to fall back on should the disk lose the newest."""
STATE = "state.json"
WAIT_SECONDS = 90.0
"""So long a rank waits for a checkpoint that the first has; NFS may show what was there a minute ago."""
LOOK_SECONDS = 0.5
ABSENT = (FileNotFoundError, NotADirectoryError)
UNFIT = (*ABSENT, ValueError, TypeError, SafetensorError, RuntimeError, KeyError)


@dataclass
class Progress:
    """What the loop has done so far."""

    step: int = 0  # steps finished
    recent_bits: tuple[float, ...] = ()  # of steps since the last line of metrics
    seconds: float = 0.0  # spent training, over all sessions
    watch: Watch = field(default_factory=Watch)
    micro_batch: int | None = None  # windows at a time, where memory has ended before


@dataclass
class Learner:
    """All that steps change. average: of the weights, if one is kept; best: weights at the best look."""

    model: WaveNet
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None = None
    best: dict[str, Tensor] | None = None


def save_checkpoint(folder: Path, learner: Learner, progress: Progress) -> None:
    """Write `folder/step-...`; drop the oldest beyond `KEPT`, and what killed writers left half filled."""
    folder.mkdir(parents=True, exist_ok=True)
    name = name_of(progress.step)
    tensors = {"model": copy_weights(learner.model), "optimizer": _flatten(learner.optimizer)}
    if learner.average is not None:
        tensors["average"] = copy_weights(learner.average)
    if learner.best is not None:
        tensors["best"] = learner.best
    with new_folder(folder, name) as temporary:
        for kind, values in tensors.items():
            save_file(values, temporary / f"{kind}.safetensors")
        write_json(temporary / STATE, asdict(progress))
        publish_folder(temporary, folder / name)
    for old in list_checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old)
    for left in folder.glob(".step-*"):
        shutil.rmtree(left, ignore_errors=True)


def load_checkpoint(
    folder: Path, learner: Learner, ranks: Ranks = ALONE, tell: Callable[[str], None] = lambda _: None
) -> Progress:
    """Load the newest readable checkpoint into a learner; a fresh Progress where there is none.

    Of several ranks the first chooses, and the others load that one or none. tell: is given a remark on each
    that is passed over. Raises IncompatibleCheckpointError where there are some and none fits the model,
    UnreadableError where the disk or memory fails, or a rank does not see what the first has chosen.
    """
    progress = _load_newest(folder, learner, tell) if ranks.leads else Progress()
    chosen = ranks.first_says(progress.step)
    return progress if ranks.leads or not chosen else _load_chosen(folder / name_of(chosen), learner, ranks)


def name_of(step: int) -> str:
    """What the checkpoint after a step is called."""
    return f"step-{step:08d}"


def _load_newest(folder: Path, learner: Learner, tell: Callable[[str], None]) -> Progress:
    """The progress in the newest readable checkpoint; step 0 where there is none."""
    problem = None
    with _machine_blamed(folder):
        checkpoints = list_checkpoints(folder)
    for checkpoint in reversed(checkpoints):
        try:
            return _load(checkpoint, learner)
        except (UnreadableError, *UNFIT) as error:
            if isinstance(error, UnreadableError) and not _is_of_its_files(error):
                raise
            problem = error
            tell(f"{checkpoint}: cannot be used ({error}); the training goes on from the one before it")
    if isinstance(problem, UnreadableError):
        raise problem
    if problem is not None:
        raise IncompatibleCheckpointError(
            f"{folder}: no checkpoint can be read into this network ({problem}); delete the folder to "
            "start over"
        )
    return Progress()


def _is_of_its_files(error: UnreadableError) -> bool:
    """Whether a disk has lost some of them, and another checkpoint's may be whole."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EIO


def _load_chosen(checkpoint: Path, learner: Learner, ranks: Ranks) -> Progress:
    """The progress in the checkpoint that the first rank has loaded; waits until it can be read here."""
    until = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return _load(checkpoint, learner)
        except (UnreadableError, *UNFIT) as error:
            if time.monotonic() > until:
                raise UnreadableError(
                    f"{checkpoint}: the first rank goes on from it, and rank {ranks.rank} cannot read it "
                    f"after {WAIT_SECONDS:g} s ({error}); nothing is lost: see that all machines have one "
                    "folder under this path, and run again"
                ) from error
        time.sleep(LOOK_SECONDS)


def _load(checkpoint: Path, learner: Learner) -> Progress:
    with _machine_blamed(checkpoint):
        learner.model.load_state_dict(_read_tensors(checkpoint / "model.safetensors"))
        _unflatten(learner.optimizer, _read_tensors(checkpoint / "optimizer.safetensors"))
        if learner.average is not None:
            learner.average.load_state_dict(_read_tensors(checkpoint / "average.safetensors"))
        best = checkpoint / "best.safetensors"
        learner.best = _read_tensors(best) if best.exists() else None
        state = read_json(checkpoint / STATE)
    return Progress(**{**state, "recent_bits": tuple(state["recent_bits"]), "watch": Watch(**state["watch"])})


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """Not by `load_file`, which calls whatever it cannot open a file that is not there."""
    return load(path.read_bytes())


@contextmanager
def _machine_blamed(place: Path) -> Iterator[None]:
    """Raise UnreadableError for what says nothing of a checkpoint, only of the machine that reads it."""
    try:
        yield
    except ABSENT:
        raise
    except (OSError, MemoryError, RuntimeError) as error:
        if (needed := _name_need(error)) is None:
            raise
        raise UnreadableError(
            f"{place}: cannot be read now ({error}); nothing is lost: run again once {needed}"
        ) from error


def _name_need(error: BaseException) -> str | None:
    """What a machine is to give before a checkpoint can be read; None where the machine is not to blame."""
    if isinstance(error, OSError):
        return "its disk answers and may be read"
    if is_out_of_memory(error):
        return "more memory is free"
    return "the device works" if isinstance(error, torch.AcceleratorError) else None


def list_checkpoints(folder: Path) -> list[Path]:
    """Whole checkpoints, oldest first. Temporary folders begin with a dot and are not among them.

    Raises OSError where a folder that is there cannot be listed, which `glob` would take for an empty one.
    """
    try:
        return sorted(folder / name for name in os.listdir(folder) if name.startswith("step-"))
    except FileNotFoundError:
        return []


def copy_weights(model: nn.Module) -> dict[str, Tensor]:
    """A network's weights as they are now, on the CPU."""
    return {
        name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in model.state_dict().items()
    }


def _flatten(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Optimiser state as flat names, `3.exp_avg`; learning rates follow from the step."""
    state: Mapping[int, Mapping[str, Tensor]] = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": value.detach().cpu().contiguous()
        for index, values in state.items()
        for name, value in values.items()
    }


def _unflatten(optimizer: torch.optim.Optimizer, flat: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in flat.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
