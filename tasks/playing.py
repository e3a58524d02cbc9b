"""Takes of one model, from how they are played to files: what the pipeline and `waveband generate` share.

Knows nothing of Prefect, nor of where models and files lie. The invariant: all that decides a take is in its
`Performance`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.progress import Progress
from tasks.records import Prime
from tasks.stopping import check_stop
from wavenet.audio.mulaw import Codes
from wavenet.audio.quantization import Quantizer
from wavenet.config import GenerationConfig, GuardsConfig
from wavenet.data.choosing import choose_evenly
from wavenet.data.dataset import load_runs
from wavenet.errors import IncompatibleDataError

if TYPE_CHECKING:
    from wavenet.generation.engine import Player
    from wavenet.generation.guarded import Take, Tell
    from wavenet.generation.guards import Guard
    from wavenet.generation.recording import Recording
    from wavenet.model.wavenet import WaveNet

NUM_WINDOWS, SCORED_LENGTH = 8, 2000
"""Of held-out audio, on which precisions are compared."""
FITTED_SECONDS = 300
"""Of the music that was trained on, which the guards' limits go by."""


@dataclass(frozen=True)
class Performance:
    """A model and all that decides what it plays."""

    network: "WaveNet"
    player: "Player"
    guard: "Guard | None"
    tell: "Tell"
    context: Codes
    num_samples: int
    seed: int


def record_takes(label: str, performance: Performance, recording: "Recording") -> "list[Take]":
    """Play until all takes of a recording, begun or resumed, are whole. Returns them by number."""
    from wavenet.generation.guarded import play_takes
    from wavenet.generation.recording import LEAST_KEPT

    takes = list(recording.takes.values())
    progress = Progress(label, performance.num_samples * len(takes))
    if any(take.final for take in takes):
        progress.start_at(sum(take.final for take in takes))
    told = {take.number: len(take.incidents) for take in takes}
    with recording:
        for take, codes in play_takes(
            performance.network, takes, performance.num_samples, guard=performance.guard,
            tell=performance.tell, seed=performance.seed, player=performance.player, least_kept=LEAST_KEPT,
        ):  # fmt: skip
            check_stop()
            recording.take_in(take, codes)
            for incident in take.incidents[told[take.number] :]:
                progress.say(f"take {take.number + 1}: {incident}")
            told[take.number] = len(take.incidents)
            _show(progress, takes, recording.sample_rate)
    return takes


def _show(progress: Progress, takes: "Sequence[Take]", sample_rate: int) -> None:
    """What is held back counts, but the last sample is done when all are final."""
    waiting = any(len(take.held) for take in takes)
    done = min(sum(take.position for take in takes), progress.total - waiting)
    if done == progress.done:
        return
    progress.done = done  # the text tells the rate up to here
    faster = progress.rate / sample_rate
    progress.update(progress.done, f"{faster:.2g} times as fast as it plays")


def describe_take(take: "Take") -> dict[str, Any]:
    """A take as JSON, for people: its number, counted from 1, and what trouble it was in."""
    incidents = [
        {"kind": one.kind, "second": one.second, "attempt": one.attempt, "restarted": one.restarted}
        for one in take.incidents
    ]
    return {"take": take.number + 1, "incidents": incidents}


def choose_player(
    shards: Path | None, network: "WaveNet", config: GenerationConfig, tell: Callable[[str], None]
) -> "Player":
    """How a network is played: as configured, in the fastest numbers that its held-out loss allows.

    Without shards nothing can be measured, and it is played in float32. Raises ConfigError where
    other numbers were asked for, and as `choose_precision`.
    """
    from wavenet.errors import ConfigError
    from wavenet.generation import processor
    from wavenet.generation.engine import Player
    from wavenet.generation.precision import choose_precision
    from wavenet.generation.sampling import Choice
    from wavenet.training.windows import HeldoutWindows

    player = Player(Choice(config.temperature, config.top_k, config.top_p), config.guidance, config.backend)
    if config.backend == "reference":
        return player
    if shards is None:
        if config.precision not in ("auto", "fp32"):
            raise ConfigError(
                f"generation.precision is {config.precision}, which has to be measured on held-out audio; "
                "name the model's shards with --shards"
            )
        tell(f"fp32, {processor.describe()}; with shards at hand faster numbers could be measured")
        return player
    heldout = HeldoutWindows(shards, network.receptive_field, SCORED_LENGTH, network.form)
    windows = next(heldout.batches(NUM_WINDOWS, NUM_WINDOWS))
    chosen = choose_precision(network, windows.codes.numpy(), windows.condition, config.precision)
    moved = ", ".join(
        f"{name} moves the held-out loss by {nats:+.4f} nats" for name, nats in chosen.moved.items()
    )
    tell(f"{chosen.name}, {processor.describe()}{f'; {moved}' if moved else ''}")
    return replace(player, precision=chosen.name)


def choose_guard(
    config: GuardsConfig, quantizer: Quantizer, sample_rate: int, shards: Path | None
) -> "Guard | None":
    """Who watches over takes: as configured, allowing what the music in the shards does. None: nobody."""
    from wavenet.generation.guards import Guard, Limits, fit_limits

    if not config.enabled:
        return None
    limits = Limits(**config.model_dump(exclude={"enabled", "restarts", "fit"}))
    guard = Guard(quantizer, sample_rate, limits, config.restarts)
    if shards is None or not config.fit:
        return guard
    runs = [run.codes for run in load_runs(shards, "train")]
    share = FITTED_SECONDS * sample_rate // max(1, len(runs))
    share = max(share, 2 * guard.held * guard.hop)
    chosen = [run[:share] for run in choose_evenly(runs, max(1, FITTED_SECONDS * sample_rate // share))]
    return replace(guard, limits=fit_limits(chosen, guard))


def tell_nothing_but(network: "WaveNet", labels: Mapping[str, str]) -> "Tell":
    """What a take is told of which nothing is known but some labels."""
    from wavenet.generation.guarded import tell_nothing
    from wavenet.generation.labels import tell_labels

    return tell_labels(network.form, labels, tell_nothing)


def tell_heldout(shards: Path, network: "WaveNet", prime: Prime, labels: Mapping[str, str]) -> "Tell":
    """What the held-out track does from its prime on, but for labels that are set otherwise.

    Raises IncompatibleDataError where the shards lack what the network is told of, or the track.
    """
    from wavenet.generation.guarded import tell_nothing
    from wavenet.generation.labels import tell_labels
    from wavenet.training.windows import ConditionSource

    if not network.form:
        return tell_labels(network.form, labels, tell_nothing)
    runs = load_runs(shards, "heldout")
    if prime.track_id not in {run.track_id for run in runs}:
        raise IncompatibleDataError(f"{shards}: no held-out audio of track {prime.track_id}")
    source = ConditionSource(shards, "heldout", runs, network.form)

    def tell(first: int, num_codes: int) -> Any:
        return source.tell([prime.track_id], np.array([prime.start_sample + first]), num_codes)

    return tell_labels(network.form, labels, tell)
