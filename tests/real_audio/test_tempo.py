"""Tempos of recorded loops, which are whole bars long, and of songs whose scores say their tempo."""

import numpy as np
import pytest
import soundfile

from wavenet.audio.features import extract_features
from wavenet.audio.tempo import FRAME_RATE, estimate_tempo

pytestmark = pytest.mark.real_audio

BEATS = {
    "loop_amen": 4, "loop_amen_full": 16, "loop_breakbeat": 4, "loop_compus": 16, "loop_electric": 4,
    "loop_garzul": 16, "loop_mehackit1": 4, "loop_mehackit2": 4, "loop_mika": 16, "loop_safari": 16,
}  # fmt: skip
"""In the whole file."""
SONGS = {
    "5432gone_redfarn": 120, "be_sharp_bw_redfarn": 109, "boogi_marabi_redfarn": 153,
    "careless_perc_redfarn": 64, "city_blues_redfarn": 120,
}  # fmt: skip
WITHOUT_CLEAR_BEAT = ["loop_3d_printer", "loop_drone_g_97", "loop_perc1", "loop_perc2", "loop_weirdo"]


def tempo_of(path):
    """The tempo of a file, and its length in seconds."""
    waveform, rate = soundfile.read(path, dtype="float32", always_2d=True)
    hop = rate // FRAME_RATE
    frames = extract_features([waveform.mean(axis=1)], rate, hop, ["onset"])
    onset = np.concatenate([chunk["onset"][:, 0] for chunk in frames])
    return estimate_tempo(onset, rate / hop), len(waveform) / rate


def is_near(bpm, expected):
    """Half and double are the same beat to somebody else."""
    return min(abs(bpm / expected / factor - 1) for factor in (0.5, 1, 2)) < 0.03


@pytest.mark.parametrize("name", BEATS)
def test_a_loop_has_the_tempo_that_its_length_says(real_audio, name):
    tempo, seconds = tempo_of(real_audio / "loops" / f"{name}.flac")
    assert is_near(tempo.bpm, 60 * BEATS[name] / seconds)


@pytest.mark.parametrize("name", WITHOUT_CLEAR_BEAT)
def test_a_loop_of_drones_or_noises_has_none(real_audio, name):
    assert tempo_of(real_audio / "loops" / f"{name}.flac")[0] is None


@pytest.mark.parametrize("song", SONGS)
def test_a_song_has_the_tempo_that_its_score_says(real_audio, song):
    mixture = real_audio / "stems" / song / "mixture.wav"
    if not mixture.exists():
        pytest.skip(f"{song} is not among the songs that were built")
    tempo, _ = tempo_of(mixture)
    assert is_near(tempo.bpm, SONGS[song])
