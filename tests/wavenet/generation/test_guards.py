"""What is trouble and what is music, on codes that are made up."""

from dataclasses import replace

import numpy as np
import pytest

from wavenet.audio.quantization import Quantizer
from wavenet.generation.guards import (
    FRAMES_A_SECOND,
    LONGEST_SECONDS,
    Guard,
    Limits,
    Watch,
    count_repeated,
    fit_limits,
)

RATE = 8000
GUARD = Guard(Quantizer("mu-law", 256), RATE)
RNG = np.random.default_rng(0)


def seconds(count):
    return np.arange(round(count * RATE)) / RATE


def tone(count, hertz=220.0, level=0.3):
    return level * np.sin(2 * np.pi * hertz * seconds(count))


def noise(count, level=0.3):
    return RNG.uniform(-level, level, round(count * RATE))


def hits(count, period, level=0.8):
    """A drum that is hit once a period, never twice in quite the same way."""
    parts = []
    for _ in range(round(count / period)):
        time = seconds(period)
        body = np.sin(2 * np.pi * 60 * time) * np.exp(-18 * time) * level * RNG.uniform(0.8, 1)
        parts.append(body + noise(period, 0.3) * np.exp(-40 * time))
    return np.concatenate(parts)


def drum_machine(count):
    """Kick and snare of a machine, the same samples every second."""
    time = seconds(0.5)
    kick, snare = np.sin(2 * np.pi * 50 * time) * np.exp(-12 * time), noise(0.5, 0.6) * np.exp(-15 * time)
    return np.tile(np.concatenate([kick, snare]), round(count))


def plucks(count):
    """Notes that die away, a second each."""
    time = seconds(1)
    pitches = (110, 146.83, 164.81, 196)
    notes = [0.4 * np.sin(2 * np.pi * hertz * time) * np.exp(-3 * time) for hertz in pitches]
    return np.concatenate([notes[i % 4] for i in range(round(count))])


def quiet_with_pauses(count):
    """A soft voice, 40 dB down, that rests for two seconds after each."""
    phrase = np.concatenate([tone(1.5, 330, 0.01) * np.hanning(len(seconds(1.5))), np.zeros(2 * RATE)])
    return np.tile(phrase, round(count / 3.5))


def first_trouble(waveform, guard=GUARD):
    """Its kind and the second at which it is seen, or None."""
    codes, watch = guard.quantizer.encode(waveform.astype(np.float32)), Watch(guard)
    for number in range(len(codes) // guard.hop):
        watch.hear(codes[number * guard.hop : (number + 1) * guard.hop])
        if trouble := watch.trouble():
            return trouble.kind, (number + 1) / FRAMES_A_SECOND, trouble.num_frames / FRAMES_A_SECOND
    return None


TROUBLE = {
    "digital silence": (np.zeros(6 * RATE), "silence"),
    "a constant": (np.full(6 * RATE, 0.2), "silence"),
    "two silent levels": (np.tile([0, 1e-5], 3 * RATE), "silence"),
    "white noise": (noise(6), "noise"),
    "a stuck loop of 10 ms": (np.tile(noise(0.01), 600), "a stuck loop"),
    "a stuck loop of 170 ms": (np.tile(tone(0.17, 90) + tone(0.17, 333), 40), "a stuck loop"),
    "two levels in turn": (np.tile([0.3, -0.3], 3 * RATE), "a stuck loop"),
    "a loop, and noise far under it": (np.tile(tone(0.013, 770), 600) + noise(7.8, 0.002), "a stuck loop"),
    "clipping": (np.clip(tone(6, 101.7, 3), -1, 1), "clipping"),
    "uniform codes": (GUARD.quantizer.decode(RNG.integers(0, 256, 6 * RATE)), "noise"),
}  # fmt: skip


@pytest.mark.parametrize("name", TROUBLE)
def test_trouble_is_seen_a_few_seconds_after_it_began(name):
    waveform, kind = TROUBLE[name]
    music = plucks(4)
    found = first_trouble(np.concatenate([music, waveform]))
    assert found is not None
    assert found[0] == kind
    assert 4 < found[1] <= 4 + 5
    assert found[1] - found[2] == pytest.approx(4, abs=1)  # and that is where it began


MUSIC = {
    "plucked notes": plucks(20),
    "a groove": hits(20, 0.5),
    "sixteenths": hits(20, 0.125),
    "a drum machine": drum_machine(20),
    "quiet with pauses": quiet_with_pauses(21),
    "a held tone": tone(12, 219.3),
    "a slow wave": tone(12, 31.7),
    "a crash that dies away": noise(3, 0.7) * np.exp(-1.5 * seconds(3)),
    "soft noise": noise(8, 0.01),
    "loud hits": np.clip(hits(12, 0.5, 1.3), -1, 1),
}


def test_silence_leads_back_to_the_loudest_moment_of_the_second_before():
    hit, rest = tone(0.25), np.zeros(5 * RATE)
    codes = GUARD.quantizer.encode(np.concatenate([plucks(1), hit, tone(0.5, level=0.01), rest]).astype("f4"))
    watch = Watch(GUARD)
    for frame in codes.reshape(-1, GUARD.hop):
        watch.hear(frame)
        if trouble := watch.trouble():
            break
    assert trouble == ("silence", 4 * FRAMES_A_SECOND, 4)  # half a second


@pytest.mark.parametrize("name", MUSIC)
def test_music_is_no_trouble(name):
    assert first_trouble(MUSIC[name]) is None


def test_what_is_seen_depends_on_no_more_than_the_reach():
    codes = GUARD.quantizer.encode(np.concatenate([hits(10, 0.5), plucks(10)]).astype(np.float32))
    frames = codes.reshape(-1, GUARD.hop)
    whole, late = Watch(GUARD), Watch(GUARD)
    for frame in frames:
        whole.hear(frame)
    for frame in frames[-GUARD.reach :]:
        late.hear(frame)
    assert late.look() == whole.look()


@pytest.mark.parametrize("name", TROUBLE)
def test_a_watch_that_begins_later_sees_no_more(name):
    codes = GUARD.quantizer.encode(np.concatenate([plucks(2), TROUBLE[name][0]]).astype(np.float32))
    early, late = Watch(GUARD), Watch(GUARD)
    codes = codes[: len(codes) // GUARD.hop * GUARD.hop]
    for number, frame in enumerate(codes.reshape(-1, GUARD.hop)):
        early.hear(frame)
        if number > 30:
            late.hear(frame)
            assert all(np.array(late.look()) <= np.array(early.look()))


def test_limits_go_by_the_music():
    rests = np.concatenate([np.concatenate([tone(1), np.zeros(3 * RATE)]) for _ in range(4)])
    hiss = noise(8, 0.5)
    codes = [GUARD.quantizer.encode(music.astype(np.float32)) for music in (rests, hiss)]
    limits = fit_limits(codes, GUARD)
    assert limits.silence_seconds == pytest.approx(7, abs=0.5)
    assert limits.flatness > 0.97
    watcher = replace(GUARD, limits=limits)
    assert first_trouble(rests, watcher) is None
    assert first_trouble(hiss, watcher) is None
    assert first_trouble(np.zeros(9 * RATE), watcher)[0] == "silence"
    assert fit_limits([], GUARD) == GUARD.limits
    busy = fit_limits([GUARD.quantizer.encode(hits(9, 0.5).astype(np.float32))], GUARD)
    assert busy.silence_seconds < 2


def test_limits_of_quiet_music_follow_its_level():
    quiet = GUARD.quantizer.encode((plucks(8) * 0.01).astype(np.float32))
    limits = fit_limits([quiet], GUARD)
    assert limits.silence_db < -80
    assert limits.noise_db == pytest.approx(limits.silence_db + 40)
    loud = fit_limits([GUARD.quantizer.encode(tone(4, level=0.5).astype(np.float32))], GUARD)
    assert loud.silence_db == GUARD.limits.silence_db


def test_what_may_last_longer_than_is_held_back_is_not_watched():
    limits = Limits(silence_seconds=LONGEST_SECONDS + 1, repeated_seconds=LONGEST_SECONDS + 1)
    patient = replace(GUARD, limits=limits)
    assert first_trouble(np.zeros(20 * RATE), patient) is None
    assert (
        first_trouble(np.tile(noise(0.01), 2000), replace(patient, limits=replace(limits, flatness=1)))
        is None
    )
    assert patient.held <= 10 * FRAMES_A_SECOND


def test_a_period_is_found_or_there_is_none():
    beat = RNG.integers(0, 256, 300).astype(np.float64)
    assert count_repeated(np.tile(beat, 30), 4000) == 9000
    spoilt = np.concatenate([RNG.integers(0, 256, 1000), np.tile(beat, 30)]).astype(np.float64)
    assert 9000 - 1000 <= count_repeated(spoilt, 4000) <= 9000
    assert count_repeated(np.tile(beat, 15), 2000) == 0  # too few of them
    assert count_repeated(RNG.integers(0, 256, 9000).astype(np.float64), 4000) == 0
    assert count_repeated(np.full(9000, 7.0), 4000) == 0
    assert count_repeated(np.zeros(0), 4000) == 0
