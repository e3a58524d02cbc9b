"""What a training is going to be like: how far back it hears, how long it takes, if there is enough music.

Knows nothing of where figures come from: speeds are measured, music is counted by others. The invariant: what
is told in seconds, steps or passes follows from the same few figures, so no two of them contradict.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from wavenet.config import ModelConfig, TrainingConfig

MOST_PASSES = 5.0
"""How often each sample may be scored before more of the same teaches little. The demo album still gains at
3.7 passes; a real bass, four minutes of it, gained nothing after 1.3 (docs/experiments.md, 2026-11-22)."""
LEAST_SECONDS = 600.0
"""Of music to train one stem on: twice the four to five minutes of bass on which a small network's held-out
bits stopped falling after 300 steps, while training's went on (docs/experiments.md, 2026-11-22)."""
SIXTEENTHS = 4
"""In a beat."""
LONGEST_CYCLE, MOST_CYCLES = 16, 16
"""As far as the settings go."""


@dataclass(frozen=True)
class Speed:
    """What one training step costs on this machine, as it was tried.

    look_seconds: to score one held-out window. peak_bytes: of memory, at the most. micro_batch: windows at a
    time, where memory does not hold a batch.
    """

    step_seconds: float
    look_seconds: float
    peak_bytes: int
    device: str
    precision: str
    num_steps: int
    micro_batch: int | None


@dataclass(frozen=True)
class Music:
    """What there is of a stem. seconds: by split. beats: beats a minute of each track that has a clear beat.

    num_tracks: that were listened to for a beat. scored_length: samples scored in a window, fewer than
    configured where no piece is long enough.
    """

    seconds: dict[str, float]
    shard_bytes: int
    beats: tuple[float, ...]
    num_tracks: int
    scored_length: int

    @property
    def beats_a_minute(self) -> float | None:
        """Of the track in the middle."""
        return median(self.beats) if self.beats else None


@dataclass(frozen=True)
class Forecast:
    """One stem's training. music: None where no input was given."""

    stem: str
    sample_rate: int
    model: ModelConfig
    training: TrainingConfig
    num_parameters: int
    multiply_adds: float  # a generated sample
    speed: Speed
    music: Music | None = None

    @property
    def receptive_field_seconds(self) -> float:
        return self.model.receptive_field / self.sample_rate

    @property
    def scored_a_step(self) -> int:
        """Samples that are scored in one step."""
        scored = self.training.scored_length if self.music is None else self.music.scored_length
        return self.training.batch_size * scored

    @property
    def audio_seconds_a_step(self) -> float:
        """Of what is scored; the context before it is heard too."""
        return self.scored_a_step / self.sample_rate

    @property
    def looks_seconds(self) -> float:
        """Of the looks at held-out audio on the way, and at all of it at the end, where it is known."""
        num_looks = math.ceil(self.training.steps / self.training.heldout_every)
        there, in_a_look = self._heldout_windows, self.training.heldout_windows
        if there is None:
            return self.speed.look_seconds * num_looks * in_a_look
        return self.speed.look_seconds * (num_looks * min(in_a_look, there) + there)

    @property
    def training_seconds(self) -> float:
        """Steps and looks; takes on the way and checkpoints come on top of it."""
        return self.training.steps * self.speed.step_seconds + self.looks_seconds

    @property
    def train_samples(self) -> int | None:
        return None if self.music is None else round(self.music.seconds.get("train", 0) * self.sample_rate)

    @property
    def passes(self) -> float | None:
        """How often each sample is scored in the whole training, on average."""
        return self.training.steps * self.scored_a_step / self.train_samples if self.train_samples else None

    @property
    def _heldout_windows(self) -> int | None:
        if self.music is None:
            return None
        samples = self.music.seconds.get("heldout", 0) * self.sample_rate
        return math.ceil(samples / self.music.scored_length)


def forecast_json(forecast: Forecast) -> dict[str, object]:
    """A forecast as JSON: samples, or what a name says."""
    music, speed = forecast.music, forecast.speed
    told: dict[str, object] = {
        "receptive_field": forecast.model.receptive_field,
        "receptive_field_seconds": forecast.receptive_field_seconds,
        "num_layers": len(forecast.model.dilations),
        "num_parameters": forecast.num_parameters,
        "multiply_adds_a_sample": forecast.multiply_adds,
        "device": speed.device,
        "precision": speed.precision,
        "steps_tried": speed.num_steps,
        "step_seconds": speed.step_seconds,
        "steps_a_second": 1 / speed.step_seconds,
        "scored_samples_a_second": forecast.scored_a_step / speed.step_seconds,
        "audio_seconds_a_step": forecast.audio_seconds_a_step,
        "steps": forecast.training.steps,
        "training_seconds": forecast.training_seconds,
        "heldout_looks_seconds": forecast.looks_seconds,
        "peak_bytes": speed.peak_bytes,
        "micro_batch": speed.micro_batch,
    }
    if music is not None:
        told |= {
            **{f"{split}_seconds": seconds for split, seconds in music.seconds.items()},
            "passes": forecast.passes,
            "shard_bytes": music.shard_bytes,
            "beats_a_minute": music.beats_a_minute,
            "slowest_beats_a_minute": min(music.beats, default=None),
            "fastest_beats_a_minute": max(music.beats, default=None),
            "tracks_with_a_beat": len(music.beats),
            "tracks_listened_to": music.num_tracks,
        }
    return told


# Warnings


def collect_warnings(forecasts: Sequence[Forecast]) -> list[str]:
    """What a person should know before the hours are spent; what holds for several stems is said once."""
    stems: dict[str, list[str]] = {}
    for forecast in forecasts:
        for text in warn_of(forecast):
            stems.setdefault(text, []).append(forecast.stem)
    return [f"{', '.join(names)}: {text}" for text, names in stems.items()]


def warn_of(forecast: Forecast) -> Iterator[str]:
    """What is to be said of one stem."""
    yield from _warn_of_warmup(forecast.training)
    if forecast.music is not None:
        yield from _warn_of_little_music(forecast, forecast.music.seconds.get("train", 0.0))
        yield from _warn_of_passes(forecast)
        yield from _warn_of_reach(forecast, forecast.music.beats_a_minute)
    if forecast.speed.micro_batch is not None:
        yield (
            f"memory does not hold a batch of {forecast.training.batch_size} windows; "
            f"{forecast.speed.micro_batch} are taken at a time: the steps are the same, and slower"
        )


def _warn_of_warmup(training: TrainingConfig) -> Iterator[str]:
    if training.warmup_steps > training.steps:
        yield (
            f"the learning rate rises for {training.warmup_steps:,} steps, and the training ends after "
            f"{training.steps:,}, at {training.steps / training.warmup_steps:.0%} of it; lower "
            "training.warmup_steps, to a tenth of training.steps or less"
        )


def _warn_of_little_music(forecast: Forecast, seconds: float) -> Iterator[str]:
    if seconds < LEAST_SECONDS:
        yield (
            f"{seconds / 60:.1f} min to train on is little: on four minutes of bass a small network stopped "
            f"getting better at other music after 300 steps. {LEAST_SECONDS / 60:.0f} min are the least, "
            "hours are better; add audio"
        )
    if forecast.train_samples is not None and forecast.num_parameters > forecast.train_samples:
        yield (
            f"the network has more parameters ({forecast.num_parameters:,}) than there are samples to train "
            f"on ({forecast.train_samples:,}) and can learn them by heart; lower model.residual_channels, "
            "model.gate_channels and model.skip_channels, or add audio"
        )


def _warn_of_passes(forecast: Forecast) -> Iterator[str]:
    if forecast.passes is not None and forecast.passes > MOST_PASSES:
        enough = max(1, math.floor(forecast.training.steps * MOST_PASSES / forecast.passes))
        stop = " or training.stop_after=10, which ends it when it gets no better at held-out audio"
        yield (
            f"in {forecast.training.steps:,} steps each sample is scored {forecast.passes:,.0f} times; beyond"
            f" {MOST_PASSES:.0f} or so a network learns its music by heart. Add audio, or set "
            f"training.steps={enough}{'' if forecast.training.stop_after else stop}"
        )


def _warn_of_reach(forecast: Forecast, beats_a_minute: float | None) -> Iterator[str]:
    if beats_a_minute is None:
        return
    beat, reach = 60 / beats_a_minute, forecast.receptive_field_seconds
    at = f"at {beats_a_minute:.0f} beats a minute"
    if reach >= beat:
        return
    if reach < beat / SIXTEENTHS:
        short = (
            f"not even a sixteenth ({beat / SIXTEENTHS:.3f} s {at}): it learns how notes sound, and nothing "
            "of rhythm"
        )
    else:
        short = f"less than a beat ({beat:.2f} s {at}): it cannot keep time by itself"
    remedies = " or ".join(name_reaching(forecast.model, math.ceil(beat * forecast.sample_rate)))
    remedy = f". To reach a beat: {remedies}" if remedies else "; lower ingest.sample_rate to reach further"
    yield f"it hears {reach:.3f} s back, {short}{remedy}"


def name_reaching(model: ModelConfig, num_samples: int) -> Iterator[str]:
    """Settings with which a network hears so far back, each a change by itself, and its layers then."""
    changes: list[dict[str, int]] = []
    if isinstance(model.dilation_cycle, int):
        cycles = range(model.dilation_cycle + 1, LONGEST_CYCLE + 1)
        changes += _first(model, num_samples, [{"dilation_cycle": cycle} for cycle in cycles])
    more = range(model.num_cycles + 1, MOST_CYCLES + 1)
    changes += _first(model, num_samples, [{"num_cycles": number} for number in more])
    if model.kernel_size == 2:
        more = range(model.num_cycles, MOST_CYCLES + 1)
        changes += _first(model, num_samples, [{"kernel_size": 3, "num_cycles": number} for number in more])
    for change in changes:
        settings = " ".join(f"model.{name}={value}" for name, value in change.items())
        yield f"{settings} ({len(model.model_copy(update=change).dilations)} layers)"


def _first(model: ModelConfig, num_samples: int, changes: Sequence[dict[str, int]]) -> list[dict[str, int]]:
    """The first of these changes that reaches so far; none if none does."""
    reaching = (each for each in changes if model.model_copy(update=each).receptive_field >= num_samples)
    return [each for each in [next(reaching, None)] if each is not None]
