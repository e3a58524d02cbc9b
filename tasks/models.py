"""Which model a person means, and the shards that it was trained on, where they are at hand.

Knows nothing of networks. The invariant: of a stem's models in a workspace the one that was trained last is
taken, whether `waveband run` or `waveband train` did it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tasks.session import JOB
from tasks.tracking import is_mlflow_uri
from tasks.weights import take_weights
from tasks.workspace import Workspace
from wavenet.data.shards.format import read_manifest
from wavenet.data.shards.storage import is_url, open_location
from wavenet.errors import ConfigError, IncompatibleCheckpointError, ShardFormatError
from wavenet.files import digest_folder, read_json
from wavenet.model import CARD, TRAINED, WEIGHTS
from wavenet.session.job import RESULT

MODEL = "MODEL"


@dataclass(frozen=True)
class FoundModel:
    """A folder of weights and card."""

    folder: Path
    stem: str
    shards_digest: str

    @cached_property
    def digest(self) -> str:
        """Of weights and card."""
        return digest_folder(self.folder, [WEIGHTS, CARD])


def find_model(workspace: Workspace, asked: str) -> FoundModel:
    """The model of a folder or file, of a stem's name in the workspace, or of MLflow.

    Raises ConfigError where there is none, naming what stems there are; IncompatibleCheckpointError where
    there are weights without a card.
    """
    from wavenet.training.transfer import find_weights  # torch takes seconds

    if is_mlflow_uri(asked):
        return _read_card(workspace.path(take_weights(workspace, asked, MODEL).folder))
    place = Path(asked).expanduser().absolute()  # records are relative to the workspace
    trained = _trained(workspace)
    try:
        if place.exists():
            return _read_card(find_weights(place).parent)
    except IncompatibleCheckpointError:
        if asked not in trained:
            raise
    if asked in trained:
        return trained[asked]
    raise ConfigError(
        f"{MODEL}={asked}: no file or folder ({place}), and no stem that was trained in "
        f"{workspace.root}: there are {', '.join(trained) or 'none'}; name one, a folder with a model, or "
        "models:/NAME/VERSION"
    )


def find_shards(workspace: Workspace, model: FoundModel, asked: str | None) -> Any | None:
    """Where the shards lie that a model was trained on, or those that are asked for; None if they are gone.

    Raises ShardFormatError where what is asked for is no shard set.
    """
    if asked is not None:
        place = open_location(asked if is_url(asked) else str(Path(asked).expanduser().absolute()))
        read_manifest(place)
        return place
    return next((place for place in _places(workspace, model) if _is_set(place, model.shards_digest)), None)


def _trained(workspace: Workspace) -> dict[str, FoundModel]:
    """The newest model of each stem that has one."""
    newest: dict[str, FoundModel] = {}
    for _, folder in sorted((_age(folder), folder) for folder in _model_folders(workspace)):
        try:
            found = _read_card(folder)
        except IncompatibleCheckpointError:
            continue
        newest[found.stem] = found
    return dict(sorted(newest.items()))


def _model_folders(workspace: Workspace) -> Iterator[Path]:
    """Of `waveband run`, then of `waveband train`, alone or beside one from scratch."""
    for record in _records_of(workspace, "train"):
        yield workspace.path(record.get("folder", "gone"))
    for pattern in (TRAINED, f"transfer/{TRAINED}"):
        yield from (path.parent for path in workspace.models.glob(f"*/{pattern}/{RESULT}"))


def _age(folder: Path) -> float:
    try:
        return (folder / CARD).stat().st_mtime
    except OSError:
        return 0.0


def _read_card(folder: Path) -> FoundModel:
    try:
        card = read_json(folder / CARD)
        return FoundModel(folder, str(card["stem"]), str(card["shards_digest"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IncompatibleCheckpointError(
            f"{folder}: {CARD} cannot be read ({error}), which says what the weights play; name the "
            "folder of a whole model"
        ) from None


def _places(workspace: Workspace, model: FoundModel) -> Iterator[Any]:
    for record in _records_of(workspace, "shards"):
        if record.get("digest") == model.shards_digest:
            yield workspace.path(record["folder"])
    try:
        yield open_location(read_json(model.folder.parent / JOB)["shards"])
    except (OSError, ValueError, KeyError, TypeError):
        return


def _records_of(workspace: Workspace, task: str) -> Iterator[dict[str, Any]]:
    for result in workspace.results_of(task):
        record = result.get("record") if isinstance(result, dict) else None
        if isinstance(record, dict):
            yield record


def _is_set(place: Any, digest: str) -> bool:
    try:
        return read_manifest(place).digest == digest
    except ShardFormatError:
        return False
