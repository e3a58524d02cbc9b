"""What is measured of a track is what its stems and their sum sound like."""

import numpy as np
import pytest
import soxr

from wavenet.audio import decoding
from wavenet.audio.fingerprint import find_near_duplicates, fingerprint_blocks
from wavenet.audio.io import write_audio
from wavenet.audio.loudness import measure_loudness
from wavenet.data.examination import examine_track, load_print

RATE = 8000


def make_music(seconds, seed):
    """Bursts of noise and tones, three a second: enough of a tune for a fingerprint."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    pitch = np.repeat(generator.uniform(200, 2000, 200), RATE // 3)[: len(time)]
    tone = np.sin(2 * np.pi * np.cumsum(pitch) / RATE) + generator.normal(0, 0.5, len(time))
    return (0.1 * tone * (1 - (3 * time) % 1)).astype(np.float32)


@pytest.fixture
def examine(tmp_path):
    """Examine a track of stems, waveforms by name."""

    def examine(sample_rate=RATE, **stems):
        for name, waveform in stems.items():
            write_audio(tmp_path / f"{name}.wav", waveform, sample_rate)
        paths = {name: tmp_path / f"{name}.wav" for name in stems}
        return examine_track(paths, sample_rate, tmp_path)

    return examine


@pytest.mark.parametrize("block_frames", [1000, 1 << 16])
def test_stems_and_their_sum_are_measured(examine, monkeypatch, block_frames):
    monkeypatch.setattr(decoding, "BLOCK_FRAMES", block_frames)
    drums, bass = make_music(3, 0), make_music(2, 1) / 8
    found = examine(drums=drums, bass=bass)
    total = drums.copy()
    total[: len(bass)] += bass
    assert found.loudness_lufs == {
        "drums": pytest.approx(measure_loudness(drums, RATE)),
        "bass": pytest.approx(measure_loudness(bass, RATE)),
    }
    assert found.sum_loudness_lufs == pytest.approx(measure_loudness(total, RATE))
    assert found.sum_peak == pytest.approx(np.abs(total).max())


def test_both_channels_are_heard(examine):
    stereo = np.stack([make_music(2, 0), -3 * make_music(2, 1)], axis=1)
    found = examine(drums=stereo)
    assert found.loudness_lufs["drums"] == pytest.approx(measure_loudness(stereo, RATE))
    assert found.sum_loudness_lufs == pytest.approx(found.loudness_lufs["drums"])
    assert found.sum_peak == pytest.approx(np.abs(stereo).max())


def test_stems_that_cancel_are_silent_together(examine):
    drums = make_music(2, 0)
    found = examine(drums=drums, bass=-drums)
    assert found.loudness_lufs["drums"] is not None
    assert (found.sum_loudness_lufs, found.sum_peak) == (None, 0)


@pytest.mark.parametrize("waveform", [np.zeros(RATE, np.float32), np.full(100, 0.5, np.float32)])
def test_silence_and_a_blink_have_no_loudness(examine, waveform):
    found = examine(drums=waveform)
    assert (found.loudness_lufs, found.sum_loudness_lufs) == ({"drums": None}, None)
    assert found.sum_peak == waveform.max()


def test_each_stem_has_a_fingerprint_of_its_own(examine, tmp_path):
    drums, bass = make_music(3, 0), make_music(3, 1)
    found = examine(drums=drums, bass=bass)
    assert sorted(found.prints) == ["bass", "drums"]
    for name, waveform in (("drums", drums), ("bass", bass)):
        prints = load_print(tmp_path / found.prints[name])
        assert prints.dtype == np.uint32
        assert np.array_equal(prints, fingerprint_blocks([waveform], RATE))


def test_a_fingerprint_finds_a_copy_that_begins_later(examine, tmp_path):
    music = make_music(12, 0)
    found = examine(drums=music, copy=0.4 * music[RATE:], other=make_music(12, 1))
    prints = {name: load_print(tmp_path / file) for name, file in found.prints.items()}
    (pair,) = find_near_duplicates(prints)
    assert {pair.first, pair.second} == {"drums", "copy"}
    assert abs(pair.offset_seconds) == pytest.approx(1.0, abs=0.05)


def test_fingerprints_of_a_stem_at_two_rates_are_alike(examine, tmp_path):
    music = make_music(12, 0)
    one = load_print(tmp_path / examine(drums=music).prints["drums"])
    other = examine(2 * RATE, drums=soxr.resample(music, RATE, 2 * RATE)).prints["drums"]
    assert len(find_near_duplicates({"one": one, "other": load_print(tmp_path / other)})) == 1
