"""What is going to be trained: of each stem the music there is, and what a step of its training costs here.

Reads records and working audio, writes nothing that lasts. The invariant: lengths are those of the plan, from
which shards are made.
"""

import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tasks.plan import BandPlan, PlannedTrack, Prepared, usable_seconds
from tasks.session import run_trial
from tasks.workspace import Workspace
from wavenet.audio.tempo import Tempo
from wavenet.config import Config, StemConfig
from wavenet.data.dataset import check_levels
from wavenet.data.shards.size import estimate_bytes
from wavenet.data.tempos import measure_tempo
from wavenet.evaluation.forecast import Forecast, Music, Speed
from wavenet.session.job import Trial
from wavenet.training.trial_result import TrialResult

MOST_TRACKS = 40
"""So many are listened to for their tempo, spread evenly over all."""
Tempos = Mapping[str, Tempo | None]
"""By track id, of those that were listened to."""


def measure_music(place: Workspace, prepared: Prepared, config: Config) -> dict[str, Music]:
    """What there is of each stem, and the tempos of the tracks that it is in."""
    seconds, tempos = usable_seconds(prepared.plan, config), measure_tempos(place, prepared.plan)
    return {
        stem: _music(stem, tracks, seconds[stem], tempos, prepared.plan, config)
        for stem, tracks in prepared.plan.stems.items()
    }


def measure_tempos(place: Workspace, plan: BandPlan) -> Tempos:
    """The tempo of each track that is used, or of as many as are listened to, all its stems together."""
    tracks = {one.record.track.track_id: one for planned in plan.stems.values() for one in planned}
    ids = sorted(tracks)
    step = max(1, -(-len(ids) // MOST_TRACKS))
    return {track_id: _tempo(place, tracks[track_id]) for track_id in ids[::step]}


def _tempo(place: Workspace, planned: PlannedTrack) -> Tempo | None:
    """From where the track begins to sound."""
    track, start = planned.record.track, planned.kept[0][0] if planned.kept else 0.0
    folder = place.path(planned.record.folder)
    there = [stem for stem in track.stems.values() if stem.num_samples > start * track.sample_rate]
    return measure_tempo([folder / stem.file for stem in there], start)


def _music(
    stem: str,
    tracks: Sequence[PlannedTrack],
    seconds: dict[str, float],
    tempos: Tempos,
    plan: BandPlan,
    config: Config,
) -> Music:
    rate, mine = config.ingest.sample_rate, config.for_stem(stem)
    heard = [tempos[one.record.track.track_id] for one in tracks if one.record.track.track_id in tempos]
    return Music(
        seconds=seconds,
        shard_bytes=estimate_bytes(
            round(sum(seconds.values()) * rate),
            config.quantization.quantization_channels,
            config.segment_length,
            config.features.names,
            config.hop_length,
        ),
        beats=tuple(sorted(tempo.bpm for tempo in heard if tempo is not None)),
        num_tracks=len(heard),
        scored_length=_scored_length(mine, _longest_piece(stem, plan), rate),
    )


def _longest_piece(stem: str, plan: BandPlan) -> float:
    """Seconds of the longest unbroken part that is trained on."""
    mine = [outcome for outcome in plan.outcomes if outcome.stem == stem and outcome.split == "train"]
    return max((end - start for outcome in mine for start, end in outcome.kept), default=0.0)


def _scored_length(config: StemConfig, longest_seconds: float, sample_rate: int) -> int:
    """As `WindowSampler` shortens it where no piece is long enough."""
    room = round(longest_seconds * sample_rate) - config.model.receptive_field
    return max(1, min(config.training.scored_length, room))


# What a step costs


def forecast_stems(
    music: Mapping[str, Music | None],
    labels: Mapping[str, dict[str, list[str]]],
    config: Config,
    seconds: float,
) -> list[Forecast]:
    """Try the training of each stem and say what comes of it; what is the same for several is tried once.

    labels: by stem, the known values of each. Raises what `run_trial` raises.
    """
    tried: dict[str, TrialResult] = {}
    forecasts = []
    for stem, mine in music.items():
        trial = _trial(stem, mine, labels.get(stem, {}), config, seconds)
        key = trial.model_dump_json(exclude={"stem", "folder"})
        if key not in tried:
            print(f"tries a training of {stem} for {seconds:g} s", file=sys.stderr, flush=True)
            tried[key] = _run_apart(trial)
        forecasts.append(_forecast(stem, mine, tried[key], config))
    return forecasts


def _trial(
    stem: str, music: Music | None, labels: dict[str, list[str]], config: Config, seconds: float
) -> Trial:
    """How many steps there are to be, and how long their windows are configured, changes no step."""
    mine, levels = config.for_stem(stem), config.quantization.quantization_channels
    check_levels(stem, levels, mine.model)
    scored = mine.training.scored_length if music is None else music.scored_length
    training = mine.training.model_copy(update={"steps": 1, "scored_length": scored})
    return Trial(
        stem=stem,
        folder=Path(),
        config=StemConfig(model=mine.model, training=training),
        quantization_channels=levels,
        labels={name: labels.get(name, []) for name in mine.model.labels},
        hop_length=config.hop_length,
        seconds=seconds,
    )


def _run_apart(trial: Trial) -> TrialResult:
    with tempfile.TemporaryDirectory(prefix="waveband-trial-") as folder:
        return run_trial(trial.model_copy(update={"folder": Path(folder)}))


def _forecast(stem: str, music: Music | None, tried: TrialResult, config: Config) -> Forecast:
    mine = config.for_stem(stem)
    resident = music.shard_bytes if music is not None and tried.device == "cpu" else 0
    speed = Speed(
        step_seconds=tried.step_seconds,
        look_seconds=tried.look_seconds,
        peak_bytes=tried.peak_bytes + resident,  # codes and features are held, all of them
        device=tried.device,
        precision=tried.precision,
        num_steps=tried.num_steps,
        micro_batch=tried.micro_batch,
    )
    return Forecast(
        stem=stem,
        sample_rate=config.ingest.sample_rate,
        model=mine.model,
        training=mine.training,
        num_parameters=tried.num_parameters,
        multiply_adds=tried.multiply_adds,
        speed=speed,
        music=music,
    )


def known_labels(tracks: Iterable[PlannedTrack]) -> dict[str, list[str]]:
    """The values of each label that tracks have, as shards of them would list them."""
    values: dict[str, set[str]] = {}
    for track in tracks:
        for name, value in track.labels.items():
            values.setdefault(name, set()).add(value)
    return {name: sorted(each) for name, each in sorted(values.items())}
