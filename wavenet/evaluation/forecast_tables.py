"""Forecasts as plain tables for a terminal: text in cells. Knows nothing of terminals.

The invariant: every row is as long as its head, and what is not known is a dash.
"""

from collections.abc import Sequence

from wavenet.evaluation.doctor_tables import SPLIT_NAMES, Table
from wavenet.evaluation.forecast import Forecast, Music
from wavenet.evaluation.listening_page import UNKNOWN, format_number, format_seconds

GIGA, MEGA, KILO = 1e9, 1e6, 1e3


def forecast_tables(forecasts: Sequence[Forecast]) -> list[Table]:
    """(title, head, rows): the networks, their training on this machine, their music where it is known."""
    tables = [_network_table(forecasts), _training_table(forecasts)]
    heard = [(each, each.music) for each in forecasts if each.music is not None]
    return [*tables, _music_table(heard)] if heard else tables


def _network_table(forecasts: Sequence[Forecast]) -> Table:
    head = ["Stem", "Receptive field", "Seconds", "Layers", "Parameters", "Multiply-adds a sample"]
    rows = [
        [
            each.stem,
            f"{each.model.receptive_field:,} samples",
            f"{each.receptive_field_seconds:.3f} s",
            str(len(each.model.dilations)),
            format_count(each.num_parameters),
            format_count(each.multiply_adds),
        ]
        for each in forecasts
    ]
    return "The networks", head, rows


def _training_table(forecasts: Sequence[Forecast]) -> Table:
    head = ["Stem", "Audio a step", "Steps/s", "Samples/s", "Steps", "They take", "Of it scoring", "Memory"]
    rows = [
        [
            each.stem,
            format_seconds(each.audio_seconds_a_step),
            f"{1 / each.speed.step_seconds:.3g}",
            format_number(each.scored_a_step / each.speed.step_seconds),
            format_number(each.training.steps),
            format_duration(each.training_seconds),
            format_duration(each.looks_seconds),
            format_bytes(each.speed.peak_bytes),
        ]
        for each in forecasts
    ]
    where = sorted({f"{each.speed.device} in {each.speed.precision}" for each in forecasts})
    return f"Training on this machine, as tried on {', '.join(where)}", head, rows


def _music_table(heard: Sequence[tuple[Forecast, Music]]) -> Table:
    splits = [
        split
        for split in SPLIT_NAMES
        if split != "test" or any(music.seconds.get(split) for _, music in heard)
    ]
    names = [SPLIT_NAMES[split] for split in splits]
    head = ["Stem", *names, "Each sample scored", "Shards", "Beats a minute"]
    rows = [
        [
            each.stem,
            *(format_seconds(music.seconds.get(split, 0.0)) for split in splits),
            UNKNOWN if each.passes is None else f"{each.passes:,.1f} times",
            format_bytes(music.shard_bytes),
            _format_beats(music),
        ]
        for each, music in heard
    ]
    return "The music", head, rows


def _format_beats(music: Music) -> str:
    """120, or 120 (64 to 180) where tracks differ."""
    if music.beats_a_minute is None:
        return UNKNOWN
    middle, slowest, fastest = music.beats_a_minute, min(music.beats), max(music.beats)
    spread = f" ({slowest:.0f} to {fastest:.0f})" if round(slowest) != round(fastest) else ""
    return f"{middle:.0f}{spread}"


def format_count(number: float) -> str:
    """A large number by its first digits: 812, 233 k, 1.24 M, 15.2 G."""
    for unit, name in ((GIGA, " G"), (MEGA, " M"), (KILO, " k")):
        if number >= 0.9995 * unit:
            return f"{number / unit:#.3g}".rstrip(".") + name
    return f"{number:.0f}"


def format_bytes(number: int) -> str:
    """Bytes as people buy them: 640 kB, 12.3 MB, 1.9 GB."""
    return f"{format_count(number)}{'B' if number >= 0.9995 * KILO else ' B'}"


def format_duration(seconds: float) -> str:
    """How long to wait: 45 s, 12 min, 3 h 20 min, 5 days 4 h, no finer than a trial of seconds can say."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{round(minutes / 60) // 24} days {round(minutes / 60) % 24} h"
