"""Weights that trainings begin with."""

from tasks.records import WeightsRecord
from tasks.weights import take_weights
from tasks.workspace import Workspace
from wavenet.config import Config


def take_all_weights(place: Workspace, settings: Config) -> dict[str, WeightsRecord]:
    """What trainings begin with, by what `init_from` says: found before hours are spent on audio."""
    asked = {settings.for_stem(stem).training.init_from for stem in [*settings.stems, ""]}
    return {text: take_weights(place, text) for text in sorted(filter(None, asked))}
