"""Features are of the frames they say, however the audio arrives."""

import warnings
import weakref

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavenet.audio import features
from wavenet.audio.features import FEATURE_DIMS, count_frames, extract_context, extract_features

NAMES = ("energy", "onset", "f0", "chroma")
RATE, HOP = 16000, 160


def extract(waveform, sample_rate=RATE, hop_length=HOP, names=NAMES, cuts=()):
    """All frames of each feature, with the waveform cut at these samples."""
    blocks = np.split(np.asarray(waveform, np.float32), sorted(cuts))
    chunks = list(extract_features(blocks, sample_rate, hop_length, names))
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in names}


def make_tone(frequency, seconds=0.5, sample_rate=RATE, peak=0.3):
    """A tone of five partials; frequency: in Hz, or of each sample."""
    cycles = np.cumsum(np.broadcast_to(frequency, round(seconds * sample_rate))) / sample_rate
    partials = [k for k in range(1, 6) if k * np.max(frequency) < 0.45 * sample_rate]
    tone = sum(np.sin(2 * np.pi * k * cycles) / k for k in partials)
    return peak * tone / np.abs(tone).max()


def make_noise(num_samples, seed=0):
    return 0.1 * np.random.default_rng(seed).normal(size=num_samples)


def make_music(seconds=2.0, sample_rate=RATE):
    """Notes struck twice a second over a hiss."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    pitch = 110 * 2 ** (np.floor(2 * time) / 12)
    return make_tone(pitch, seconds, sample_rate) * np.exp(-6 * (time % 0.5)) + 0.02 * make_noise(len(time))


MUSIC = make_music()
WHOLE = extract(MUSIC)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, len(MUSIC)), max_size=40))
def test_frames_are_the_same_to_the_bit_however_blocks_are_cut(cuts):
    cut = extract(MUSIC, cuts=cuts)
    for name in NAMES:
        assert np.array_equal(cut[name], WHOLE[name])


def test_blocks_of_one_sample_give_the_same_frames():
    cut = extract(MUSIC[:4000], cuts=range(1, 4000))
    whole = extract(MUSIC[:4000])
    assert all(np.array_equal(cut[name], whole[name]) for name in NAMES)


@pytest.mark.parametrize("num_frames", [1, 7, 1000])
def test_frames_do_not_depend_on_how_many_are_analysed_at_a_time(monkeypatch, num_frames):
    monkeypatch.setattr(features, "CHUNK_FRAMES", num_frames)
    chunked = extract(MUSIC)
    for name in NAMES:
        np.testing.assert_allclose(chunked[name], WHOLE[name], rtol=1e-4, atol=1e-4)


def test_later_audio_does_not_change_earlier_frames():
    longer = extract(np.concatenate([MUSIC, make_noise(RATE)]))
    for name in NAMES:
        np.testing.assert_allclose(longer[name][:180], WHOLE[name][:180], rtol=1e-4, atol=1e-4)


@given(st.integers(1, 5000), st.integers(1, 700))
@settings(max_examples=15, deadline=None)
def test_n_samples_have_as_many_frames_as_hops_begun(num_samples, hop_length):
    frames = extract(make_noise(num_samples), 8000, hop_length)
    for name in NAMES:
        assert frames[name].shape == (-(-num_samples // hop_length), FEATURE_DIMS[name])
        assert frames[name].dtype == np.float32
        assert np.isfinite(frames[name]).all()
    assert count_frames(num_samples, hop_length) == len(frames["energy"])


def test_no_samples_have_no_frames():
    assert list(extract_features([np.zeros(0, np.float32)], RATE, HOP, NAMES)) == []


@pytest.mark.parametrize("sample_rate", [1000, 2000, 8000, 11025, 44100, 192000])
@pytest.mark.parametrize("frame_rate", [5, 100, 1000])
def test_every_rate_gives_finite_features_without_a_warning(sample_rate, frame_rate):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frames = extract(make_noise(sample_rate // 5 + 3), sample_rate, max(1, sample_rate // frame_rate))
    assert all(np.isfinite(frames[name]).all() for name in NAMES)
    assert frames["energy"].max() > -25


def test_a_name_that_is_not_made_from_one_waveform_is_refused_at_once():
    with pytest.raises(ValueError, match=r"'notes'.*energy"):
        extract_features([], RATE, HOP, ["energy", "notes"])


def test_memory_does_not_grow_with_length():
    """No more than a second is taken in beyond what was given out, and blocks are let go."""
    seen = []
    given_out = 0

    def blocks():
        for _ in range(400):
            block = make_noise(800).astype(np.float32)
            seen.append(weakref.ref(block))
            yield block

    for chunk in extract_features(blocks(), 8000, 80, NAMES):
        given_out += 80 * len(chunk["energy"])
        assert 800 * len(seen) - given_out < 8000
        assert sum(block() is not None for block in seen) < 20
    assert given_out == 800 * 400


# Energy


def test_energy_is_of_the_frames_own_samples():
    waveform = np.repeat([0.5, 0.0, 0.1], HOP)
    energy = extract(waveform, names=["energy"])["energy"][:, 0]
    assert energy == pytest.approx([20 * np.log10(0.5), -120, -20], abs=1e-4)


def test_the_last_frame_has_the_level_of_the_samples_it_has():
    energy = extract(np.full(HOP + 3, 0.5), names=["energy"])["energy"][:, 0]
    assert energy[1] == pytest.approx(energy[0], abs=1e-4)


@given(st.floats(-100, 0))
@settings(max_examples=20, deadline=None)
def test_a_gain_moves_energy_by_as_much(gain_db):
    moved = extract(MUSIC[:1600] * 10 ** (gain_db / 20), names=["energy"])["energy"]
    expected = np.maximum(-120, WHOLE["energy"][:10] + gain_db)
    np.testing.assert_allclose(moved, expected, atol=1e-3)


# Onset


def test_onset_strength_is_greatest_where_notes_are_struck():
    onset = WHOLE["onset"][:, 0]
    assert (onset >= 0).all()
    for struck in range(0, 200, 50):
        start = max(0, struck - 20)
        peak = start + int(onset[start : struck + 20].argmax())
        assert abs(peak - struck) <= 1
        assert onset[peak] > 4 * np.median(onset)


def test_a_burst_out_of_silence_is_an_onset_within_a_frame_of_its_own():
    for place in (0, 40, 80, 120, 159):
        waveform = np.zeros(RATE)
        waveform[50 * HOP + place :] = make_noise(RATE - 50 * HOP - place)
        assert int(extract(waveform, names=["onset"])["onset"].argmax()) in (49, 50, 51)


def test_a_file_that_begins_with_sound_begins_with_an_onset():
    onset = extract(make_noise(RATE // 4), names=["onset"])["onset"][:, 0]
    assert onset[0] > 10
    assert onset[5:].max() < 5


def test_steady_sound_and_silence_have_no_onsets():
    assert extract(make_tone(440), names=["onset"])["onset"][5:-5].max() < 0.5
    assert extract(np.zeros(RATE), names=["onset"])["onset"].max() == 0


# Pitch


@pytest.mark.parametrize(
    ("sample_rate", "frequency"),
    [
        (1000, 55.0),
        (2000, 110.0),
        (2000, 311.1),
        (2000, 587.3),
        (8000, 41.2),
        (8000, 880.0),
        (8000, 1480.0),
        (10000, 146.8),
        (RATE, 30.9),
        (RATE, 440.0),
        (RATE, 1975.5),
        (44100, 82.4),
        (44100, 1760.0),
    ],
)
def test_a_tone_has_its_pitch_within_one_percent(sample_rate, frequency):
    tone = make_tone(frequency, sample_rate=sample_rate)
    f0 = extract(tone, sample_rate, sample_rate // 100, ["f0"])["f0"][6:-6]
    np.testing.assert_allclose(f0[:, 0], frequency, rtol=0.01)
    assert f0[:, 1].min() > 0.9


def test_a_glide_is_followed_within_two_percent():
    frequency = 110 * 2 ** (2 * np.arange(2 * RATE) / (2 * RATE))
    f0 = extract(make_tone(frequency, 2.0), names=["f0"])["f0"][:, 0]
    middle = frequency[HOP // 2 :: HOP]
    np.testing.assert_allclose(f0[10:-10], middle[10:-10], rtol=0.02)


@pytest.mark.parametrize("sample_rate", [2000, 8000, RATE, 44100])
def test_noise_has_no_pitch(sample_rate):
    f0 = extract(make_noise(2 * sample_rate), sample_rate, sample_rate // 100, ["f0"])["f0"]
    assert (f0[:, 0] == 0).all()
    assert f0[:, 1].max() < 0.6


def test_silence_has_no_pitch_and_no_periodicity():
    assert not extract(np.zeros(RATE), names=["f0"])["f0"].any()
    assert not extract(np.full(RATE, 1e-6), names=["f0"])["f0"].any()


def test_a_constant_offset_is_no_pitch():
    assert not extract(np.full(RATE, 0.3), names=["f0"])["f0"][10:-10, 0].any()


def test_a_quiet_tone_has_the_pitch_of_a_loud_one():
    loud = extract(make_tone(220), names=["f0"])["f0"]
    quiet = extract(make_tone(220, peak=0.001), names=["f0"])["f0"]
    np.testing.assert_allclose(quiet[6:-6], loud[6:-6], rtol=1e-3)


# Chroma


@pytest.mark.parametrize("sample_rate", [2000, 8000, RATE, 44100])
def test_a_c_major_chord_lights_c_e_and_g(sample_rate):
    notes = [261.63, 329.63, 392.0]
    chord = sum(np.sin(2 * np.pi * f * np.arange(sample_rate) / sample_rate) for f in notes) / 4
    chroma = extract(chord, sample_rate, sample_rate // 100, ["chroma"])["chroma"][20:-20]
    assert {frozenset(np.argsort(frame)[-3:]) for frame in chroma} == {frozenset({0, 4, 7})}
    assert chroma[:, [0, 4, 7]].min() > 0.5
    assert np.delete(chroma, [0, 4, 7], axis=1).max() < 0.25


def test_the_strongest_pitch_class_is_1_and_silence_has_none():
    chroma = WHOLE["chroma"]
    np.testing.assert_allclose(chroma.max(axis=1), 1)
    assert chroma.min() >= 0
    assert not extract(np.zeros(RATE), names=["chroma"])["chroma"].any()


def test_chroma_is_that_of_librosa():
    """Its own function on the same windows, for those that lie inside the file."""
    length, size = 3200, 4096
    window = np.pad(librosa.filters.get_window("hann", length), (0, size - length))
    start = 20 * HOP + HOP // 2 - length // 2
    theirs = librosa.feature.chroma_stft(
        y=MUSIC[start:], sr=RATE, n_fft=size, hop_length=HOP, window=window, center=False, tuning=0
    )
    ours = WHOLE["chroma"][20:]
    np.testing.assert_allclose(ours[: theirs.shape[1]], theirs.T[: len(ours)], atol=2e-3)


# Context


def test_context_is_energy_onset_and_chroma_of_the_other_stems_together():
    context = np.concatenate(list(extract_context([MUSIC.astype(np.float32)], RATE, HOP)))
    assert context.shape == (200, FEATURE_DIMS["context"])
    expected = np.concatenate([WHOLE["energy"], WHOLE["onset"], WHOLE["chroma"]], axis=1)
    assert np.array_equal(context, expected)
