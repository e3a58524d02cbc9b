"""The quantization floor: figure and clip of a setting are of the same excerpts."""

import numpy as np
import pytest
import soundfile
import soxr

from wavenet.audio.decoding import AudioSource
from wavenet.audio.io import read_audio
from wavenet.audio.quantization import NoiseMeter, Quantizer
from wavenet.data.floors import NEIGHBOUR_LEVELS, NEIGHBOUR_RATES, measure_floors, settings_around
from wavenet.errors import AudioDecodeError

RATE = 16000


def make_music(seconds, seed=0, sample_rate=RATE):
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    noise = np.random.default_rng(seed).normal(0, 0.02, len(time))
    return 0.3 * np.sin(2 * np.pi * (200 + 50 * seed) * time) * (1 - time % 1) + noise


@pytest.fixture
def write(tmp_path):
    """Write a waveform as an excerpt: 24 bits, its first second skipped."""

    def write(name, waveform, sample_rate=RATE):
        soundfile.write(tmp_path / name, waveform, sample_rate, "PCM_24")
        return AudioSource(tmp_path / name, 1.0)

    return write


@pytest.mark.parametrize("rate", [16000, 12345])
@pytest.mark.parametrize("levels", [256, 100])
def test_the_configured_setting_is_measured_among_its_neighbours_once(rate, levels):
    settings = settings_around(rate, levels)
    assert (
        len(set(settings))
        == len(settings)
        == len({rate, *NEIGHBOUR_RATES}) * len({levels, *NEIGHBOUR_LEVELS})
    )
    assert (rate, levels) in settings
    assert {(r, n) for r in NEIGHBOUR_RATES for n in NEIGHBOUR_LEVELS} <= set(settings)


@pytest.mark.parametrize("law", ["mu-law", "linear"])
def test_figures_and_clips_are_of_the_same_excerpts(write, tmp_path, law):
    waveforms = [make_music(2), make_music(1.5, 1)]
    excerpts = [write(f"{number}.wav", waveform) for number, waveform in enumerate(waveforms)]
    floors = measure_floors("drums", excerpts, RATE, Quantizer(law, 256), tmp_path)
    assert [floor for floor in floors if floor.configured] == [
        floor for floor in floors if (floor.sample_rate, floor.quantization_channels) == (RATE, 256)
    ]
    heard = [read_audio(excerpt)[0][:, 0] for excerpt in excerpts]
    assert [len(part) for part in heard] == [RATE, RATE // 2]
    for floor in floors:
        quantizer = Quantizer(law, floor.quantization_channels)
        meter = NoiseMeter(quantizer)
        resampled = [soxr.resample(part, RATE, floor.sample_rate, quality="HQ") for part in heard]
        for part in resampled:
            meter.add(part, quantizer.encode(part))
        assert (floor.stem, floor.law) == ("drums", law)
        assert floor.snr_db == pytest.approx(meter.signal_to_noise_db, abs=0.01)
        clip, rate = read_audio(tmp_path / floor.clip)
        assert rate == floor.sample_rate
        assert np.array_equal(clip[:, 0], quantizer.decode(quantizer.encode(resampled[0])))


def test_more_levels_sound_better(write, tmp_path):
    floors = measure_floors("a", [write("a.wav", make_music(2))], RATE, Quantizer("mu-law", 256), tmp_path)
    for rate in NEIGHBOUR_RATES:
        figures = [floor.snr_db for floor in floors if floor.sample_rate == rate]
        assert figures == sorted(figures)
        assert figures[-1] > figures[0] + 40


def test_clips_are_short_and_every_floor_has_its_own(write, tmp_path):
    excerpt = write("a.wav", make_music(9))
    floors = measure_floors("a", [excerpt], RATE, Quantizer("mu-law", 256), tmp_path)
    assert len({floor.clip for floor in floors}) == len(floors)
    for floor in floors:
        clip, rate = read_audio(tmp_path / floor.clip)
        assert len(clip) == 5 * rate


def test_silence_has_no_floor(write, tmp_path):
    floors = measure_floors(
        "a", [write("a.wav", np.zeros(2 * RATE))], RATE, Quantizer("mu-law", 64), tmp_path
    )
    assert {floor.snr_db for floor in floors} == {None}


def test_dither_costs_what_it_costs_and_the_same_each_time(write, tmp_path):
    excerpt = write("a.wav", make_music(2))
    dithered = Quantizer("linear", 256, dither=True)
    first, second = (measure_floors("a", [excerpt], RATE, dithered, tmp_path) for _ in range(2))
    assert first == second
    plain = measure_floors("a", [excerpt], RATE, Quantizer("linear", 256), tmp_path)
    for with_dither, without in zip(first, plain, strict=True):
        assert without.snr_db - with_dither.snr_db == pytest.approx(10 * np.log10(3), abs=0.5)


def test_channels_are_averaged(write, tmp_path):
    music = make_music(2)
    mono = measure_floors("a", [write("m.wav", music)], RATE, Quantizer("mu-law", 256), tmp_path)
    stereo = write("s.wav", np.stack([2 * music, 0 * music], axis=1))
    both = measure_floors("a", [stereo], RATE, Quantizer("mu-law", 256), tmp_path)
    for one, other in zip(mono, both, strict=True):
        if one.quantization_channels <= 1024:
            assert one.snr_db == pytest.approx(other.snr_db, abs=0.1)


def test_an_excerpt_that_cannot_be_read_is_told(tmp_path):
    (tmp_path / "a.wav").write_text("no sound")
    with pytest.raises(AudioDecodeError, match=r"a\.wav"):
        measure_floors("a", [AudioSource(tmp_path / "a.wav")], RATE, Quantizer("mu-law", 256), tmp_path)
