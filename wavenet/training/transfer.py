"""Beginning with another training's weights: what fits is taken over, what does not is told.

Knows nothing of where the weights come from. The invariant: every weight of the network is either loaded or
in the report with the reason why it begins fresh.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from wavenet.errors import IncompatibleCheckpointError
from wavenet.files import read_json
from wavenet.model import CARD, TRAINED, WEIGHTS
from wavenet.model.wavenet import WaveNet
from wavenet.training.taken_over import Transfer

LABEL_TABLES = "encoder.labels."


def load_into(model: WaveNet, folder: Path) -> Transfer:
    """Take over the weights of a file, an exported model, a checkpoint, or a training's folder.

    A weight of the same name and shape is loaded. Of a label's embedding, rows are loaded by the values
    that they stand for. Raises IncompatibleCheckpointError where there are no weights, or none fits.
    """
    theirs, labels = read_weights(find_weights(folder))
    ours = model.state_dict()
    transfer = Transfer(unused=sorted(theirs.keys() - ours.keys()))
    for name, mine in ours.items():
        other = theirs.get(name)
        if name.startswith(LABEL_TABLES) and other is not None:
            _load_rows(model, name, mine, other, labels, transfer)
        elif other is None:
            transfer.fresh[name] = "is not there"
        elif other.shape != mine.shape:
            transfer.fresh[name] = f"has shape {tuple(other.shape)} there, {tuple(mine.shape)} here"
        else:
            mine.copy_(other)
            transfer.loaded.append(name)
    if not transfer.loaded:
        raise IncompatibleCheckpointError(
            f"{folder}: none of its weights fits this network; expected the same layers and channels as "
            f"here: {model.config.model_dump(exclude_defaults=True)}"
        )
    return transfer


def find_weights(place: Path) -> Path:
    """The file of weights that a place stands for: itself; or in a folder an exported model's, a
    checkpoint's, or of a training's folder the model that it ended with, or the newest checkpoint's."""
    if place.is_file() and place.suffix == Path(WEIGHTS).suffix:
        return place
    for folder in [
        place,
        place / TRAINED,
        *_newest_first(place),
        *_newest_first(place / "checkpoints"),
    ]:
        if (folder / WEIGHTS).is_file():
            return folder / WEIGHTS
    raise IncompatibleCheckpointError(
        f"{place}: no weights to begin with; expected {WEIGHTS}, as in an exported model or a checkpoint"
    )


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), reverse=True)


def read_weights(path: Path, called: Path | None = None) -> tuple[dict[str, Tensor], dict[str, list[str]]]:
    """Weights by name, and the values of each label if a card tells them.

    Raises IncompatibleCheckpointError, naming the path as it is called, where it is not safetensors, or the
    card cannot be read.
    """
    try:
        weights = load_file(path)
        card = path.with_name(CARD)
        labels = read_json(card).get("condition", {}).get("labels", {}) if card.is_file() else {}
    except (OSError, ValueError, AttributeError, SafetensorError) as error:
        raise IncompatibleCheckpointError(f"{called or path}: cannot be read as weights ({error})") from None
    return weights, labels


@torch.no_grad()
def _load_rows(
    model: WaveNet, name: str, mine: Tensor, other: Tensor, labels: dict[str, list[str]], transfer: Transfer
) -> None:
    """An embedding's rows by the values that they stand for; row 0, of no value, is always there."""
    label, values = list(model.form.labels.items())[int(name.removeprefix(LABEL_TABLES).split(".")[0])]
    known = labels.get(label, [])
    if other.ndim != 2 or other.shape[1] != mine.shape[1]:
        transfer.fresh[name] = f"has shape {tuple(other.shape)} there, {tuple(mine.shape)} here"
        return
    if len(other) != len(known) + 1:
        transfer.fresh[name] = f"is not told of {label} in the same way there"
        return
    mine[0] = other[0]
    shared = [value for value in values if value in known]
    for value in shared:
        mine[values.index(value) + 1] = other[known.index(value) + 1]
    if shared == values:
        transfer.loaded.append(name)
    else:
        missing = [value for value in values if value not in known]
        transfer.partly[name] = f"has no {label} {', '.join(missing)} there"
