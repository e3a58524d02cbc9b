"""Fingerprints: copies are found whatever was done to them, and nothing else is."""

import io
import time

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from wavenet.audio.fingerprint import (
    FRAMES_PER_SECOND,
    NO_PRINT,
    NearDuplicate,
    find_closest,
    find_near_duplicates,
    fingerprint_blocks,
)

RATE = 16000


def play(seed: int, seconds: float = 12.0, sample_rate: int = RATE) -> np.ndarray:
    """Random plucked chords and bursts of noise, two or three a second: music enough for a print."""
    rng = np.random.default_rng(seed)
    clock = np.arange(round(seconds * sample_rate)) / sample_rate
    waveform = np.zeros(len(clock))
    onset = 0.0
    while onset < seconds:
        begin = round(onset * sample_rate)
        since = clock[begin : begin + sample_rate] - clock[begin]
        sound = 0.1 * rng.standard_normal(len(since)) * np.exp(-since * rng.uniform(5, 30))
        for pitch in rng.choice(np.arange(36, 80), 3, replace=False):
            frequency = 440 * 2 ** ((pitch - 69) / 12)
            for harmonic in range(1, 6):
                sound += np.sin(2 * np.pi * harmonic * frequency * since) * np.exp(-3 * since) / harmonic
        waveform[begin : begin + sample_rate] += 0.05 * sound * np.linspace(1, 0, len(sound))
        onset += rng.uniform(0.2, 0.4)
    return waveform.astype(np.float32)


def print_of(waveform: np.ndarray, sample_rate: int = RATE) -> np.ndarray:
    return fingerprint_blocks([waveform], sample_rate)


def compress(waveform: np.ndarray, sample_rate: int, container: str, level: float) -> np.ndarray:
    """Through a lossy codec and back. level: 0 is the best quality, 1 the poorest."""
    stream = io.BytesIO()
    with soundfile.SoundFile(stream, "w", sample_rate, 1, format=container, compression_level=level) as out:
        for start in range(0, len(waveform), 4096):  # libsndfile's vorbis overflows its stack on long writes
            out.write(waveform[start : start + 4096])
    stream.seek(0)
    return soundfile.read(stream, dtype="float32")[0]


COPIES = {
    "good mp3": lambda w: compress(w, RATE, "MP3", 0.2),
    "poor mp3": lambda w: compress(w, RATE, "MP3", 0.95),
    "poor ogg": lambda w: compress(w, RATE, "OGG", 0.95),
    "quieter by 30 dB": lambda w: w * np.float32(0.03),
    "upside down": lambda w: -w,
    "half a step later": lambda w: w[RATE // FRAMES_PER_SECOND // 2 :],
    "with silence before it": lambda w: np.concatenate([np.zeros(12345, np.float32), w]),
    "of 64 levels": lambda w: np.round(w * 32) / 32,
    "with noise 15 dB below": lambda w: (
        w + w.std() * 0.18 * np.random.default_rng(9).standard_normal(len(w)).astype(np.float32)
    ),
}


@pytest.fixture(scope="module")
def album() -> dict[str, np.ndarray]:
    return {f"song {seed}": play(seed) for seed in range(8)}


@pytest.fixture(scope="module")
def prints(album) -> dict[str, np.ndarray]:
    return {name: print_of(waveform) for name, waveform in album.items()}


@pytest.mark.parametrize("change", COPIES)
def test_a_changed_copy_is_found_and_nothing_else(change, album, prints):
    copy = print_of(COPIES[change](album["song 3"]))
    (found,) = find_near_duplicates({**prints, "copy": copy})
    assert (found.first, found.second) == ("song 3", "copy")
    assert 0.75 < found.agreement <= 1


@pytest.mark.parametrize("sample_rate", [8000, 11025, 44100])
def test_a_copy_at_another_rate_is_found(sample_rate, album, prints):
    copy = print_of(soxr.resample(album["song 5"], RATE, sample_rate), sample_rate)
    (found,) = find_near_duplicates({**prints, "copy": copy})
    assert (found.first, found.second, found.offset_seconds) == ("song 5", "copy", 0.0)
    assert found.agreement > 0.95


@pytest.mark.parametrize("seconds", [-3.1, 0.01, 0.5, 2.2, 6.0])
def test_a_shifted_copy_is_found_where_it_is(seconds, album, prints):
    shift = round(abs(seconds) * RATE)
    song = album["song 2"]
    copy = print_of(song[shift:] if seconds > 0 else np.concatenate([play(99, 3.1), song]))
    (found,) = find_near_duplicates({**prints, "copy": copy})
    assert (found.first, found.second) == ("song 2", "copy")
    assert found.offset_seconds == pytest.approx(seconds, abs=1 / FRAMES_PER_SECOND)


def test_a_loop_taken_from_a_song_is_found_in_it(album, prints):
    loop = print_of(compress(album["song 6"][5 * RATE : 7 * RATE], RATE, "MP3", 0.6))
    (found,) = find_near_duplicates({**prints, "loop": loop})
    assert (found.first, found.second) == ("song 6", "loop")
    assert found.offset_seconds == pytest.approx(5, abs=2 / FRAMES_PER_SECOND)


def test_every_one_of_many_copies_is_paired(album):
    copies = {f"copy {i}": print_of(album["song 0"][i * 97 :]) for i in range(40)}
    paired = {name for pair in find_near_duplicates(copies) for name in (pair.first, pair.second)}
    assert paired == set(copies)


def test_songs_that_share_only_an_intro_are_not_duplicates(album):
    intro = album["song 7"][: 2 * RATE]
    songs = {
        name: print_of(np.concatenate([intro, album[name][2 * RATE :]])) for name in ("song 0", "song 1")
    }
    assert find_near_duplicates(songs) == []


def test_two_songs_that_go_on_differently_after_half_are_not_one(album):
    half = len(album["song 0"]) // 2
    one = np.concatenate([album["song 0"][:half], album["song 1"][half:]])
    (found,) = find_near_duplicates({"song 0": print_of(album["song 0"]), "one": print_of(one)})
    assert 0.7 < found.agreement < 0.8  # half of it is the same, the other half agrees by chance


SILENT = {
    "silence": np.zeros(5 * RATE, np.float32),
    "dither": (np.random.default_rng(0).integers(-1, 2, 5 * RATE) / 32768).astype(np.float32),
    "steady tone": (0.5 * np.sin(np.arange(5 * RATE) * 0.3)).astype(np.float32),
    "constant": np.full(5 * RATE, 0.25, np.float32),
}


@pytest.mark.parametrize("sound", SILENT)
def test_silence_and_what_never_changes_has_no_print(sound):
    prints = print_of(SILENT[sound])
    assert (prints[2:-2] == NO_PRINT).all()
    assert find_near_duplicates({"one": prints, "other": prints}) == []


def test_silence_around_songs_does_not_make_them_alike(album):
    rest = np.zeros(20 * RATE, np.float32)
    songs = {name: print_of(np.concatenate([rest, album[name], rest])) for name in album}
    assert find_near_duplicates(songs) == []


@pytest.mark.parametrize("sample_rate", [2000, 8000, 16000])
def test_plucked_tones_of_one_rhythm_and_different_pitch_are_not_alike(sample_rate):
    clock = np.arange(10 * sample_rate) / sample_rate
    plucks = {
        f"{frequency} Hz": print_of(
            (np.sin(2 * np.pi * frequency * clock) * (1 - 2 * clock % 1)).astype(np.float32), sample_rate
        )
        for frequency in (55, 60, 70, 80, 200, 220, 330, 440)
    }
    assert find_near_duplicates(plucks) == []


def test_hits_of_noise_of_one_rhythm_are_not_alike():
    clock = np.arange(10 * RATE) / RATE
    hits = {
        f"take {seed}": print_of(
            (np.random.default_rng(seed).standard_normal(len(clock)) * np.exp(-8 * (2 * clock % 1))).astype(
                "f"
            )
        )
        for seed in range(6)
    }
    assert find_near_duplicates(hits) == []


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 30000), max_size=30), st.sampled_from([5120, 8000, 16000, 44100]))
def test_prints_do_not_depend_on_how_the_audio_is_cut(lengths, sample_rate):
    waveform = play(1, 3.0, sample_rate)
    blocks = np.split(waveform, np.minimum(np.cumsum(lengths), len(waveform)))
    whole = fingerprint_blocks([waveform], sample_rate)
    assert np.array_equal(fingerprint_blocks(blocks, sample_rate), whole)
    assert np.array_equal(fingerprint_blocks((block[:, None] for block in blocks), sample_rate), whole)


def test_there_are_32_prints_a_second_whatever_the_rate():
    for sample_rate in (1000, 5120, 8000, 22050, 96000):
        prints = print_of(play(0, 5.0, sample_rate), sample_rate)
        assert prints.dtype == np.uint32
        assert len(prints) == pytest.approx((5.0 - 0.4) * FRAMES_PER_SECOND, abs=2)
        assert (prints != NO_PRINT).mean() > 0.8


def test_a_moment_has_no_print_and_no_duplicates():
    for waveform in (np.zeros(0, np.float32), play(0, 0.4)):
        moment = print_of(waveform)
        assert moment.shape == (0,)
        assert find_near_duplicates({"one": moment, "other": moment}) == []
    assert find_near_duplicates({}) == []
    assert fingerprint_blocks([], RATE).shape == (0,)


def test_stereo_is_refused():
    with pytest.raises(ValueError, match="reshape"):
        print_of(np.zeros((100, 2), np.float32))


def test_the_closest_passage_is_where_the_clip_was_taken(album, prints):
    start = 4.2
    clip = print_of(COPIES["poor mp3"](album["song 4"][round(start * RATE) :][: 4 * RATE]))
    found = find_closest(clip, prints)
    assert found.name == "song 4"
    assert found.offset_seconds == pytest.approx(start, abs=2 / FRAMES_PER_SECOND)
    assert found.agreement > 0.75


def test_a_clip_longer_than_the_recording_is_laid_under_it(album, prints):
    loop = print_of(album["song 1"][3 * RATE : 6 * RATE])
    found = find_closest(prints["song 1"], {"loop": loop})
    assert found.offset_seconds == pytest.approx(-3)
    assert found.agreement > 0.95


def test_the_closest_passage_of_other_music_is_far(prints):
    found = find_closest(print_of(play(1234, 5.0)), prints)
    assert 0.5 < found.agreement < 0.6


def test_silence_is_closest_to_nothing(prints):
    assert find_closest(print_of(SILENT["silence"]), prints) is None
    assert find_closest(prints["song 0"], {"silence": print_of(np.zeros(20 * RATE, np.float32))}) is not None
    assert find_closest(prints["song 0"], {}) is None


def test_a_thousand_long_tracks_take_seconds():
    rng = np.random.default_rng(0)
    tracks = {f"{i}": rng.integers(1, 1 << 32, 240 * FRAMES_PER_SECOND, np.uint32) for i in range(1000)}
    tracks["copy"] = tracks["500"][200:] ^ np.uint32(1 << 7)
    tracks["copy"][::20] ^= np.uint32(1 << 7)
    start = time.perf_counter()
    assert find_near_duplicates(tracks) == [
        NearDuplicate("500", "copy", 6.25, pytest.approx(1 - 0.95 / 32, abs=1e-3))
    ]
    assert time.perf_counter() - start < 30
