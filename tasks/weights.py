"""Weights to begin a training with: found where a person says they are, and kept by content.

A copy is kept, so that a training which goes on tomorrow begins with the weights of today. Knows nothing of
networks. The invariant: the same weights and card make the same record, wherever they lay.
"""

import os
import shutil
from pathlib import Path

from tasks.records import WeightsRecord
from tasks.tracking import INIT_FROM, download_weights, is_mlflow_uri
from tasks.workspace import Workspace
from wavenet.errors import ConfigError
from wavenet.files import digest_folder, new_folder
from wavenet.model import CARD, WEIGHTS


def take_weights(workspace: Workspace, asked: str, option: str = INIT_FROM) -> WeightsRecord:
    """The weights of a file, an exported model, a checkpoint, a training's folder, or an MLflow URI.

    option: what a person asked with. Raises ConfigError where nothing can be reached there,
    IncompatibleCheckpointError where it is no weights.
    """
    if is_mlflow_uri(asked):
        with new_folder(workspace.downloads, "weights") as folder:
            return _keep(workspace, download_weights(workspace, asked, folder, option), asked)
    place = Path(os.path.expanduser(asked))
    if not place.exists():
        raise ConfigError(
            f"{option}={asked}: there is no such file or folder ({place.absolute()}); name a "
            "folder or file of weights, or an MLflow URI, models:/NAME/VERSION or runs:/RUN_ID/model"
        )
    return _keep(workspace, place, asked)


def _keep(workspace: Workspace, place: Path, asked: str) -> WeightsRecord:
    """Copy first, then read and digest the copy: who writes there may write on."""
    from wavenet.training.transfer import find_weights, read_weights  # torch takes seconds

    with workspace.new_folder("weights") as folder:
        found = find_weights(place)
        shutil.copyfile(found, folder / WEIGHTS)
        if found.with_name(CARD).is_file():
            shutil.copyfile(found.with_name(CARD), folder / CARD)
        read_weights(folder / WEIGHTS, called=found)
        digest = digest_folder(folder, sorted(path.name for path in folder.iterdir()))
        return WeightsRecord(digest=digest, folder=workspace.publish(folder, digest))
