"""What is foretold follows from what was measured; what is warned of, and what not."""

import json
import re
from dataclasses import replace

import pytest

from wavenet.config import ModelConfig, TrainingConfig
from wavenet.evaluation.forecast import (
    LEAST_SECONDS,
    MOST_PASSES,
    Forecast,
    Music,
    Speed,
    collect_warnings,
    forecast_json,
    name_reaching,
    warn_of,
)
from wavenet.evaluation.forecast_tables import (
    forecast_tables,
    format_bytes,
    format_count,
    format_duration,
)
from wavenet.evaluation.listening_page import UNKNOWN

RATE = 16000
SPEED = Speed(
    step_seconds=0.5, look_seconds=0.1, peak_bytes=640_000_000, device="cpu", precision="fp32", num_steps=9,
    micro_batch=None,
)  # fmt: skip
MUSIC = Music(
    seconds={"train": 7200.0, "heldout": 600.0, "test": 0.0}, shard_bytes=125_000_000, beats=(), num_tracks=4,
    scored_length=8000,
)  # fmt: skip
PLENTY = Forecast(
    stem="drums",
    sample_rate=RATE,
    model=ModelConfig(dilation_cycle=10, num_cycles=3),
    training=TrainingConfig(
        steps=1000, batch_size=4, scored_length=8000, heldout_every=300, heldout_windows=8
    ),
    num_parameters=300_000,
    multiply_adds=233_472,
    speed=SPEED,
    music=MUSIC,
)


def with_beat(bpm, **model):
    return replace(PLENTY, model=PLENTY.model.model_copy(update=model), music=replace(MUSIC, beats=(bpm,)))


def with_music(seconds, **changes):
    return replace(PLENTY, music=replace(MUSIC, seconds={"train": seconds, "heldout": 60.0}), **changes)


# figures


def test_seconds_steps_and_passes_follow_from_the_same_figures():
    assert PLENTY.receptive_field_seconds == 3070 / 16000
    assert PLENTY.scored_a_step == 32000
    assert PLENTY.audio_seconds_a_step == 2.0
    assert PLENTY.passes == pytest.approx(1000 * 2.0 / 7200)


def test_looks_at_held_out_audio_are_part_of_the_time():
    looks, windows, last = 4, 8, 600 * RATE / 8000
    assert PLENTY.looks_seconds == pytest.approx(0.1 * (looks * windows + last))
    assert PLENTY.training_seconds == pytest.approx(500 + PLENTY.looks_seconds)


def test_without_music_the_last_look_is_not_known_and_nothing_is_said_of_passes():
    alone = replace(PLENTY, music=None)
    assert alone.looks_seconds == pytest.approx(0.1 * 4 * 8)
    assert alone.passes is None
    assert "passes" not in forecast_json(alone)


def test_windows_that_shrink_score_less():
    short = replace(PLENTY, music=replace(MUSIC, scored_length=1000))
    assert short.scored_a_step == 4000


def test_json_holds_samples_or_what_its_names_say():
    told = json.loads(json.dumps(forecast_json(with_beat(120.0)), allow_nan=False))
    assert told["receptive_field"] == 3070
    assert told["receptive_field_seconds"] == pytest.approx(0.191875)
    assert told["scored_samples_a_second"] == 64000
    assert told["beats_a_minute"] == 120.0
    assert told["train_seconds"] == 7200.0


# warnings


def test_enough_music_and_no_beat_is_nothing_to_warn_of():
    assert list(warn_of(PLENTY)) == []
    assert list(warn_of(replace(PLENTY, music=None))) == []


def test_little_music_is_warned_of_with_its_minutes():
    (text,) = warn_of(with_music(LEAST_SECONDS - 60))
    assert text.startswith("9.0 min to train on is little")
    assert list(warn_of(with_music(LEAST_SECONDS))) == []


def test_more_parameters_than_samples_are_warned_of():
    few = with_music(LEAST_SECONDS, num_parameters=round(LEAST_SECONDS * RATE) + 1)
    (text,) = warn_of(few)
    assert "more parameters (9,600,001) than there are samples to train on (9,600,000)" in text


def test_too_many_passes_name_as_many_steps_as_would_do():
    training = PLENTY.training.model_copy(update={"steps": 50_000})
    often = with_music(LEAST_SECONDS, training=training)
    (text,) = warn_of(often)
    assert "each sample is scored 167 times" in text
    steps = int(re.search(r"training\.steps=(\d+)", text)[1])
    enough = replace(often, training=training.model_copy(update={"steps": steps}))
    assert enough.passes <= MOST_PASSES
    assert list(warn_of(enough)) == []
    assert "stop_after" in text
    stopped = training.model_copy(update={"stop_after": 5})
    assert "stop_after" not in next(warn_of(replace(often, training=stopped)))


def test_less_than_a_beat_is_warned_of_and_less_than_a_sixteenth_more_sternly():
    (text,) = warn_of(with_beat(120.0))
    assert "it hears 0.192 s back, less than a beat (0.50 s at 120 beats a minute)" in text
    (text,) = warn_of(with_beat(120.0, num_cycles=1))
    assert "not even a sixteenth (0.125 s at 120 beats a minute)" in text
    assert "nothing of rhythm" in text
    assert list(warn_of(with_beat(120.0, dilation_cycle=13))) == []


def test_the_track_in_the_middle_sets_the_beat():
    several = replace(PLENTY, music=replace(MUSIC, beats=(60.0, 120.0, 180.0)))
    assert "at 120 beats" in next(warn_of(several))


@pytest.mark.parametrize("model", [
    ModelConfig(), ModelConfig(kernel_size=3), ModelConfig(dilation_cycle=[1, 2, 4, 8], num_cycles=2),
])  # fmt: skip
def test_each_remedy_reaches_as_far_as_is_asked_for(model):
    remedies = list(name_reaching(model, 4500))
    for remedy in remedies:
        change = {name: int(value) for name, value in re.findall(r"model\.(\w+)=(\d+)", remedy)}
        changed = model.model_copy(update=change)
        assert changed.receptive_field >= 4500
        assert f"({len(changed.dilations)} layers)" in remedy
    assert len(remedies) == (0 if isinstance(model.dilation_cycle, list) else 5 - model.kernel_size)


def test_where_no_setting_reaches_so_far_a_lower_rate_is_named():
    (text,) = warn_of(with_beat(60.0, dilation_cycle=[1, 2]))
    assert text.endswith("lower ingest.sample_rate to reach further")


def test_a_warm_up_that_outlasts_the_training_is_told_with_where_it_ends():
    training = PLENTY.training.model_copy(update={"warmup_steps": 4000})
    (text,) = warn_of(replace(PLENTY, training=training))
    assert "ends after 1,000, at 25% of it; lower training.warmup_steps" in text


def test_memory_that_holds_no_batch_is_told():
    (text,) = warn_of(replace(PLENTY, speed=replace(SPEED, micro_batch=2)))
    assert "batch of 4 windows; 2 are taken at a time" in text


def test_what_holds_for_several_stems_is_said_once():
    drums = with_beat(120.0)
    (text,) = collect_warnings([drums, replace(drums, stem="bass")])
    assert text.startswith("drums, bass: it hears")


# tables


def test_rows_are_as_long_as_their_heads_with_and_without_music():
    for forecasts, count in (([PLENTY, with_beat(120.0)], 3), ([replace(PLENTY, music=None)], 2)):
        tables = forecast_tables(forecasts)
        assert len(tables) == count
        for _, head, rows in tables:
            assert {len(row) for row in rows} == {len(head)}


def test_an_unclear_beat_is_a_dash_and_several_tempos_are_a_range():
    several = replace(PLENTY, music=replace(MUSIC, beats=(64.0, 90.0, 120.0)))
    _, _, rows = forecast_tables([PLENTY, with_beat(97.0), several])[-1]
    assert [row[-1] for row in rows] == [UNKNOWN, "97", "90 (64 to 120)"]


@pytest.mark.parametrize(("number", "text"), [
    (812, "812"), (233_472, "233 k"), (1_236_992, "1.24 M"), (15.2e9, "15.2 G"), (999_900, "1.00 M"),
])  # fmt: skip
def test_counts_have_three_digits(number, text):
    assert format_count(number) == text


def test_bytes_have_their_unit():
    assert [format_bytes(n) for n in (12, 640_000, 2_210_000_000)] == ["12 B", "640 kB", "2.21 GB"]


@pytest.mark.parametrize(("seconds", "text"), [
    (45.2, "45 s"), (89.9, "90 s"), (725, "12 min"), (12_000, "3 h 20 min"), (438_933, "5 days 2 h"),
    (47.99 * 3600, "47 h 59 min"),
])  # fmt: skip
def test_durations_are_no_finer_than_a_trial(seconds, text):
    assert format_duration(seconds) == text
