"""Working audio: levels kept, files summed, digests of samples, in bounded memory."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from wavenet.audio import decoding
from wavenet.audio.decoding import AudioFacts, AudioSource
from wavenet.audio.io import (
    ENVELOPE_SECONDS,
    AudioStats,
    convert_audio,
    envelope_hop,
    level_db,
    measure,
    read_audio,
    write_audio,
)
from wavenet.errors import AudioDecodeError
from wavenet.files import digest_json

RATE = 8000


def make_noise(seconds=1.0, num_channels=1, seed=0, sample_rate=RATE):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.1, (round(seconds * sample_rate), num_channels)).astype(np.float32)


def make_sine(frequency, sample_rate, seconds=1.0, amplitude=0.5):
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    return (amplitude * np.sin(2 * np.pi * frequency * time)).astype(np.float32)[:, None]


def write(folder, name, waveform, sample_rate=RATE, **options):
    soundfile.write(folder / name, waveform, sample_rate, **options)
    return folder / name


def write_float(folder, name, waveform, sample_rate=RATE):
    return write(folder, name, waveform, sample_rate, subtype="FLOAT")


def envelope_of(samples, sample_rate):
    """Plainly: the mean square of each frame."""
    hop = round(sample_rate * 0.02)
    frames = [samples[at : at + hop].astype(np.float64) for at in range(0, len(samples), hop)]
    return np.array([np.square(frame).mean() for frame in frames])


@pytest.fixture
def convert(tmp_path):
    """Convert files, and give the stats with the samples that were written."""

    def convert(*sources, sample_rate=RATE, num_channels=1, **options):
        destination = tmp_path / "converted.wav"
        sources = [source if isinstance(source, AudioSource) else AudioSource(source) for source in sources]
        stats, envelope = convert_audio(sources, destination, sample_rate, num_channels, **options)
        samples, rate = read_audio(destination)
        assert (rate, soundfile.info(destination).subtype) == (sample_rate, "FLOAT")
        assert samples.shape == (stats.num_samples, num_channels)
        assert len(stats.facts) == len(sources)
        assert envelope.dtype == np.float32
        assert np.allclose(envelope, envelope_of(samples, sample_rate), rtol=1e-5, atol=1e-12)
        return stats, samples

    return convert


@pytest.mark.parametrize("num_channels", [1, 2, 6])
@pytest.mark.parametrize("wanted", [1, 2])
@pytest.mark.parametrize("sample_rate", [RATE, 5000])
def test_channels_are_mixed_down_to_their_mean(tmp_path, convert, num_channels, wanted, sample_rate):
    noise = make_noise(num_channels=num_channels)
    _, samples = convert(write_float(tmp_path, "a.wav", noise), num_channels=wanted, sample_rate=sample_rate)
    expected = noise if num_channels == wanted else noise.mean(axis=1, keepdims=True).repeat(wanted, axis=1)
    if sample_rate != RATE:
        _, expected = convert(
            write_float(tmp_path, "b.wav", expected), num_channels=wanted, sample_rate=sample_rate
        )
    assert np.allclose(samples, expected, atol=1e-6)


@pytest.mark.parametrize(("downmix", "channel"), [("left", 0), ("right", 1)])
def test_one_channel_can_be_taken_for_all(tmp_path, convert, downmix, channel):
    noise = make_noise(num_channels=2)
    _, samples = convert(write_float(tmp_path, "a.wav", noise), downmix=downmix)
    assert np.array_equal(samples, noise[:, channel : channel + 1])


@pytest.mark.parametrize(
    ("source_rate", "sample_rate"),
    [(44100, 16000), (48000, 8000), (8000, 16000), (22050, 10000), (96000, 44100), (192000, 1000)],
)
@pytest.mark.parametrize("quality", ["LQ", "HQ", "VHQ"])
def test_resampling_keeps_level_and_length(tmp_path, convert, source_rate, sample_rate, quality):
    path = write_float(tmp_path, "a.wav", make_sine(220, source_rate, 1.5), source_rate)
    stats, samples = convert(path, sample_rate=sample_rate, quality=quality)
    assert abs(len(samples) - 1.5 * sample_rate) <= 1
    middle = samples[sample_rate // 4 : -sample_rate // 4]
    assert level_db(np.square(middle).mean()) == pytest.approx(level_db(0.125), abs=0.1)
    assert stats.level_db == pytest.approx(level_db(0.125), abs=0.1)


def test_a_tone_above_half_the_rate_is_silenced_and_not_folded(tmp_path, convert):
    stats, _ = convert(write(tmp_path, "a.wav", make_sine(10000, 44100), 44100), sample_rate=16000)
    assert stats.level_db < -40


def test_the_same_rate_keeps_every_bit(tmp_path, convert):
    noise = make_noise(num_channels=2)
    _, samples = convert(write_float(tmp_path, "a.wav", noise), num_channels=2)
    assert np.array_equal(samples, noise)


def test_converting_in_small_blocks_gives_the_same(tmp_path, convert, monkeypatch):
    path = write(tmp_path, "a.flac", make_noise(3.1, 2))
    whole, samples = convert(path, sample_rate=5000)
    monkeypatch.setattr(decoding, "BLOCK_FRAMES", 777)
    stats, again = convert(path, sample_rate=5000)
    assert np.allclose(samples, again, atol=1e-6)
    assert (stats.source_digest, stats.num_samples) == (whole.source_digest, whole.num_samples)
    assert stats.level_db == pytest.approx(whole.level_db)


def test_converting_twice_gives_the_same_bytes(tmp_path, convert, monkeypatch):
    path, written = write(tmp_path, "a.ogg", make_noise(3.1, 2)), []
    for now in (1, 2):
        monkeypatch.setattr("time.time", lambda now=now: now)
        convert(path, sample_rate=5000)
        written.append((tmp_path / "converted.wav").read_bytes())
    assert written[0] == written[1]


# several files


def test_files_of_a_stem_are_summed(tmp_path, convert):
    """Shorter ones are silent after their end; channels and rates may differ."""
    long, short = make_noise(2.0, 2, seed=1), make_noise(0.7, 1, seed=2)
    paths = [write_float(tmp_path, "long.wav", long), write_float(tmp_path, "short.wav", short)]
    stats, samples = convert(*paths)
    expected = long.mean(axis=1, keepdims=True)
    expected[: len(short)] += short
    assert np.allclose(samples, expected, atol=1e-6)
    assert [facts.num_frames for facts in stats.facts] == [len(long), len(short)]
    assert [facts.num_channels for facts in stats.facts] == [2, 1]


@pytest.mark.parametrize("block_frames", [500, 1 << 16])
def test_a_sum_is_the_sum_of_its_parts_at_any_rate(tmp_path, convert, monkeypatch, block_frames):
    monkeypatch.setattr(decoding, "BLOCK_FRAMES", block_frames)
    rates, lengths = (44100, 8000, 22050), (1.0, 3.0, 2.0)
    paths = [
        write_float(tmp_path, f"{rate}.wav", make_noise(length, 2, rate, rate), rate)
        for rate, length in zip(rates, lengths, strict=True)
    ]
    parts = [convert(path, num_channels=2, sample_rate=16000)[1] for path in paths]
    _, total = convert(*paths, num_channels=2, sample_rate=16000)
    expected = np.zeros_like(max(parts, key=len))
    for part in parts:
        expected[: len(part)] += part
    assert np.allclose(total, expected, atol=1e-6)


def test_the_source_of_a_sum_is_the_list_of_its_sources(tmp_path, convert):
    paths = [write_float(tmp_path, f"{seed}.wav", make_noise(seed=seed)) for seed in range(2)]
    digests = [convert(path)[0].source_digest for path in paths]
    assert convert(*paths)[0].source_digest == digest_json(digests)


def test_one_bad_file_of_a_stem_refuses_it_by_name(tmp_path):
    good = write_float(tmp_path, "good.wav", make_noise())
    (tmp_path / "bad.wav").write_text("no sound")
    with pytest.raises(AudioDecodeError, match=r"^bad\.wav: "):
        convert_audio([AudioSource(good), AudioSource(tmp_path / "bad.wav")], tmp_path / "out.wav", RATE, 1)
    assert not (tmp_path / "out.wav").exists()


def test_parts_of_files_are_converted_alone(tmp_path, convert):
    noise = make_noise(3.0)
    path = write_float(tmp_path, "a.wav", noise)
    stats, samples = convert(AudioSource(path, 1.0, 2.5))
    assert np.array_equal(samples, noise[RATE : 5 * RATE // 2])
    assert stats.facts[0].num_frames == 3 * RATE // 2
    other = write_float(tmp_path, "b.wav", noise[RATE : 5 * RATE // 2])
    assert convert(other)[0].source_digest == stats.source_digest


# digests and stats


def test_a_recording_has_one_digest_in_any_container(tmp_path, convert):
    pcm = (make_noise(num_channels=2) * 32767).astype(np.int16)
    paths = [write(tmp_path, name, pcm) for name in ("a.wav", "b.flac", "c.aiff", "d.w64", "e.caf", "f.au")]
    paths.append(write_float(tmp_path, "g.wav", pcm.astype(np.float32) / 32768))
    digests = {convert(path, sample_rate=rate)[0].source_digest for path in paths for rate in (RATE, 5000)}
    assert len(digests) == 1


def test_a_digest_does_not_depend_on_the_size_of_blocks(tmp_path, convert, monkeypatch):
    path, digests = write(tmp_path, "a.ogg", make_noise(3.0, 2)), set()
    for block_frames in (777, 1024, 1 << 20):
        monkeypatch.setattr(decoding, "BLOCK_FRAMES", block_frames)
        digests.add(convert(path)[0].source_digest)
    assert len(digests) == 1


def test_other_samples_rates_or_channels_have_another_digest(tmp_path, convert):
    noise = make_noise()
    other = noise.copy()
    other[-1] += 1e-6
    paths = [
        write_float(tmp_path, "a.wav", noise),
        write_float(tmp_path, "b.wav", noise, RATE + 1),
        write_float(tmp_path, "c.wav", other),
        write_float(tmp_path, "d.wav", noise.reshape(-1, 2)),
    ]
    assert len({convert(path)[0].source_digest for path in paths}) == 4


def test_stats_say_how_loud_and_how_clipped(tmp_path, convert):
    square = np.where(np.arange(1000) % 4 < 2, 1.0, -0.5)[:, None]
    stats, _ = convert(write_float(tmp_path, "a.wav", square))
    assert (stats.num_samples, stats.peak, stats.clipped_share) == (1000, 1.0, 0.5)
    assert stats.level_db == pytest.approx(10 * np.log10(0.625))
    assert stats.facts == [AudioFacts("WAV/FLOAT", RATE, 1, 1000, 1.0, 0.5, 0.25)]


def test_facts_are_of_the_file_and_stats_of_what_became_of_it(tmp_path, convert):
    opposite = np.tile(np.float32([[0.75, -0.75]]), (1000, 1))
    stats, samples = convert(write_float(tmp_path, "a.wav", opposite, 2 * RATE))
    assert not samples.any()
    assert (stats.num_samples, stats.peak, stats.level_db) == (500, 0.0, -120.0)
    assert (stats.facts[0].num_frames, stats.facts[0].sample_rate, stats.facts[0].peak) == (
        1000,
        2 * RATE,
        0.75,
    )


def test_stats_cross_into_json_and_back(tmp_path, convert):
    stats, _ = convert(write(tmp_path, "a.flac", make_noise(num_channels=2)))
    adapter = TypeAdapter(AudioStats)
    assert adapter.validate_json(adapter.dump_json(stats)) == stats
    assert json.loads(json.dumps(asdict(stats), allow_nan=False))["facts"][0]["codec"] == "FLAC/PCM_16"


def test_quiet_music_stays_quiet(tmp_path, convert):
    stats, _ = convert(write_float(tmp_path, "a.wav", make_sine(440, RATE, amplitude=1e-3)))
    assert stats.level_db == pytest.approx(-63.0, abs=0.1)


def test_music_above_full_scale_stays_there(tmp_path, convert):
    loud = 100 * make_noise()
    stats, samples = convert(write_float(tmp_path, "a.wav", loud))
    assert np.array_equal(samples, loud)
    assert stats.peak == np.abs(loud).max()


def test_a_waveform_is_measured_as_its_file_would_be(tmp_path, convert):
    noise = make_noise(1.33, 2)
    converted, _ = convert(write_float(tmp_path, "a.wav", noise), num_channels=2)
    stats, envelope = measure(np.asfortranarray(noise), RATE)
    assert asdict(stats) == asdict(converted) | {"facts": []}
    assert np.allclose(envelope, envelope_of(noise, RATE), rtol=1e-6)


@pytest.mark.parametrize("sample_rate", [1000, 8000, 11025, 44100, 192000])
def test_an_envelope_has_a_frame_each_20_ms(sample_rate):
    assert ENVELOPE_SECONDS == 0.02
    assert envelope_hop(sample_rate) == round(sample_rate / 50)
    _, envelope = measure(make_noise(0.99, 1, sample_rate=sample_rate), sample_rate)
    assert len(envelope) == -(-round(0.99 * sample_rate) // envelope_hop(sample_rate))


# writing


@pytest.mark.parametrize("shape", [(100,), (100, 2), (0, 1), (0,), (1, 1)])
def test_written_audio_is_read_back_bit_for_bit(tmp_path, shape):
    waveform = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)  # above full scale too
    write_audio(tmp_path / "a.wav", waveform, RATE)
    samples, rate = soundfile.read(tmp_path / "a.wav", dtype="float32")
    assert rate == RATE
    assert np.array_equal(samples.reshape(shape), waveform)


@given(length=st.integers(0, 300), num_channels=st.integers(1, 8), turned=st.booleans())
def test_any_waveform_is_read_back_bit_for_bit(tmp_path_factory, length, num_channels, turned):
    path = tmp_path_factory.getbasetemp() / "round-trip.wav"
    waveform = np.random.default_rng(length).normal(0, 1, (length, num_channels)).astype(np.float32)
    write_audio(path, np.asfortranarray(waveform) if turned else waveform, RATE)
    samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
    assert np.array_equal(samples, waveform)


def test_the_same_samples_are_written_as_the_same_bytes(tmp_path, convert, monkeypatch):
    for name, now in (("a.wav", 1), ("b.wav", 2)):
        monkeypatch.setattr("time.time", lambda now=now: now)
        write_audio(tmp_path / name, make_noise()[:, 0], RATE)
    convert(tmp_path / "a.wav")
    files = [(tmp_path / name).read_bytes() for name in ("a.wav", "b.wav", "converted.wav")]
    assert files[0] == files[1] == files[2]


# what cannot be converted


def test_a_file_that_cannot_be_converted_raises_the_readers_error_and_leaves_nothing(tmp_path):
    path = write(tmp_path, "a.flac", make_noise(4))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AudioDecodeError, match=r"^a\.flac: .*truncated"):
        convert_audio([AudioSource(path)], tmp_path / "out.wav", RATE, 1)
    assert not (tmp_path / "out.wav").exists()


def test_too_few_samples_for_one_at_the_new_rate_are_refused(tmp_path):
    path = write(tmp_path, "a.wav", np.zeros((1, 1)), 192000)
    with pytest.raises(AudioDecodeError, match=r"^a\.wav: too short for one sample at 1000 Hz; drop it"):
        convert_audio([AudioSource(path)], tmp_path / "out.wav", 1000, 1)
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.parametrize("peak", [1e7, 1e30, 3e38])
def test_samples_beyond_any_scale_are_refused(tmp_path, peak):
    noise = make_noise(num_channels=2)
    noise[100] = peak
    path = write_float(tmp_path, "a.wav", noise)
    with pytest.raises(AudioDecodeError, match=r"^a\.wav: has a peak of .* full scale is 1"):
        convert_audio([AudioSource(path)], tmp_path / "out.wav", 4000, 1)


LONG = """
import sys
from pathlib import Path
from wavenet.audio.io import AudioSource, convert_audio

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) >> 10

def convert(path):
    return convert_audio([AudioSource(Path(path))] * 2, Path(sys.argv[3]), 16000, 1)[0].num_samples

convert(sys.argv[1])
before = peak()
print(convert(sys.argv[2]), peak() - before)
"""


def write_silence(path, seconds):
    """A stereo WAV with a hole for its samples, which takes no room on disk."""
    header, num_bytes = bytearray(44), round(seconds * 44100) * 4
    soundfile.write(path, np.zeros((0, 2)), 44100, subtype="PCM_16")
    header[:] = path.read_bytes()[:44]
    header[4:8] = (36 + num_bytes).to_bytes(4, "little")
    header[40:44] = num_bytes.to_bytes(4, "little")
    path.write_bytes(header)
    with path.open("r+b") as file:
        file.truncate(44 + num_bytes)
    return path


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_a_long_file_is_converted_in_little_memory(tmp_path):
    """Twice 10 minutes of stereo, summed: 423 MB when decoded."""
    paths = [write_silence(tmp_path / name, seconds) for name, seconds in (("a.wav", 3), ("b.wav", 600))]
    command = [sys.executable, "-c", LONG, *map(str, paths), str(tmp_path / "out.wav")]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    num_samples, megabytes = map(int, told.stdout.split())
    assert num_samples == 600 * 16000
    assert megabytes < 40
