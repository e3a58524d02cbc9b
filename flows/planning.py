"""The plan of a training: how far back it hears, how long it takes here, whether there is enough music."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flows.ledger import DirectLedger
from flows.prepare import open_workspace, prepare_band
from tasks.forecast import forecast_stems, known_labels, measure_music
from tasks.plan import BandPlan
from wavenet.config import Config, load_config
from wavenet.data.listing import open_listing
from wavenet.errors import ConfigError, NoAudioError
from wavenet.evaluation.forecast import Forecast, collect_warnings, forecast_json

ANY_STEM = "any"
"""What a stem is called whose name no setting mentions."""


@dataclass(frozen=True)
class TrainingPlan:
    """What was found. notes and set_aside are of the input, and empty without one."""

    forecasts: list[Forecast]
    warnings: list[str]
    notes: list[str] = field(default_factory=list)
    set_aside: list[tuple[str, str]] = field(default_factory=list)


def plan_training(
    input: str | None, config: Sequence[str], overrides: Sequence[str], workspace: str | Path, seconds: float
) -> TrainingPlan:
    """Try the training of each stem for some seconds; with an input, count its music as a run would.

    What is decoded is kept in the workspace, and what is said to be held out is remembered, as by the
    doctor. Without an input there is a row for each stem that the settings name, and one for any other.
    """
    settings = load_config(config, overrides)
    if input is None:
        stems = dict.fromkeys([*settings.stems, ANY_STEM])
        forecasts = forecast_stems(stems, {}, settings, seconds)
        return TrainingPlan(forecasts, collect_warnings(forecasts))
    place = open_workspace(workspace)
    prepared = prepare_band(place, open_listing(input, place.downloads), settings, DirectLedger())
    plan = prepared.plan
    if not plan.stems:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in plan.dropped[:5])
        raise NoAudioError(f"no usable audio: all {len(plan.dropped)} files were set aside ({reasons})")
    check_told(plan, settings)
    music = measure_music(place, prepared, settings)
    labels = {stem: known_labels(tracks) for stem, tracks in plan.stems.items()}
    forecasts = forecast_stems(music, labels, settings, seconds)
    return TrainingPlan(forecasts, collect_warnings(forecasts), plan.notes, plan.dropped)


def check_told(plan: BandPlan, settings: Config) -> None:
    """Refuse a network that asks for what its shards would not have. Raises ConfigError."""
    for stem, tracks in plan.stems.items():
        model, there = settings.for_stem(stem).model, known_labels(tracks)
        if missing := [name for name in model.features if name not in settings.features.names]:
            names = ",".join([*settings.features.names, *missing])
            raise ConfigError(
                f"{stem}: model.features asks for {', '.join(missing)}, which the shards will not have; set "
                f"features.names=[{names}]"
            )
        if missing := [name for name in model.labels if name not in there]:
            raise ConfigError(
                f"{stem}: model.labels asks for {', '.join(missing)}, the input has "
                f"{', '.join(there) or 'no labels'}; say of each track what it is in a manifest, or take it "
                "out of model.labels"
            )


def plan_json(plan: TrainingPlan, seconds: float) -> dict[str, object]:
    """What `--json` prints."""
    return {
        "trial_seconds": seconds,
        "stems": {each.stem: forecast_json(each) for each in plan.forecasts},
        "warnings": plan.warnings,
        "notes": plan.notes,
        "set_aside": [{"path": path, "reason": reason} for path, reason in plan.set_aside],
    }
