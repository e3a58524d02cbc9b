"""Loudness as ITU-R BS.1770 has it."""

from fractions import Fraction

import av
import numpy as np
import pytest
import torch
import torchaudio.functional

from wavenet.audio.loudness import LoudnessMeter, channel_weights, k_weighting, measure_loudness

RATE = 48000


def make_sine(decibels, seconds=3.0, sample_rate=RATE):
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    return (10 ** (decibels / 20) * np.sin(2 * np.pi * 997 * time)).astype(np.float32)


@pytest.mark.parametrize("decibels", [0, -18, -40])
def test_a_sine_of_997_hz_has_the_loudness_of_the_standard(decibels):
    """BS.1770: a 0 dBFS sine at 997 Hz in one channel reads -3.01 LUFS."""
    assert measure_loudness(make_sine(decibels), RATE) == pytest.approx(decibels - 3.01, abs=0.05)


def test_the_filters_at_48_khz_are_those_of_the_standards_tables():
    shelf, high_pass = k_weighting(48000)
    assert shelf == pytest.approx([1.53512486, -2.69169619, 1.19839281, 1, -1.69065929, 0.73248077], abs=1e-8)
    assert high_pass == pytest.approx([1, -2, 1, 1, -1.99004745, 0.99007225], abs=1e-7)


def test_quiet_music_reads_as_torchaudio_has_it():
    music = np.random.default_rng(0).normal(0, 0.02, 3 * RATE) * np.repeat([1, 0.1, 0.5], RATE)
    theirs = torchaudio.functional.loudness(torch.from_numpy(music.astype(np.float32))[None], RATE)
    assert measure_loudness(music, RATE) == pytest.approx(float(theirs), abs=0.06)


def test_a_gain_moves_the_loudness_by_as_much_however_loud():
    music = np.random.default_rng(0).normal(0, 0.02, RATE)
    assert measure_loudness(50 * music, RATE) == pytest.approx(
        measure_loudness(music, RATE) + 20 * np.log10(50), abs=1e-6
    )


def test_two_channels_are_3_db_louder_than_one():
    sine = make_sine(-23)
    assert measure_loudness(np.stack([sine, sine], axis=1), RATE) == pytest.approx(-23, abs=0.05)


@pytest.mark.parametrize("sample_rate", [8000, 10000, 16000, 44100])
def test_the_sample_rate_matters_little(sample_rate):
    loudness = measure_loudness(make_sine(-20, sample_rate=sample_rate), sample_rate)
    assert loudness == pytest.approx(-23.01, abs=0.3)


def test_pauses_are_gated_out():
    sine = make_sine(-20)
    with_pause = np.concatenate([sine, np.zeros(5 * RATE, np.float32)])
    assert measure_loudness(with_pause, RATE) == pytest.approx(measure_loudness(sine, RATE), abs=0.5)


@pytest.mark.parametrize(
    "waveform",
    [np.zeros(RATE), np.zeros((RATE, 2)), np.zeros(0), make_sine(-20, seconds=0.39)],
    ids=["silence", "silence in two channels", "no samples", "shorter than a gating block"],
)
def test_what_has_no_loudness_has_none(waveform):
    assert measure_loudness(waveform, RATE) is None


def test_one_gating_block_is_enough():
    assert measure_loudness(make_sine(-20, seconds=0.4), RATE) == pytest.approx(-23, abs=0.5)


@pytest.mark.parametrize("sample_rate", [1000, 2000, 3364, 4000])
def test_a_low_sample_rate_has_a_loudness_too(sample_rate):
    time = np.arange(2 * sample_rate) / sample_rate
    loudness = measure_loudness(0.1 * np.sin(2 * np.pi * 200 * time), sample_rate)
    assert loudness == pytest.approx(-23.95, abs=0.1)  # the high-pass takes a little at 200 Hz


def ffmpeg_loudness(waveform, sample_rate, layout):
    """LUFS as FFmpeg's ebur128 has it."""
    graph = av.filter.Graph()
    clock = Fraction(1, sample_rate)
    source = graph.add_abuffer(format="flt", sample_rate=sample_rate, layout=layout, time_base=clock)
    meter, sink = graph.add("ebur128", "metadata=1:framelog=quiet"), graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    samples = np.ascontiguousarray(waveform, np.float32).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(samples, format="flt", layout=layout)
    frame.sample_rate, frame.pts = sample_rate, 0
    graph.push(frame)
    graph.push(None)
    loudness = None
    try:
        while True:
            loudness = graph.pull().metadata.get("lavfi.r128.I", loudness)
    except (av.EOFError, av.BlockingIOError):
        return float(loudness)


def make_channels(num_channels, sample_rate):
    """Noise that rises and rests, each channel at a level of its own."""
    generator = np.random.default_rng(0)
    noise = generator.normal(0, 0.1, (5 * sample_rate, num_channels)) * np.linspace(1, 0.2, num_channels)
    return noise * np.repeat([0.1, 1, 0.001, 0.5, 0.3], sample_rate)[:, None]


@pytest.mark.parametrize("sample_rate", [44100, 48000])
@pytest.mark.parametrize(("layout", "num_channels"), [("mono", 1), ("stereo", 2), ("5.0", 5), ("5.1", 6)])
def test_all_channels_together_are_as_loud_as_ffmpeg_has_it(layout, num_channels, sample_rate):
    waveform = make_channels(num_channels, sample_rate)
    meter = LoudnessMeter(sample_rate, channel_weights(num_channels))
    for block in np.array_split(waveform, 7):
        meter.add(block)
    assert meter.loudness() == pytest.approx(ffmpeg_loudness(waveform, sample_rate, layout), abs=0.1)


def test_the_order_of_ogg_counts_the_same_loudspeakers():
    """Vorbis I specification, 4.3.9, by where WAV has each channel."""
    orders = {
        3: [0, 2, 1],
        4: [0, 1, 2, 3],
        5: [0, 2, 1, 3, 4],
        6: [0, 2, 1, 4, 5, 3],
        7: [0, 2, 1, 5, 6, 4, 3],
        8: [0, 2, 1, 6, 7, 4, 5, 3],
    }
    for num_channels, order in orders.items():
        in_wav = channel_weights(num_channels)
        assert [in_wav[channel] for channel in order] == list(channel_weights(num_channels, True))


def test_of_unusual_numbers_of_channels_all_count_alike():
    assert [list(channel_weights(number)) for number in (1, 2, 3, 9)] == [[1] * n for n in (1, 2, 3, 9)]


def test_low_frequency_effects_are_not_heard():
    waveform = make_channels(6, RATE)
    waveform[:, [0, 1, 2, 4, 5]] = 0
    meter = LoudnessMeter(RATE, channel_weights(6))
    meter.add(waveform)
    assert meter.loudness() is None
