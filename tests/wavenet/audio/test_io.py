"""Audio files: what is decoded is what was recorded, and what cannot be decoded says why."""

import struct

import numpy as np
import pytest
import soundfile

from wavenet.audio import io
from wavenet.audio.io import (
    convert_audio,
    level_db,
    measure,
    mix_down,
    read_audio,
    read_blocks,
    resample_blocks,
    sample_rate_of,
    write_audio,
)
from wavenet.errors import AudioDecodeError

RATE = 8000
FORMATS = [  # suffix, subtype, how far off its decoded samples may be
    ("wav", "PCM_U8", 1 / 127),
    ("wav", "PCM_16", 1e-4),
    ("wav", "PCM_24", 1e-6),
    ("wav", "FLOAT", 0),
    ("wav", "DOUBLE", 1e-7),
    ("aiff", "PCM_16", 1e-4),
    ("flac", "PCM_16", 1e-4),
    ("flac", "PCM_24", 1e-6),
    ("ogg", "VORBIS", 0.1),
    ("opus", "OPUS", 0.1),
    ("mp3", "MPEG_LAYER_III", 0.1),
]


def make_noise(seconds=1.0, num_channels=1, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.1, (round(seconds * RATE), num_channels)).astype(np.float32)


def make_sine(frequency, sample_rate, seconds=1.0, amplitude=0.5):
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    return (amplitude * np.sin(2 * np.pi * frequency * time)).astype(np.float32)[:, None]


def write(folder, name, waveform, sample_rate=RATE, **options):
    soundfile.write(folder / name, waveform, sample_rate, **options)
    return folder / name


def write_opus(folder, waveform):
    return write(folder, "a.opus", waveform, format="OGG", subtype="OPUS")


def cut(path, share):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    return path


def error_of(read, path):
    """The message of a file that cannot be read: one line that begins with the file's name."""
    with pytest.raises(AudioDecodeError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path.name}: ")
    assert "\n" not in message
    assert str(path.parent) not in message
    assert any(remedy in message for remedy in ("again", "drop it"))
    return message


@pytest.fixture
def convert(tmp_path):
    """Convert a file, and give its stats with the samples that were written."""

    def convert(source, sample_rate=RATE, num_channels=1):
        destination = tmp_path / "converted.wav"
        stats = convert_audio(source, destination, sample_rate, num_channels)
        samples, rate = read_audio(destination)
        assert (rate, soundfile.info(destination).subtype) == (sample_rate, "FLOAT")
        assert samples.shape == (stats.num_samples, num_channels)
        return stats, samples

    return convert


@pytest.mark.parametrize(("suffix", "subtype", "tolerance"), FORMATS)
def test_every_format_is_decoded_in_full(tmp_path, suffix, subtype, tolerance):
    sine = make_sine(440, RATE)
    options = {"format": "OGG"} if suffix == "opus" else {}
    decoded, rate = read_audio(write(tmp_path, f"a.{suffix}", sine, subtype=subtype, **options))
    assert (decoded.shape, rate) == (sine.shape, RATE)
    assert decoded.dtype == np.float32
    assert np.abs(decoded - sine).max() <= tolerance


@pytest.mark.parametrize(("suffix", "subtype", "tolerance"), FORMATS)
def test_blocks_of_any_size_are_the_same_samples(tmp_path, monkeypatch, suffix, subtype, tolerance):
    options = {"format": "OGG"} if suffix == "opus" else {}
    path = write(tmp_path, f"a.{suffix}", make_noise(2.3, 2), subtype=subtype, **options)
    whole, _ = read_audio(path)
    monkeypatch.setattr(io, "BLOCK_FRAMES", 1000)
    blocks = list(read_blocks(path))
    assert {len(block) for block in blocks[:-1]} == {1000}
    assert np.array_equal(np.concatenate(blocks), whole)


def test_an_mp3_of_varying_rate_is_decoded_without_seams(tmp_path, monkeypatch):
    """soundfile seeks after each block, and the decoder loses its bit reservoir."""
    quiet, loud = make_sine(440, RATE, 4, 1e-4), make_noise(4)
    path = write(tmp_path, "a.mp3", np.concatenate([quiet, loud, quiet]), bitrate_mode="VARIABLE")
    whole, _ = soundfile.read(path, dtype="float32", always_2d=True)
    monkeypatch.setattr(io, "BLOCK_FRAMES", 4096)
    assert np.allclose(read_audio(path)[0], whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("num_channels", [1, 2, 6])
@pytest.mark.parametrize("wanted", [1, 2])
def test_channels_are_mixed_down_to_their_mean(tmp_path, convert, num_channels, wanted):
    noise = make_noise(num_channels=num_channels)
    _, samples = convert(write(tmp_path, "a.wav", noise, subtype="FLOAT"), num_channels=wanted)
    expected = noise if num_channels == wanted else noise.mean(axis=1, keepdims=True).repeat(wanted, axis=1)
    assert np.allclose(samples, expected, atol=1e-7)


def test_opposite_channels_cancel():
    noise = make_noise()
    assert not mix_down(np.hstack([noise, -noise]), 1).any()


@pytest.mark.parametrize(
    ("source_rate", "sample_rate"),
    [(44100, 16000), (48000, 8000), (8000, 16000), (22050, 10000), (96000, 44100)],
)
def test_resampling_keeps_level_and_length(tmp_path, convert, source_rate, sample_rate):
    path = write(tmp_path, "a.wav", make_sine(440, source_rate, 1.5), source_rate, subtype="FLOAT")
    stats, samples = convert(path, sample_rate)
    assert abs(len(samples) - 1.5 * sample_rate) <= 1
    middle = samples[sample_rate // 4 : -sample_rate // 4]
    assert level_db(np.square(middle).mean()) == pytest.approx(level_db(0.125), abs=0.1)
    assert stats.level_db == pytest.approx(level_db(0.125), abs=0.1)


def test_resampling_keeps_time():
    click = np.zeros((4410, 1), np.float32)
    click[2205] = 1
    out = np.concatenate(list(resample_blocks([click[:1000], click[1000:]], 44100, 16000, 1)))
    assert np.abs(out).argmax() == 800


def test_a_tone_above_half_the_rate_is_silenced_and_not_folded(tmp_path, convert):
    stats, _ = convert(write(tmp_path, "a.wav", make_sine(10000, 44100), 44100), 16000)
    assert stats.level_db < -40


def test_the_same_rate_keeps_every_bit(tmp_path, convert):
    noise = make_noise(num_channels=2)
    _, samples = convert(write(tmp_path, "a.wav", noise, subtype="FLOAT"), num_channels=2)
    assert np.array_equal(samples, noise)


def test_converting_in_small_blocks_gives_the_same(tmp_path, convert, monkeypatch):
    path = write(tmp_path, "a.flac", make_noise(3.1, 2))
    whole, samples = convert(path, 5000)
    monkeypatch.setattr(io, "BLOCK_FRAMES", 777)
    stats, again = convert(path, 5000)
    assert np.allclose(samples, again, atol=1e-6)
    assert (stats.source_digest, stats.num_samples) == (whole.source_digest, whole.num_samples)
    assert stats.level_db == pytest.approx(whole.level_db)


def test_a_recording_has_one_digest_in_any_container(tmp_path, convert):
    pcm = (make_noise(num_channels=2) * 32767).astype(np.int16)
    paths = [write(tmp_path, name, pcm) for name in ("a.wav", "b.flac", "c.aiff")]
    paths.append(write(tmp_path, "d.wav", pcm.astype(np.float32) / 32768, subtype="FLOAT"))
    digests = {convert(path, rate)[0].source_digest for path in paths for rate in (RATE, 5000)}
    assert len(digests) == 1


def test_other_samples_or_another_rate_have_another_digest(tmp_path, convert):
    noise = make_noise()
    other = noise.copy()
    other[-1] += 1e-6
    paths = [
        write(tmp_path, "a.wav", noise, RATE, subtype="FLOAT"),
        write(tmp_path, "b.wav", noise, RATE + 1, subtype="FLOAT"),
        write(tmp_path, "c.wav", other, RATE, subtype="FLOAT"),
    ]
    assert len({convert(path)[0].source_digest for path in paths}) == 3


def test_stats_say_how_loud_and_how_clipped(tmp_path, convert):
    square = np.where(np.arange(1000) % 4 < 2, 1.0, -0.5)[:, None]
    stats, _ = convert(write(tmp_path, "a.wav", square, subtype="FLOAT"))
    assert (stats.num_samples, stats.peak, stats.clipped_share) == (1000, 1.0, 0.5)
    assert stats.level_db == pytest.approx(10 * np.log10(0.625))
    assert measure(square.astype(np.float32)).level_db == pytest.approx(stats.level_db)


def test_quiet_music_stays_quiet(tmp_path, convert):
    stats, _ = convert(write(tmp_path, "a.wav", make_sine(440, RATE, amplitude=1e-3), subtype="FLOAT"))
    assert stats.level_db == pytest.approx(-63.0, abs=0.1)


@pytest.mark.parametrize(("power", "decibels"), [(1, 0), (0.1, -10), (0, -120), (1e-30, -120)])
def test_levels_end_at_120_db_below_full_scale(power, decibels):
    assert level_db(power) == pytest.approx(decibels)


@pytest.mark.parametrize(("shape", "dtype"), [((100,), "f4"), ((100, 2), "f4"), ((0, 1), "f4")])
def test_written_audio_is_read_back_bit_for_bit(tmp_path, shape, dtype):
    waveform = np.random.default_rng(0).normal(0, 1, shape).astype(dtype)  # above full scale too
    write_audio(tmp_path / "a.wav", waveform, RATE)
    samples, rate = soundfile.read(tmp_path / "a.wav", dtype="float32")
    assert rate == RATE
    assert np.array_equal(samples.reshape(shape), waveform)


def test_the_same_samples_are_written_as_the_same_bytes(tmp_path, monkeypatch):
    for name, now in (("a.wav", 1), ("b.wav", 2)):
        monkeypatch.setattr("time.time", lambda now=now: now)
        write_audio(tmp_path / name, make_noise()[:, 0], RATE)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.flac", "a.mp3"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_truncated_file_is_refused(tmp_path, name, share):
    path = cut(write(tmp_path, name, make_noise(4)), share)
    message = error_of(read_audio, path)
    assert "truncated" in message


def test_a_truncated_mp3_never_yields_what_lay_in_memory(tmp_path):
    """soundfile's own blocks fill up the promised length with memory that nobody wrote."""
    path = write(tmp_path, "a.mp3", make_sine(440, RATE, 4))
    whole, _ = read_audio(path)
    cut(path, 0.5)
    reader = read_blocks(path)
    block = next(reader)
    with pytest.raises(AudioDecodeError, match=rf"truncated: {len(block)} of {len(whole)} frames"):
        next(reader)
    assert np.abs(block[:-2000] - whole[: len(block) - 2000]).max() < 1e-3


def test_a_copy_that_lost_its_last_bytes_is_used(tmp_path):
    decoded, _ = read_audio(cut(write(tmp_path, "a.wav", make_noise(4)), 0.995))
    assert len(decoded) > 0.99 * 4 * RATE


def with_data_size(path, size):
    """A WAV whose header was written before its length was known."""
    header = bytearray(path.read_bytes())
    place = header.index(b"data") + 4
    header[place : place + 4] = struct.pack("<I", size)
    path.write_bytes(header)
    return path


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0xFFFFFFDB, 0x7FFFF000, 0x7FFFFFFF, 0x80000000])
def test_a_wav_that_was_streamed_is_read_to_its_end(tmp_path, size):
    noise = make_noise(4)
    path = with_data_size(write(tmp_path, "a.wav", noise, subtype="FLOAT"), size)
    assert np.array_equal(read_audio(path)[0], noise)


def test_a_flac_that_was_streamed_is_read_to_its_end(tmp_path, convert):
    pcm = (make_noise(4) * 32767).astype(np.int16)
    path = write(tmp_path, "a.flac", pcm)
    header = bytearray(path.read_bytes())
    header[21] &= 0xF0  # the 36 bits of STREAMINFO that count the samples
    header[22:26] = bytes(4)
    path.write_bytes(header)
    stats, samples = convert(path)
    assert np.array_equal(samples, pcm.astype(np.float32) / 32768)
    assert stats.num_samples == 4 * RATE


@pytest.mark.parametrize("num_frames", [2000, 20000])
def test_an_mp3_that_states_no_length_is_read_to_its_end(tmp_path, num_frames):
    sine = make_sine(440, 44100, num_frames / 44100)
    path = write(tmp_path, "a.mp3", sine, 44100, bitrate_mode="CONSTANT", compression_level=0.9)
    whole = path.read_bytes()
    assert b"Info" in whole[:200]
    second_frame = whole.index(b"\xff\xfb", 4)  # without the first, its length is but an estimate
    path.write_bytes(whole[second_frame:] + b"TAG" + bytes(125))
    assert len(read_audio(path)[0]) < soundfile.info(path).frames
    decoded, _ = read_audio(path)
    assert num_frames <= len(decoded) <= num_frames + 4 * 1152
    assert np.abs(decoded).max() < 0.6


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.ogg", "a.aiff", "a.opus"])
@pytest.mark.parametrize("read", [read_audio, sample_rate_of])
@pytest.mark.parametrize(("content", "reason"), [(b"this is no sound at all, " * 99, ""), (b"", "empty")])
def test_a_file_that_is_no_audio_is_refused(tmp_path, read, name, content, reason):
    path = tmp_path / name
    path.write_bytes(content)
    message = error_of(read, path)
    assert "cannot be" in message
    assert reason in message
    assert "regular file" not in message


@pytest.mark.parametrize("read", [read_audio, sample_rate_of])
def test_a_folder_named_like_audio_is_refused(tmp_path, read):
    (tmp_path / "x.wav").mkdir()
    assert "not a file" in error_of(read, tmp_path / "x.wav")


@pytest.mark.parametrize("read", [read_audio, sample_rate_of])
def test_a_file_that_is_not_there_is_refused(tmp_path, read):
    assert "no such file" in error_of(read, tmp_path / "x.wav")


def test_a_name_may_hold_a_colon(tmp_path):
    (tmp_path / "live: 1999: x.wav").write_text("no sound")
    assert "(Format not recognised)" in error_of(read_audio, tmp_path / "live: 1999: x.wav")


@pytest.mark.parametrize("name", ["a.wav", "a.aiff"])
def test_zero_samples_are_refused(tmp_path, name):
    path = write(tmp_path, name, np.zeros((0, 1)))
    assert "holds no samples" in error_of(read_audio, path)


def test_too_few_samples_for_one_at_the_new_rate_are_refused(tmp_path):
    path = write(tmp_path, "a.wav", np.zeros((1, 1)), 192000)
    message = error_of(lambda p: convert_audio(p, tmp_path / "out.wav", 1000, 1), path)
    assert "too short for one sample at 1000 Hz" in message


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused_with_their_place(tmp_path, value):
    noise = make_noise(4, 2)
    noise[round(2.5 * RATE), 1] = value
    path = write(tmp_path, "a.wav", noise, subtype="FLOAT")
    assert "holds NaN or infinite samples at 2.5 s" in error_of(read_audio, path)


def test_a_file_that_cannot_be_converted_raises_the_readers_error(tmp_path):
    path = cut(write(tmp_path, "a.flac", make_noise(4)), 0.5)
    assert "truncated" in error_of(lambda p: convert_audio(p, tmp_path / "out.wav", RATE, 1), path)


def test_names_in_any_script_are_read(tmp_path):
    for name in ('it\'s "so" & <b>.wav', "音楽 🎵.wav", "Ü.flac", "x" * 250 + ".wav"):
        write(tmp_path, name, make_noise())
        assert len(read_audio(tmp_path / name)[0]) == RATE
