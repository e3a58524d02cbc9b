"""Decoding: what comes out of a file is what was recorded, and what cannot be decoded says why."""

import io
import os
import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from wavenet.audio import decoding
from wavenet.audio.decoding import (
    AUDIO_SUFFIXES,
    AudioFacts,
    AudioSource,
    open_audio,
    read_blocks,
    sample_rate_of,
)
from wavenet.audio.ffmpeg import samples_of_frame
from wavenet.errors import AudioDecodeError

RATE = 8000
SNDFILE = [  # name, options, how far off its decoded samples may be
    ("a.wav", {"subtype": "PCM_U8"}, 1 / 127),
    ("a.wav", {"subtype": "PCM_16"}, 1e-4),
    ("a.wav", {"subtype": "PCM_24"}, 1e-6),
    ("a.wav", {"subtype": "PCM_32"}, 1e-7),
    ("a.wav", {"subtype": "FLOAT"}, 0),
    ("a.wav", {"subtype": "DOUBLE"}, 1e-7),
    ("a.wav", {"subtype": "ULAW"}, 0.03),
    ("a.wav", {"subtype": "PCM_24", "format": "WAVEX"}, 1e-6),
    ("a.rf64", {"subtype": "FLOAT", "format": "RF64"}, 0),
    ("a.w64", {"subtype": "PCM_24"}, 1e-6),
    ("a.aiff", {"subtype": "PCM_16"}, 1e-4),
    ("a.aifc", {"subtype": "FLOAT", "format": "AIFF"}, 0),
    ("a.au", {"subtype": "PCM_16"}, 1e-4),
    ("a.caf", {"subtype": "PCM_24"}, 1e-6),
    ("a.flac", {"subtype": "PCM_16"}, 1e-4),
    ("a.flac", {"subtype": "PCM_24"}, 1e-6),
    ("a.ogg", {"subtype": "VORBIS"}, 0.1),
    ("a.opus", {"subtype": "OPUS", "format": "OGG"}, 0.1),
    ("a.mp3", {"subtype": "MPEG_LAYER_III"}, 0.1),
]
FFMPEG = [  # name, codec, options, codec as stated, frames late, frames more, signal to noise in dB
    ("a.m4a", "aac", {}, "mp4/aac", 0, 0, 20),
    ("a.m4b", "aac", {"container": "ipod"}, "mp4/aac", 0, 0, 20),
    ("a.m4a", "alac", {"sample_format": "s16p"}, "mp4/alac", 0, 0, 70),
    ("a.mp4", "aac", {"video": "mpeg4"}, "mp4/aac", 0, 0, 20),
    ("a.mov", "pcm_s24le", {"video": "mpeg4"}, "mp4/pcm_s24le", 0, 0, 100),
    ("a.aac", "aac", {}, "aac/aac", 1024, 2048, 20),
    ("a.wma", "wmav2", {"container": "asf", "bit_rate": 128000}, "asf/wmav2", -2048, 2048, 20),
    ("a.webm", "libopus", {"rate": 48000}, "matroska/opus", 0, 0, 10),
    ("a.webm", "vorbis", {"strict": "-2"}, "matroska/vorbis", 0, 128, 10),
    ("a.mka", "flac", {"sample_format": "s16"}, "matroska/flac", 0, 0, 70),
    ("a.mkv", "ac3", {"video": "mpeg4"}, "matroska/ac3", 0, 1536, 20),
    ("a.ac3", "ac3", {}, "ac3/ac3", 256, 1792, 20),
    ("a.wv", "wavpack", {"sample_format": "fltp"}, "wv/wavpack", 0, 0, 140),
    ("a.mp2", "mp2", {"sample_format": "s16"}, "mp3/mp2", 481, 1152, 20),
]


class Pipe(io.BytesIO):
    """A file of which nothing that was written can be changed later."""

    def seekable(self):
        return False

    seek = None


def make_noise(seconds=1.0, num_channels=1, seed=0, sample_rate=RATE):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.1, (round(seconds * sample_rate), num_channels)).astype(np.float32)


def make_music(seconds, num_channels, sample_rate, seed=0):
    """Noise that codecs of the ear keep well: little of it is high, and each channel is another."""
    noise = make_noise(seconds, num_channels, seed, sample_rate)
    window = np.hanning(64)
    return np.stack([np.convolve(column, window / 4, "same") for column in noise.T], axis=1).astype(
        np.float32
    )


def make_sine(frequency, sample_rate, seconds=1.0, amplitude=0.5):
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    return (amplitude * np.sin(2 * np.pi * frequency * time)).astype(np.float32)[:, None]


def write(folder, name, waveform, sample_rate=RATE, **options):
    soundfile.write(folder / name, waveform, sample_rate, **options)
    return folder / name


def encode(
    path, waveforms, sample_rate, codec, *, container=None, sample_format=None, bit_rate=None, video=None,
    strict="1", movflags="", frame_length=1024,
):  # fmt: skip
    """Write (frames, channels) waveforms as the audio streams of one container."""
    file = path if isinstance(path, Pipe) else str(path)
    with av.open(file, "w", format=container, options={"movflags": movflags} if movflags else {}) as out:
        pictures = out.add_stream(video, rate=10, width=32, height=32) if video else None
        streams = []
        for waveform in waveforms:
            layout = {1: "mono", 2: "stereo", 6: "5.1"}[waveform.shape[1]]
            stream = out.add_stream(codec, rate=sample_rate, layout=layout, options={"strict": strict})
            if sample_format:
                stream.format = sample_format
            if bit_rate:
                stream.bit_rate = bit_rate
            streams.append(stream)
        if pictures:
            for _ in range(10):
                picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
                out.mux(pictures.encode(picture))
            out.mux(pictures.encode(None))
        for stream, waveform in zip(streams, waveforms, strict=True):
            for at in range(0, len(waveform), frame_length):
                columns = np.ascontiguousarray(waveform[at : at + frame_length].T)
                frame = av.AudioFrame.from_ndarray(columns, format="fltp", layout=stream.layout.name)
                frame.sample_rate, frame.pts, frame.time_base = sample_rate, at, Fraction(1, sample_rate)
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
    return path


def decode(source):
    """All samples of a source, and its facts."""
    with open_audio(source) as reader:
        samples = np.concatenate(list(reader.blocks()))
        return samples, reader.facts


def lag_of(decoded, original):
    """Frames by which the first channel of decoded is late."""
    length = 2 * max(len(decoded), len(original))
    spectra = [np.fft.rfft(waveform[:, 0], length) for waveform in (decoded, original)]
    place = int(np.argmax(np.fft.irfft(spectra[0] * spectra[1].conj(), length)))
    return place if place < length // 2 else place - length


def signal_to_noise(original, decoded):
    length = min(len(original), len(decoded))
    noise = np.square(original[:length] - decoded[:length], dtype=np.float64).sum()
    return 10 * np.log10(np.square(original[:length], dtype=np.float64).sum() / max(noise, 1e-30))


def cut(path, share):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    return path


def error_of(source):
    """The message of a file that cannot be read: one line that begins with the file's name."""
    path = source.path if isinstance(source, AudioSource) else source
    with pytest.raises(AudioDecodeError) as caught:
        decode(source)
    message = str(caught.value)
    assert message.startswith(f"{path.name}: ")
    assert "\n" not in message
    assert str(path.parent) not in message
    assert any(remedy in message for remedy in ("again", "drop it"))
    return message


# formats


@pytest.mark.parametrize(("name", "options", "tolerance"), SNDFILE)
def test_what_libsndfile_opens_is_decoded_in_full(tmp_path, name, options, tolerance):
    sine = make_sine(440, RATE)
    decoded, facts = decode(write(tmp_path, name, sine, **options))
    assert (decoded.shape, facts.sample_rate, facts.num_channels) == (sine.shape, RATE, 1)
    assert decoded.dtype == np.float32
    assert np.abs(decoded - sine).max() <= tolerance
    assert facts.codec.endswith(f"/{options['subtype']}")


@pytest.mark.parametrize(("name", "codec", "options", "stated", "lag", "extra", "quality"), FFMPEG)
def test_what_ffmpeg_opens_is_decoded_in_full(tmp_path, name, codec, options, stated, lag, extra, quality):
    """Lined up where the container says how late the codec is; bare streams and WMA made by FFmpeg do not."""
    options = dict(options)
    rate = options.pop("rate", 44100)
    music = make_music(2.0, 2, rate)
    decoded, facts = decode(encode(tmp_path / name, [music], rate, codec, **options))
    assert (facts.codec, facts.sample_rate, facts.num_channels) == (stated, rate, 2)
    assert lag_of(decoded, music) == lag
    assert abs(len(decoded) - len(music)) <= extra
    lined_up = decoded[max(0, lag) :]
    assert signal_to_noise(music[max(0, -lag) :][: len(lined_up)], lined_up) > quality


@pytest.mark.parametrize("num_channels", [1, 2, 6])
@pytest.mark.parametrize("name", ["a.m4a", "a.wav", "a.flac"])
def test_channels_keep_their_order(tmp_path, name, num_channels):
    tones = np.hstack([make_sine(300 * (k + 1), 44100, 0.5, 0.3) for k in range(num_channels)])
    if name == "a.m4a":
        path = encode(tmp_path / name, [tones], 44100, "alac", sample_format="s16p")
    else:
        path = write(tmp_path, name, tones, 44100)
    decoded, _ = decode(path)
    assert np.abs(decoded - tones).max() < 1e-3


@pytest.mark.parametrize("rate", [1000, 4000, 192000, 768000])
def test_rates_may_be_very_low_or_very_high(tmp_path, rate):
    noise = make_noise(0.5, 1, sample_rate=rate)
    path = write(tmp_path, "a.wav", noise, rate, subtype="FLOAT")
    decoded, facts = decode(path)
    assert np.array_equal(decoded, noise)
    assert sample_rate_of(path) == facts.sample_rate == rate


def test_a_rate_that_is_none_of_audio_is_refused(tmp_path):
    path = write(tmp_path, "a.wav", make_noise(), 999)
    assert "states a rate of 999 Hz; expected 1000 to 768000" in error_of(path)
    assert "states a rate of 1000000 Hz" in error_of(write(tmp_path, "b.wav", make_noise(0.1), 1_000_000))


def test_many_channels_come_in_shorter_blocks(tmp_path):
    noise = make_noise(2.0, 100)
    blocks = list(read_blocks(write(tmp_path, "a.wav", noise, subtype="FLOAT")))
    assert max(block.size for block in blocks) <= 1 << 20
    assert np.array_equal(np.concatenate(blocks), noise)


def wav_bytes(frames, bits, rate, *, extensible=False, large=False):
    """A PCM WAV by hand. frames: (frames, channels) integers of so many bits."""
    num_channels = frames.shape[1]
    width = bits // 8
    values = (frames + 128 if bits == 8 else frames).astype("<i4")
    data = values.reshape(-1, 1).view(np.uint8)[:, :width].tobytes()
    tag, frame_bytes = 0xFFFE if extensible else 1, num_channels * width
    form = struct.pack("<HHIIHH", tag, num_channels, rate, rate * frame_bytes, frame_bytes, bits)
    if extensible:
        mask = {1: 4, 2: 3, 6: 0x3F}[num_channels]
        form += struct.pack("<HHIH", 22, bits, mask, 1) + bytes.fromhex("000000001000800000aa00389b71")
    sizes = struct.pack("<QQQI", 0, len(data), len(frames), 0)
    chunks = [("ds64", sizes)] if large else []
    chunks += [("fmt ", form), ("LIST", b"INFOISFT\4\0\0\0by me\0"[:16]), ("data", data)]
    body = b"WAVE"
    for name, content in chunks:
        size = 0xFFFFFFFF if large and name == "data" else len(content)
        body += name.encode() + struct.pack("<I", size) + content
    body = body.replace(sizes, struct.pack("<QQQI", len(body), len(data), len(frames), 0)) if large else body
    return (b"RF64\xff\xff\xff\xff" if large else b"RIFF" + struct.pack("<I", len(body))) + body


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
@pytest.mark.parametrize("num_channels", [1, 2, 6])
@pytest.mark.parametrize(
    "form", [{}, {"extensible": True}, {"large": True}, {"extensible": True, "large": True}]
)
def test_a_wav_by_the_letter_of_its_standard_is_read(tmp_path, bits, num_channels, form):
    top = 1 << (bits - 1)
    frames = np.random.default_rng(0).integers(-top, top, (500, num_channels))
    frames[0], frames[1] = top - 1, -top
    (tmp_path / "a.wav").write_bytes(wav_bytes(frames, bits, 22050, **form))
    decoded, facts = decode(tmp_path / "a.wav")
    assert np.allclose(decoded, frames / top, rtol=0, atol=1e-7)
    assert (facts.sample_rate, facts.num_channels, facts.num_frames) == (22050, num_channels, 500)


@pytest.mark.parametrize(
    ("sample_format", "dtype", "full_scale"),
    [("u8", "u1", 128), ("s16", "i2", 1 << 15), ("s32", "i4", 1 << 31), ("flt", "f4", 1), ("dbl", "f8", 1)],
)
@pytest.mark.parametrize("planar", ["", "p"])
def test_every_sample_format_of_ffmpeg_becomes_float32(sample_format, dtype, full_scale, planar):
    values = np.linspace(-1, 1, 100, endpoint=False).reshape(50, 2)
    stored = values * full_scale + (128 if dtype == "u1" else 0)
    stored = np.floor(stored).astype(dtype) if full_scale > 1 else stored.astype(dtype)
    array = stored.T if planar else stored.reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(array), sample_format + planar, "stereo")
    samples = samples_of_frame(frame)
    assert samples.dtype == np.float32
    assert samples.flags.c_contiguous
    assert np.abs(samples - values).max() <= max(1 / full_scale if full_scale > 1 else 0, 1e-7)


def test_samples_of_64_bits_are_refused(tmp_path):
    frames = np.zeros((500, 2), np.int64)
    header = wav_bytes(np.zeros((500, 2), np.int64), 32, 22050)
    place = header.index(b"fmt ") + 8
    form = struct.pack("<HHIIHH", 1, 2, 22050, 22050 * 16, 16, 64)
    header = header[:place] + form + header[place + 16 : header.index(b"data")]
    (tmp_path / "a.wav").write_bytes(header + b"data" + struct.pack("<I", frames.nbytes) + frames.tobytes())
    assert "its samples are s64; expected up to 32 bits" in error_of(tmp_path / "a.wav")


def test_a_names_suffix_does_not_decide_how_it_is_decoded(tmp_path):
    noise = make_noise()
    path = write(tmp_path, "a.wav", noise, subtype="FLOAT").rename(tmp_path / "a.mp3")
    assert np.array_equal(decode(path)[0], noise)
    path = encode(tmp_path / "b.m4a", [make_music(0.5, 1, 44100)], 44100, "aac").rename(tmp_path / "b.wav")
    assert decode(path)[1].codec == "mp4/aac"


@pytest.mark.parametrize(
    "name", ["a.au", "a.snd", "a.vox", "a.gsm", "a.aac", "a.ac3", "a.m3u8", "a.raw", "a.mp3"]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_noise_of_bytes_is_never_taken_for_audio(tmp_path, name, seed):
    (tmp_path / name).write_bytes(np.random.default_rng(seed).bytes(30000))
    assert "cannot be decoded" in error_of(tmp_path / name)


def test_bytes_that_some_game_used_for_audio_are_not_taken_for_it(tmp_path):
    """FFmpeg knows formats of which the first bytes, all but zero, are all there is to know them by."""
    (tmp_path / "numbers.dat").write_bytes(bytes([4, 0, 31, 64, *8 * [0]]) + bytes(range(256)) * 9)
    assert "cannot be decoded" in error_of(tmp_path / "numbers.dat")


def test_a_playlist_opens_no_other_file(tmp_path):
    write(tmp_path, "a.wav", make_noise())
    (tmp_path / "list.m3u8").write_text(f"#EXTM3U\n#EXTINF:1,\n{tmp_path}/a.wav\n#EXT-X-ENDLIST\n")
    (tmp_path / "list.txt").write_text(f"ffconcat version 1.0\nfile {tmp_path}/a.wav\n")
    for path in tmp_path.glob("list.*"):
        assert "cannot be decoded" in error_of(path)


def test_suffixes_are_lower_case_with_their_dot():
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in AUDIO_SUFFIXES)
    assert {
        ".wav",
        ".flac",
        ".ogg",
        ".opus",
        ".mp3",
        ".aiff",
        ".m4a",
        ".wma",
        ".mp4",
        ".webm",
    } <= AUDIO_SUFFIXES


# streams and parts


def test_each_stream_of_a_container_can_be_chosen(tmp_path):
    """As in MUSDB18: the mixture and four stems, beside a picture."""
    music = [make_music(1.0, 2, 44100, seed) for seed in range(5)]
    path = encode(tmp_path / "song.stem.mp4", music, 44100, "aac", video="mpeg4")
    for number, original in enumerate(music):
        decoded, _ = decode(AudioSource(path, stream=number))
        assert decoded.shape == original.shape
        assert lag_of(decoded, original) == 0
        assert signal_to_noise(original, decoded) > 15
    assert np.array_equal(decode(path)[0], decode(AudioSource(path, stream=0))[0])


@pytest.mark.parametrize("number", [1, 7, -1])
def test_a_stream_that_is_not_there_is_named(tmp_path, number):
    path = encode(tmp_path / "a.m4a", [make_music(0.5, 1, 44100)], 44100, "aac")
    assert f"audio stream {number} is asked for, but they are 0 to 0" in error_of(
        AudioSource(path, stream=number)
    )


@pytest.mark.parametrize(
    ("name", "codec", "video"),
    [
        ("a.mkv", "ac3", "mpeg4"),
        ("a.mp4", "aac", "mpeg4"),
        ("a.mov", "pcm_s16le", "mpeg4"),
        ("a.flv", "aac", "flv1"),
    ],
)
def test_sound_may_end_before_the_film_does(tmp_path, name, codec, video):
    music = make_music(0.5, 1, 44100)  # of a film of one second
    decoded, _ = decode(encode(tmp_path / name, [music], 44100, codec, video=video))
    assert abs(len(decoded) - len(music)) <= 1536


def test_a_film_without_sound_is_refused(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        pictures = out.add_stream("mpeg4", rate=10, width=32, height=32)
        out.mux(pictures.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        out.mux(pictures.encode(None))
    assert "no audio stream in it" in error_of(tmp_path / "a.mp4")


PARTS = [(0.0, 0.5), (0.25, None), (0.1, 0.1001), (0.999, 2.0), (1.5, 1.75), (1.0, 1e300), (1.0, np.inf)]


@pytest.mark.parametrize(("name", "options", "tolerance"), SNDFILE)
def test_a_part_is_cut_out_to_the_sample(tmp_path, monkeypatch, name, options, tolerance):
    path = write(tmp_path, name, make_noise(2.0, 2), **options)
    whole, _ = decode(path)
    monkeypatch.setattr(decoding, "BLOCK_FRAMES", 1000)
    for start, end in PARTS:
        part, facts = decode(AudioSource(path, start, end))
        last = len(whole) if end is None else round(min(end, 9) * RATE)
        assert np.array_equal(part, whole[round(start * RATE) : last])
        assert facts.num_frames == len(part)


def test_a_part_of_a_container_is_cut_out_to_the_sample(tmp_path):
    path = encode(tmp_path / "a.m4a", [make_music(2.0, 2, 44100)], 44100, "aac")
    whole, _ = decode(path)
    for start, end in PARTS:
        last = len(whole) if end is None else round(min(end, 9) * 44100)
        assert np.array_equal(decode(AudioSource(path, start, end))[0], whole[round(start * 44100) : last])


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.m4a"])
@pytest.mark.parametrize("start", [2.0, 2.5, 1e300])
def test_a_part_that_begins_after_the_end_is_refused(tmp_path, name, start):
    if name == "a.m4a":
        path = encode(tmp_path / name, [make_music(2.0, 1, 44100)], 44100, "aac")
    else:
        path = write(tmp_path, name, make_noise(2.0))
    message = error_of(AudioSource(path, start))
    assert f"is to be read from {start:g} s, but ends at 2 s" in message


@pytest.mark.parametrize(
    ("start", "end"),
    [(1.0, 1.0), (2.0, 1.0), (-1.0, None), (float("nan"), None), (0.0, float("nan")), (float("inf"), None)],
)
def test_a_part_that_is_none_is_refused(tmp_path, start, end):
    path = write(tmp_path, "a.wav", make_noise(2.0))
    assert "expected 0 <= start < end" in error_of(AudioSource(path, start, end))


def test_a_part_shorter_than_a_sample_is_refused(tmp_path):
    path = write(tmp_path, "a.wav", make_noise(2.0))
    assert "less than a sample" in error_of(AudioSource(path, 1.0, 1.00001))


def test_a_part_before_a_truncation_is_used(tmp_path):
    noise = make_noise(4.0)
    path = cut(write(tmp_path, "a.wav", noise, subtype="FLOAT"), 0.5)
    assert np.array_equal(decode(AudioSource(path, 0.5, 1.5))[0], noise[RATE // 2 : 3 * RATE // 2])
    assert "truncated" in error_of(AudioSource(path, 0.5))


# blocks


@pytest.mark.parametrize(("name", "options", "tolerance"), SNDFILE)
def test_blocks_of_any_size_are_the_same_samples(tmp_path, monkeypatch, name, options, tolerance):
    path = write(tmp_path, name, make_noise(2.3, 2), **options)
    whole, _ = decode(path)
    monkeypatch.setattr(decoding, "BLOCK_FRAMES", 1000)
    blocks = list(read_blocks(path))
    assert {len(block) for block in blocks[:-1]} == {1000}
    assert np.array_equal(np.concatenate(blocks), whole)


@given(block_frames=st.integers(1, 70000))
def test_packets_become_blocks_of_any_size(tmp_path_factory, block_frames):
    path = tmp_path_factory.getbasetemp() / "packets.m4a"
    if not path.exists():
        encode(path, [make_music(0.5, 2, 44100)], 44100, "aac")
    whole, _ = decode(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "BLOCK_FRAMES", block_frames)
        blocks = list(read_blocks(path))
    assert {len(block) for block in blocks[:-1]} <= {block_frames}
    assert np.array_equal(np.concatenate(blocks), whole)


def test_an_mp3_of_varying_rate_is_decoded_without_seams(tmp_path, monkeypatch):
    """soundfile seeks after each block, and the decoder loses its bit reservoir."""
    quiet, loud = make_sine(440, RATE, 4, 1e-4), make_noise(4)
    path = write(tmp_path, "a.mp3", np.concatenate([quiet, loud, quiet]), bitrate_mode="VARIABLE")
    whole, _ = soundfile.read(path, dtype="float32", always_2d=True)
    monkeypatch.setattr(decoding, "BLOCK_FRAMES", 4096)
    assert np.allclose(decode(path)[0], whole, rtol=0, atol=1e-6)


# facts


def test_facts_are_of_what_the_file_holds(tmp_path):
    square = np.where(np.arange(1000) % 4 < 2, 1.0, -0.5)[:, None] * [1, 0.5]
    _, facts = decode(write(tmp_path, "a.wav", square, 22050, subtype="FLOAT"))
    assert facts == AudioFacts("WAV/FLOAT", 22050, 2, 1000, 1.0, 0.25, 0.1875)


@given(seed=st.integers(0, 99), block_frames=st.integers(1, 5000))
def test_facts_do_not_depend_on_the_size_of_blocks(tmp_path_factory, seed, block_frames):
    path = write(tmp_path_factory.getbasetemp(), "facts.wav", 5 * make_noise(0.5, 2, seed), subtype="FLOAT")
    _, whole = decode(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "BLOCK_FRAMES", block_frames)
        _, facts = decode(path)
    assert (facts.num_frames, facts.peak) == (whole.num_frames, whole.peak)
    assert facts.clipped_share == whole.clipped_share > 0
    assert facts.dc_offset == pytest.approx(whole.dc_offset, abs=1e-9)


# damage


@pytest.mark.parametrize(
    "name", ["a.wav", "a.aiff", "a.au", "a.w64", "a.rf64", "a.caf", "a.flac", "a.mp3", "a.ogg", "a.opus"]
)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7003, 0.9])
def test_a_truncated_file_is_refused(tmp_path, name, share):
    options = {"a.opus": {"format": "OGG", "subtype": "OPUS"}, "a.rf64": {"format": "RF64"}}.get(name, {})
    assert "truncated" in error_of(cut(write(tmp_path, name, make_noise(4), **options), share))


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "aac", {"movflags": "faststart"}),
        ("a.m4a", "aac", {}),
        ("a.webm", "libopus", {}),
        ("a.mka", "flac", {"sample_format": "s16"}),
        ("a.mkv", "ac3", {"video": "mpeg4"}),
        ("a.caf", "adpcm_ima_qt", {"sample_format": "s16p"}),
        ("a.caf", "alac", {"sample_format": "s16p"}),
        ("a.wma", "wmav2", {"container": "asf", "bit_rate": 128000}),
        ("a.wma", "wmav2", {"container": "asf", "bit_rate": 32000, "video": "wmv2"}),
    ],
)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7003, 0.9])
def test_a_truncated_container_is_refused(tmp_path, name, codec, options, share):
    path = encode(tmp_path / name, [make_music(3.0, 2, 48000)], 48000, codec, **options)
    assert "truncated" in error_of(cut(path, share))


def test_a_truncated_mp3_never_yields_what_lay_in_memory(tmp_path):
    """soundfile's own blocks fill up the promised length with memory that nobody wrote."""
    path = write(tmp_path, "a.mp3", make_sine(440, RATE, 4))
    whole, _ = decode(path)
    cut(path, 0.5)
    reader = read_blocks(path)
    block = next(reader)
    with pytest.raises(AudioDecodeError, match=rf"truncated: {len(block)} of {len(whole)} frames"):
        next(reader)
    assert np.abs(block[:-2000] - whole[: len(block) - 2000]).max() < 1e-3


def test_a_copy_that_lost_its_last_bytes_is_used(tmp_path):
    decoded, _ = decode(cut(write(tmp_path, "a.wav", make_noise(4)), 0.995))
    assert len(decoded) > 0.99 * 4 * RATE
    path = encode(tmp_path / "a.mp4", [make_music(5.0, 1, 44100)], 44100, "aac", movflags="faststart")
    path.write_bytes(path.read_bytes()[:-10])
    assert len(decode(path)[0]) > 0.99 * 5 * 44100


def test_an_ogg_file_may_be_followed_by_a_tag(tmp_path):
    path = write(tmp_path, "a.ogg", make_noise(2))
    path.write_bytes(path.read_bytes() + b"TAG" + bytes(125))
    assert len(decode(path)[0]) == 2 * RATE


@pytest.mark.parametrize("between_pages", [True, False])
def test_an_ogg_whose_last_page_is_missing_or_cut_is_refused(tmp_path, between_pages):
    path = write(tmp_path, "a.ogg", make_noise(4))
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rindex(b"OggS")] if between_pages else whole[:-3])
    assert "does not end the stream" in error_of(path)


@pytest.mark.parametrize(("name", "codec"), [("a.m4a", "aac"), ("a.mkv", "ac3"), ("a.aac", "aac")])
def test_damage_within_a_container_is_refused_with_its_place(tmp_path, capfd, name, codec):
    path = encode(tmp_path / name, [make_music(4.0, 2, 44100)], 44100, codec)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 300] = np.random.default_rng(0).bytes(300)
    path.write_bytes(content)
    message = error_of(path)
    assert float(message.split(" truncated after ")[1].split(" s")[0]) == pytest.approx(2.0, abs=0.3)
    assert capfd.readouterr().err == ""


def test_a_container_of_nothing_but_damage_is_refused_as_damaged(tmp_path):
    path = encode(tmp_path / "a.m4a", [make_music(0.002, 1, 44100)], 44100, "alac", sample_format="s16p")
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") + 4
    content[start : content.index(b"moov") - 4] = b"\x81" * (content.index(b"moov") - 4 - start)
    path.write_bytes(content)
    assert "damaged or truncated after 0.0 s" in error_of(path)


def test_a_damaged_flac_is_refused_with_its_place(tmp_path, monkeypatch):
    path = write(tmp_path, "a.flac", make_noise(4))
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 50] = bytes(50)
    path.write_bytes(content)
    monkeypatch.setattr(decoding, "BLOCK_FRAMES", RATE // 10)
    start, end = (float(text.split()[-1]) for text in error_of(path).split(" (")[0].split(" s")[:2])
    assert start - 0.6 <= 2.0 <= end + 0.6


BARE = {  # name, codec, container: streams in which nothing but each frame's own header states a length
    "aac": ("a.aac", "aac", "adts"),
    "ac3": ("a.ac3", "ac3", "ac3"),
    "eac3": ("a.eac3", "eac3", "eac3"),
    "mp2": ("a.mp2", "mp2", "mp2"),
    "mp3": ("a.mp3", "mp3", "mp3"),
    "mpeg-ts aac": ("a.ts", "aac", "mpegts"),
    "mpeg-ts mp2": ("a.ts", "mp2", "mpegts"),
    "mpeg-ps": ("a.mpg", "mp2", "mpeg"),
}


def encode_bare(folder, kind):
    """Three seconds of a stream that states no length, without tags."""
    name, codec, container = BARE[kind]
    music = make_music(3.0, 2, 48000)
    if codec == "mp3":
        path = write(folder, name, music, 48000, bitrate_mode="CONSTANT")
        return without_header_frame(path, tag=b"")
    form = "s16" if codec == "mp2" else None
    return encode(folder / name, [music], 48000, codec, container=container, sample_format=form)


def frame_borders(path):
    """Where each packet of a bare stream begins, in bytes."""
    with av.open(str(path)) as container:
        sizes = [packet.size for packet in container.demux(audio=0)]
    return np.cumsum([0, *sizes])


@pytest.mark.parametrize("kind", BARE)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7003, 0.9, 0.97])
def test_a_bare_stream_cut_within_a_frame_is_refused(tmp_path, kind, share):
    path = encode_bare(tmp_path, kind)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share) + 51])
    assert "truncated" in error_of(path)


@pytest.mark.parametrize("kind", ["aac", "ac3", "eac3", "mp2", "mp3"])
def test_a_bare_stream_cut_between_two_frames_cannot_be_told_from_a_whole_one(tmp_path, kind):
    """Nor one that ends within the few bytes of a frame's header: there is no telling what it is."""
    path = encode_bare(tmp_path, kind)
    whole, borders = path.read_bytes(), frame_borders(path)
    assert borders[-1] == len(whole)
    num_frames, border = len(decode(path)[0]), borders[len(borders) // 2]
    path.write_bytes(whole[:border])
    assert 0.4 * num_frames < len(decode(path)[0]) < 0.6 * num_frames
    path.write_bytes(whole[: border + 10])
    assert "truncated: its last frame, at 1." in error_of(path)


ID3V1 = b"TAG" + b"Title".ljust(30, b"\0") + b"Artist".ljust(30) + bytes(65)
APE_ITEM = struct.pack("<II", 300, 0) + b"Title\0" + b"x" * 300
APE_FOOTER = b"APETAGEX" + struct.pack("<IIII", 2000, len(APE_ITEM) + 32, 1, 1 << 31) + bytes(8)
APE_HEADER = APE_FOOTER[:20] + struct.pack("<I", 5 << 29) + bytes(8)
TAILS = {
    "id3v1": ID3V1,
    "ape": APE_ITEM + APE_FOOTER,
    "ape with its header, id3v1": APE_HEADER + APE_ITEM + APE_FOOTER + ID3V1,
    "lyrics": b"LYRICSBEGININD0000200LYR00012la la la la000038LYRICS200" + ID3V1,
    "padding": bytes(100),
    "much padding": bytes(5000),
    "padding, id3v1": bytes(500) + ID3V1,
}


@pytest.mark.parametrize("kind", ["aac", "ac3", "eac3", "mp2", "mp3"])
@pytest.mark.parametrize("tail", TAILS)
def test_a_bare_stream_may_be_followed_by_tags_and_padding(tmp_path, kind, tail):
    path = encode_bare(tmp_path, kind)
    whole, _ = decode(path)
    path.write_bytes(path.read_bytes() + TAILS[tail])
    decoded, _ = decode(path)
    assert len(whole) - 1536 <= len(decoded) <= len(whole) + 1152


@pytest.mark.parametrize("kind", BARE)
def test_a_whole_bare_stream_is_used(tmp_path, kind):
    assert abs(len(decode(encode_bare(tmp_path, kind))[0]) - 3 * 48000) <= 4 * 1536


@pytest.mark.parametrize("bit_rate", [32000, 192000])
def test_a_wma_is_used_whatever_its_bit_rate_and_whatever_lies_behind_its_audio(tmp_path, bit_rate):
    options = {"container": "asf", "bit_rate": bit_rate}
    path = encode(tmp_path / "a.wma", [make_music(3.0, 2, 44100)], 44100, "wmav2", **options)
    whole, _ = decode(path)
    assert abs(len(whole) - 3 * 44100) <= 2048
    path.write_bytes(path.read_bytes() + bytes(20000))
    assert np.array_equal(decode(path)[0], whole)


def test_a_wma_that_was_streamed_is_read_to_its_end(tmp_path):
    """It is marked as broadcast, and no size or duration in it means anything."""
    music, pipe = make_music(3.0, 2, 44100), Pipe()
    encode(pipe, [music], 44100, "wmav2", container="asf", bit_rate=64000)
    (tmp_path / "a.wma").write_bytes(pipe.getvalue())
    assert abs(len(decode(tmp_path / "a.wma")[0]) - len(music)) <= 2048


def test_a_caf_that_was_streamed_is_read_to_its_end(tmp_path):
    noise = make_noise(4)
    path = write(tmp_path, "a.caf", noise, subtype="FLOAT")
    content = bytearray(path.read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 8] = b"\xff" * 8
    path.write_bytes(content)
    assert np.array_equal(decode(path)[0], noise)


def test_a_caf_may_have_more_behind_its_audio(tmp_path):
    noise = make_noise(4)
    path = write(tmp_path, "a.caf", noise, subtype="FLOAT")
    path.write_bytes(path.read_bytes() + b"free" + struct.pack(">Q", 3000) + bytes(3000))
    assert np.array_equal(decode(path)[0], noise)


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
    assert np.array_equal(decode(path)[0], noise)


def test_an_au_that_was_streamed_is_read_to_its_end(tmp_path):
    noise = make_noise(4)
    path = write(tmp_path, "a.au", noise, subtype="FLOAT")
    header = bytearray(path.read_bytes())
    header[8:12] = b"\xff\xff\xff\xff"
    path.write_bytes(header)
    assert np.array_equal(decode(path)[0], noise)


def test_a_flac_that_was_streamed_is_read_to_its_end_and_in_parts(tmp_path):
    pcm = (make_noise(4) * 32767).astype(np.int16)
    path = write(tmp_path, "a.flac", pcm)
    header = bytearray(path.read_bytes())
    header[21] &= 0xF0  # the 36 bits of STREAMINFO that count the samples
    header[22:26] = bytes(4)
    path.write_bytes(header)
    assert np.array_equal(decode(path)[0], pcm.astype(np.float32) / 32768)
    assert np.array_equal(decode(AudioSource(path, 1, 2))[0], pcm[RATE : 2 * RATE].astype(np.float32) / 32768)


def test_a_webm_that_was_streamed_is_read_to_its_end(tmp_path):
    music, pipe = make_music(2.0, 2, 48000), Pipe()
    with av.open(pipe, "w", format="webm", options={"live": "1"}) as out:
        stream = out.add_stream("libopus", rate=48000, layout="stereo")
        for at in range(0, len(music), 960):
            columns = np.ascontiguousarray(music[at : at + 960].T)
            frame = av.AudioFrame.from_ndarray(columns, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = 48000, at, Fraction(1, 48000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    (tmp_path / "a.webm").write_bytes(pipe.getvalue())
    assert abs(len(decode(tmp_path / "a.webm")[0]) - len(music)) <= 960


def without_header_frame(path, tag=b"TAG" + bytes(125)):
    """An mp3 without the first frame, which holds the count of the others (Xing's header)."""
    whole = path.read_bytes()
    assert b"Xing" in whole[:200] or b"Info" in whole[:200]
    path.write_bytes(whole[whole.index(whole[:2], 4) :] + tag)
    return path


@pytest.mark.parametrize("num_frames", [2000, 20000])
def test_an_mp3_that_states_no_length_is_read_to_its_end(tmp_path, num_frames):
    sine = make_sine(440, 44100, num_frames / 44100)
    path = write(tmp_path, "a.mp3", sine, 44100, bitrate_mode="CONSTANT", compression_level=0.9)
    decoded, _ = decode(without_header_frame(path))
    assert num_frames <= len(decoded) <= num_frames + 4 * 1152
    assert np.abs(decoded).max() < 0.6


@pytest.mark.parametrize("loud_first", [True, False])
def test_an_mp3_of_varying_rate_that_states_no_length_is_read_to_its_end(tmp_path, loud_first):
    """libsndfile takes the first frame's rate for that of all, and leaves out two thirds of these."""
    quiet, loud = make_sine(440, 44100, 4, 1e-4), make_music(4, 1, 44100)
    both = np.concatenate([loud, quiet] if loud_first else [quiet, loud])
    path = without_header_frame(write(tmp_path, "a.mp3", both, 44100, bitrate_mode="VARIABLE"))
    assert abs(soundfile.info(path).frames - len(both)) > len(both) / 3
    decoded, _ = decode(path)
    assert len(both) <= len(decoded) <= len(both) + 4 * 1152
    assert signal_to_noise(both, decoded[lag_of(decoded, both) :]) > 10


def test_two_mp3s_in_one_file_are_both_read(tmp_path):
    path = write(tmp_path, "a.mp3", make_noise(2.0, sample_rate=44100), 44100)
    path.write_bytes(2 * path.read_bytes())
    assert len(decode(path)[0]) >= 2 * 2 * 44100


def test_an_mp3_with_a_large_tag_before_it_is_read(tmp_path):
    path = write(tmp_path, "a.mp3", make_noise(2.0, sample_rate=44100), 44100)
    whole, facts = decode(path)
    tag = b"ID3\x04\x00\x00\x00\x01\x00\x00" + bytes(1 << 14)
    path.write_bytes(tag + path.read_bytes())
    decoded, tagged = decode(path)
    assert np.array_equal(decoded, whole)
    assert tagged.codec == facts.codec == "MP3/MPEG_LAYER_III"


# what is no audio


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.ogg", "a.aiff", "a.opus", "a.m4a", "a.au"])
@pytest.mark.parametrize("read", [error_of, sample_rate_of])
@pytest.mark.parametrize(("content", "reason"), [(b"this is no sound at all, " * 99, ""), (b"", "empty")])
def test_a_file_that_is_no_audio_is_refused(tmp_path, read, name, content, reason):
    (tmp_path / name).write_bytes(content)
    message = error_of(tmp_path / name)
    with pytest.raises(AudioDecodeError, match="cannot be"):
        sample_rate_of(tmp_path / name)
    assert "cannot be" in message
    assert reason in message


def test_both_decoders_reasons_are_told(tmp_path):
    (tmp_path / "live: 1999: x.wav").write_text("no sound")
    message = error_of(tmp_path / "live: 1999: x.wav")
    assert "libsndfile: Format not recognised; FFmpeg: Invalid data found when processing input" in message


def test_a_folder_named_like_audio_is_refused(tmp_path):
    (tmp_path / "x.wav").mkdir()
    assert "not a file" in error_of(tmp_path / "x.wav")


def test_a_file_that_is_not_there_is_refused(tmp_path):
    assert "no such file" in error_of(tmp_path / "x.wav")
    assert "cannot be" in error_of(tmp_path / ("x" * 300 + ".wav"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.timeout(20)
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.wav")
    assert "not a file" in error_of(tmp_path / "x.wav")


@pytest.mark.parametrize("name", ["a.wav", "a.aiff"])
def test_zero_samples_are_refused(tmp_path, name):
    assert "holds no samples" in error_of(write(tmp_path, name, np.zeros((0, 1))))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("start", [0.0, 1.0])
def test_samples_that_are_no_numbers_are_refused_with_their_place(tmp_path, value, start):
    noise = make_noise(4, 2)
    noise[round(2.5 * RATE), 1] = value
    path = write(tmp_path, "a.wav", noise, subtype="FLOAT")
    assert "holds NaN or infinite samples at 2.5 s" in error_of(AudioSource(path, start))


@pytest.mark.parametrize("suffix", ["wav", "m4a"])
def test_names_in_any_script_are_read(tmp_path, suffix):
    original = tmp_path / f"original.{suffix}"
    if suffix == "m4a":
        encode(original, [make_music(0.3, 1, 44100)], 44100, "aac")
    else:
        write(tmp_path, original.name, make_noise(0.3))
    whole, _ = decode(original)
    names = ['it\'s "so" & <b>', "音楽 🎵", "Ü", "x" * 240, "-dash", "a: b%03d", os.fsdecode(b"\xe9t\xe9")]
    for name in names:
        path = original.rename(tmp_path / f"{name}.{suffix}")
        assert np.array_equal(decode(path)[0], whole)
        original = path


def test_a_file_is_closed_after_it_was_read_or_refused(tmp_path):
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else pytest.skip("no /proc")
    paths = [write(tmp_path, "a.wav", make_noise())]
    paths.append(encode(tmp_path / "a.m4a", [make_music(0.3, 1, 44100)], 44100, "aac"))
    (tmp_path / "bad.mp4").write_bytes(paths[1].read_bytes()[:3000])
    for _ in range(5):
        for path in paths:
            decode(path)
            next(read_blocks(path))
        error_of(tmp_path / "bad.mp4")
        error_of(AudioSource(paths[1], stream=3))
    assert len(os.listdir("/proc/self/fd")) == before


LONG = """
import sys
from pathlib import Path
from wavenet.audio.decoding import AudioSource, read_blocks

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) >> 10

short, long = map(Path, sys.argv[1:])
sum(map(len, read_blocks(short)))
before = peak()
print(sum(map(len, read_blocks(long))), peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_a_long_container_is_decoded_in_little_memory(tmp_path):
    """A quarter of an hour of stereo, 318 MB when decoded."""
    silence, options = np.zeros((1, 2), np.float32), {"frame_length": 8192}
    short = encode(tmp_path / "short.mka", [silence], 44100, "pcm_s16le", **options)
    long = np.broadcast_to(silence, (900 * 44100, 2))
    long = encode(tmp_path / "long.mka", [long], 44100, "pcm_s16le", **options)
    command = [sys.executable, "-c", LONG, str(short), str(long)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    num_frames, megabytes = map(int, told.stdout.split())
    assert num_frames == 900 * 44100
    assert megabytes < 40
