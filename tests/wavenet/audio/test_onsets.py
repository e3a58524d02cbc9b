"""Onsets are found where the score has hits, and nowhere in silence, hum or noise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavenet.audio.io import read_audio
from wavenet.audio.onsets import find_onsets
from wavenet.data.demo_album import write_demo_album
from wavenet.data.scores import notes_for_stem, read_notes

RATE = 16000


def hits(seconds, times, seed=0):
    """Bursts of noise that decay within 50 ms, over a faint room."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    waveform = random.normal(0, 1e-4, len(time))
    for start in times:
        since = time - start
        waveform += (since >= 0) * np.exp(-np.maximum(since, 0) / 0.02) * random.normal(0, 0.2, len(time))
    return waveform.astype(np.float32)


@given(gaps=st.lists(st.floats(0.12, 0.8), min_size=1, max_size=8))
def test_hits_are_found_where_they_are(gaps):
    times = np.cumsum(gaps)
    found = find_onsets(hits(times[-1] + 0.3, times), RATE).seconds
    assert max(np.abs(found - time).min() for time in times) <= 0.021
    assert len(found) <= len(times) + max(1, len(times) // 3)  # the noise in a tail may flicker


def test_a_hit_at_the_very_start_is_found():
    assert find_onsets(hits(1, [0]), RATE).seconds[0] == 0


@pytest.mark.parametrize("seconds", [0, 0.003, 1])
def test_silence_has_no_onsets(seconds):
    assert len(find_onsets(np.zeros(round(seconds * RATE)), RATE).seconds) == 0


def test_a_hum_and_a_hiss_begin_once():
    time = np.arange(4 * RATE) / RATE
    hum = 0.3 * np.sin(2 * np.pi * 110 * time) * np.minimum(1, time / 0.01)
    hiss = np.random.default_rng(0).normal(0, 0.1, len(time))
    for steady in (hum, hiss):
        assert len(find_onsets(steady, RATE).seconds) <= 3


def test_strength_has_a_frame_each_ten_milliseconds():
    onsets = find_onsets(hits(2, [1]), RATE)
    assert onsets.frame_seconds == 0.01
    assert onsets.strength.shape == (200,)


def test_the_demo_albums_drums_are_found_by_their_score(tmp_path):
    song = write_demo_album(tmp_path / "album", num_songs=1, seconds=16) / "song-01"
    waveform, rate = read_audio(song / "drums.wav")
    waveform = waveform.reshape(len(waveform), -1)[:, 0]
    notes = notes_for_stem(read_notes(song / "notes.mid"), "drums")
    played = np.unique([round(note.onset_seconds, 2) for note in notes])
    found = find_onsets(waveform, rate).seconds
    heard = [np.abs(found - time).min() < 0.05 for time in played]
    right = [np.abs(played - time).min() < 0.05 for time in found]
    assert np.mean(heard) > 0.9
    assert np.mean(right) > 0.9
