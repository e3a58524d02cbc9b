"""A trained model on disk: `model.safetensors` beside `config.json`. No pickle.

The invariant: what is saved here is enough to rebuild the network and to know what it plays:
stem, sample rate, levels.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from wavenet.config import ModelConfig
from wavenet.errors import IncompatibleCheckpointError
from wavenet.files import read_json, write_json
from wavenet.model import CARD, WEIGHTS
from wavenet.model.conditioning import ConditionForm
from wavenet.model.wavenet import WaveNet


class SavedModel(BaseModel):
    """The JSON beside the weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["waveband-model"] = "waveband-model"
    version: Literal[1] = 1
    stem: str
    sample_rate: int
    quantization_channels: int
    law: Literal["mu-law", "linear"] = "mu-law"
    shards_digest: str
    model: ModelConfig
    condition: ConditionForm = ConditionForm()


def save_model(model: WaveNet, card: SavedModel, folder: Path) -> None:
    """Write weights and card into an existing folder."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / WEIGHTS)
    write_json(folder / CARD, card.model_dump())


def load_model(folder: Path) -> tuple[WaveNet, SavedModel]:
    """The network, on CPU and in evaluation mode, and its card. Raises IncompatibleCheckpointError."""
    try:
        card = SavedModel.model_validate(read_json(folder / CARD))
        card = card.model_copy(update={"condition": card.condition.ordered(card.model)})
        model = WaveNet(card.model, card.quantization_channels, card.condition)
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, ValueError, KeyError, ValidationError, SafetensorError, RuntimeError) as error:
        raise IncompatibleCheckpointError(
            f"{folder}: not a model this version can read ({error}); expected {CARD} and {WEIGHTS} as "
            "Waveband writes them"
        ) from None
    return model.eval(), card
