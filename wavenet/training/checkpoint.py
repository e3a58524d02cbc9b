"""Checkpoints: all that a training needs to go on as if it had never stopped.

A checkpoint is a folder `step-00000100` holding weights and optimiser as safetensors and the rest as
JSON; it appears whole by one rename. Windows and their order depend on seed and step alone, so the
step is the sampler's whole state. The invariant: resumed and uninterrupted training agree to the bit
on one machine.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from wavenet.errors import IncompatibleCheckpointError
from wavenet.files import new_folder, publish_folder, read_json, write_json
from wavenet.model.wavenet import WaveNet

KEPT = 2
"""Checkpoints kept: the newest, and one to fall back on should the disk lose the newest."""


@dataclass
class Progress:
    """What the loop has done so far."""

    step: int = 0  # steps finished
    recent_bits: tuple[float, ...] = ()  # of steps since the last line of metrics
    seconds: float = 0.0  # spent training, over all sessions


def save_checkpoint(
    folder: Path, model: WaveNet, optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    """Write `folder/step-...` and drop the oldest beyond `KEPT`."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"step-{progress.step:08d}"
    with new_folder(folder, name) as temporary:
        save_file(_weights(model), temporary / "model.safetensors")
        save_file(_flatten(optimizer), temporary / "optimizer.safetensors")
        state = {"step": progress.step, "recent_bits": progress.recent_bits, "seconds": progress.seconds}
        write_json(temporary / "state.json", state)
        publish_folder(temporary, folder / name)
    for old in list_checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old)


def load_checkpoint(folder: Path, model: WaveNet, optimizer: torch.optim.Optimizer) -> Progress:
    """Load the newest readable checkpoint into model and optimiser; a fresh Progress where there is none.

    Raises IncompatibleCheckpointError where there are some and none fits the model.
    """
    problem = None
    for checkpoint in reversed(list_checkpoints(folder)):
        try:
            return _load(checkpoint, model, optimizer)
        except (OSError, ValueError, SafetensorError, RuntimeError, KeyError) as error:
            problem = error
    if problem is not None:
        raise IncompatibleCheckpointError(
            f"{folder}: no checkpoint can be read into this network ({problem}); delete the folder to "
            "start over"
        )
    return Progress()


def _load(checkpoint: Path, model: WaveNet, optimizer: torch.optim.Optimizer) -> Progress:
    model.load_state_dict(load_file(checkpoint / "model.safetensors"))
    _unflatten(optimizer, load_file(checkpoint / "optimizer.safetensors"))
    state = read_json(checkpoint / "state.json")
    return Progress(state["step"], tuple(state["recent_bits"]), state["seconds"])


def list_checkpoints(folder: Path) -> list[Path]:
    """Whole checkpoints, oldest first. Temporary folders begin with a dot and are not among them."""
    return sorted(folder.glob("step-*"))


def _weights(model: WaveNet) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}


def _flatten(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Optimiser state as flat names, `3.exp_avg`; learning rates follow from the step."""
    state = optimizer.state_dict()["state"]
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
