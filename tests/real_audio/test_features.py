"""Features of rendered songs against the scores they were rendered from."""

import numpy as np
import pytest
import soundfile

from wavenet.audio.features import extract_features
from wavenet.data.scores import notes_for_stem, notes_roll, read_notes

pytestmark = pytest.mark.real_audio

STEMS = ("drums", "bass", "other")
FRAME_RATE = 100


def read_stem(folder, stem, feature):
    """(frames, dims) of a feature of a stem, and the roll of its notes on the same frames."""
    waveform, sample_rate = soundfile.read(folder / f"{stem}.wav", dtype="float32")
    hop_length = sample_rate // FRAME_RATE
    frames = np.concatenate(
        [chunk[feature] for chunk in extract_features([waveform], sample_rate, hop_length, [feature])]
    )
    notes = notes_for_stem(read_notes(folder / "notes.mid"), stem, STEMS)
    return frames, notes_roll(notes, hop_length, sample_rate, 0, len(frames))


@pytest.mark.parametrize("song", ["5432gone_redfarn", "be_sharp_bw_redfarn", "busy_schedule"])
def test_onset_strength_peaks_where_the_score_strikes_a_drum(real_audio, song):
    onset, roll = read_stem(real_audio / "stems" / song, "drums", "onset")
    onset = onset[:, 0]
    struck = np.flatnonzero(roll[:-2, 128:].any(axis=1))
    rises = np.diff(onset, prepend=0, append=0)
    peaks = np.flatnonzero((rises[:-1] > 0) & (rises[1:] <= 0) & (onset > np.median(onset) + 1))
    hits = [np.abs(peaks - frame).min() <= 1 for frame in struck]
    assert len(struck) > 100
    assert np.mean(hits) > 0.95

    strikes = np.zeros(len(onset))
    strikes[struck] = 1
    strikes = np.maximum(strikes, np.roll(strikes, 1))
    away = [np.corrcoef(np.roll(strikes, lag), onset)[0, 1] for lag in (-5, 5)]
    assert np.corrcoef(strikes, onset)[0, 1] > max(0.6, *away)


@pytest.mark.parametrize("song", ["5432gone_redfarn", "be_sharp_bw_redfarn"])
def test_pitch_is_that_of_the_bass_players_score(real_audio, song):
    """Where one note sounds alone, from 40 ms after its attack on to 20 ms before its end."""
    f0, roll = read_stem(real_audio / "stems" / song, "bass", "f0")
    sounding, struck = roll[:, :128] > 0, roll[:, 128:].any(axis=1)
    settled = np.logical_and.reduce([np.roll(sounding, lag, axis=0) for lag in range(-2, 5)]).any(axis=1)
    crowded = np.logical_or.reduce([np.roll(sounding, lag, axis=0) for lag in range(10)]).sum(axis=1) > 1
    restruck = np.logical_or.reduce([np.roll(struck, lag) for lag in range(-2, 5)])
    alone = np.flatnonzero(settled & ~crowded & ~restruck)
    expected = 440 * 2 ** ((sounding[alone].argmax(axis=1) - 69) / 12)
    frequency = f0[alone, 0]
    voiced = frequency > 0
    right = np.abs(12 * np.log2(frequency[voiced] / expected[voiced])) < 0.5
    assert len(alone) > 500
    assert voiced.mean() > 0.9
    assert right.mean() > 0.97
