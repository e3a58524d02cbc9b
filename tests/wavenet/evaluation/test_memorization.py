"""A passage of the training data is found in a take, other music is not taken for one."""

import numpy as np
import pytest

from tests.wavenet.evaluation.played import QUANTIZER, RATE, play, write_set
from wavenet.audio.fingerprint import FRAMES_PER_SECOND, fingerprint_blocks
from wavenet.errors import ShardFormatError
from wavenet.evaluation import memorization
from wavenet.evaluation.memorization import (
    NOTHING,
    OTHER,
    SAME,
    TOO_SHORT,
    find_memory,
    fingerprint_training,
    load_prints,
    needed_agreement,
    save_prints,
)


@pytest.fixture(scope="module")
def training(music):
    return fingerprint_training(music)


def cut(seed, start, seconds, noise_db=None):
    """Part of a track as a take has it: through the codes, with noise so far below it if asked for."""
    waveform = play(seed, 16.0)[round(start * RATE) :][: round(seconds * RATE)]
    if noise_db is not None:
        rms = np.sqrt(np.square(waveform).mean()) * 10 ** (-noise_db / 20)
        waveform = waveform + rms * np.random.default_rng(5).standard_normal(len(waveform))
    return QUANTIZER.decode(QUANTIZER.encode(waveform.astype(np.float32)))


@pytest.mark.parametrize("part", [0.0, 0.13, 0.5, 0.77])
@pytest.mark.parametrize("seconds", [2.0, 5.0])
def test_a_passage_of_the_training_data_is_found_where_it_is(training, seconds, part):
    start = 6.0 + part / FRAMES_PER_SECOND
    memory = find_memory(cut(1, start, seconds, noise_db=20), RATE, training)
    assert memory.verdict == SAME
    assert (memory.closest.track_id, memory.closest.track) == (f"{1:032x}", "song 1")
    assert memory.whole.closest.offset_seconds == pytest.approx(start, abs=0.05)
    assert memory.whole.closest.agreement > 0.85
    assert memory.seconds_covered == pytest.approx(seconds)


def test_a_second_of_it_is_enough(training):
    memory = find_memory(cut(2, 9.01, 1.0), RATE, training)
    assert (memory.verdict, memory.closest.track) == (SAME, "song 2")
    assert memory.closest.offset_seconds == pytest.approx(9.01, abs=0.05)


@pytest.mark.parametrize("seconds", [1.0, 2.0, 10.0])
def test_other_music_is_not_taken_for_it(training, seconds):
    for seed in range(20, 26):
        memory = find_memory(cut(seed, 2.0, seconds), RATE, training)
        assert not memory.closest.same
        assert memory.verdict == OTHER or (seconds == 1.0 and memory.verdict == TOO_SHORT)


def test_a_copied_passage_shows_amid_other_music(training):
    take = np.concatenate([cut(30, 0.0, 6.0), cut(0, 3.0, 4.0), cut(31, 0.0, 4.0)])
    memory = find_memory(take, RATE, training)
    assert memory.verdict == SAME
    assert [one.start_seconds for one in memory.passages if one.closest.same] == [4.0, 6.0, 8.0]  # half of it
    assert memory.closest == memory.passages[3].closest
    assert memory.closest.offset_seconds == pytest.approx(3.0, abs=0.05)


@pytest.mark.parametrize(
    "take",
    [np.zeros(8 * RATE), play(0, 0.8), np.zeros(0), 0.5 * np.sin(np.arange(8 * RATE) * 0.3)],
    ids=["silence", "too short", "no samples", "steady tone"],
)
def test_what_cannot_be_judged_is_said_to_be_so(training, take):
    memory = find_memory(take.astype(np.float32), RATE, training)
    assert (memory.verdict, memory.closest, memory.seconds_covered) == (NOTHING, None, 0.0)


def test_training_data_without_prints_judges_nothing(tmp_path):
    silent = fingerprint_training(write_set(tmp_path / "set", [(play(1, 0.5), "train")]))
    assert find_memory(cut(1, 0.0, 4.0), RATE, silent).verdict == NOTHING
    assert find_memory(cut(1, 0.0, 4.0), RATE, []).verdict == NOTHING


def test_a_loop_shorter_than_a_take_is_found_in_it(tmp_path):
    loops = fingerprint_training(write_set(tmp_path / "set", [(play(3, 3.0), "train")]))
    memory = find_memory(np.concatenate([cut(40, 0.0, 2.0), cut(3, 0.0, 3.0)]), RATE, loops)
    assert (memory.verdict, memory.closest.track) == (SAME, "song 0")


def test_offsets_are_on_the_clock_of_the_track_where_silence_was_cut(music):
    """Two stretches of one track; the second begins seconds later than it would without the gap."""
    first, second = (fingerprint_blocks([cut(2, start, 7.0)], RATE) for start in (0.0, 9.0))
    stretches = [
        memorization.TrainingPrints("a", "song", 0.0, first),
        memorization.TrainingPrints("a", "song", 9.0, second),
    ]
    found = find_memory(cut(2, 11.0, 3.0), RATE, stretches).closest
    assert found.offset_seconds == pytest.approx(11.0, abs=0.05)


def test_a_long_take_is_judged_by_passages_spread_over_it(training, monkeypatch):
    monkeypatch.setattr(memorization, "MOST_PASSAGES", 4)
    take = np.concatenate([cut(50, 0.0, 16.0), cut(51, 0.0, 16.0)])
    memory = find_memory(take, RATE, training)
    assert memory.whole is None
    starts = [one.start_seconds for one in memory.passages]
    assert starts == [0.0, 6.0, 14.0, 22.0]
    assert memory.seconds_covered == pytest.approx(16.0)


def test_the_shorter_a_passage_the_more_must_agree():
    needed = [needed_agreement(count) for count in (16, 20, 50, 115, 300, 5000)]
    assert needed == sorted(needed, reverse=True)
    assert needed[-1] == needed[-2] == 0.65
    assert needed[0] < 1


def test_prints_are_read_as_they_were_written(training, tmp_path):
    save_prints(training, tmp_path)
    for one, other in zip(load_prints(tmp_path), training, strict=True):
        assert (one.track_id, one.track, one.start_seconds) == (
            other.track_id, other.track, other.start_seconds,
        )  # fmt: skip
        assert np.array_equal(one.prints, other.prints)
    (tmp_path / "none").mkdir()
    save_prints([], tmp_path / "none")
    assert load_prints(tmp_path / "none") == []


@pytest.mark.parametrize("name", ["prints.npy", "index.json"])
def test_damaged_prints_are_refused(training, tmp_path, name):
    save_prints(training, tmp_path)
    content = (tmp_path / name).read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"[]"):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(ShardFormatError, match="fingerprints"):
            load_prints(tmp_path)
