"""Float32 WAV: true sizes at any length, and nothing where writing failed."""

import numpy as np
import pytest
import scipy.io.wavfile
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from wavenet.audio import wav
from wavenet.audio.wav import open_wav, wav_header

RATE = 8000


def write_blocks(path, blocks):
    with open_wav(path, RATE, blocks[0].shape[1]) as out:
        for block in blocks:
            out.write(block)


def make_noise(length, num_channels=2):
    return np.random.default_rng(0).normal(0, 1, (length, num_channels)).astype(np.float32)


@given(cuts=st.lists(st.integers(0, 500), max_size=5))
def test_blocks_of_any_size_give_the_same_bytes(tmp_path_factory, cuts):
    folder, noise = tmp_path_factory.getbasetemp(), make_noise(500)
    write_blocks(folder / "whole.wav", [noise])
    write_blocks(folder / "cut.wav", np.split(noise, sorted(cuts)))
    assert (folder / "cut.wav").read_bytes() == (folder / "whole.wav").read_bytes()


@pytest.mark.parametrize("limit", [0, 10**9])
@pytest.mark.parametrize("num_channels", [1, 2, 6])
def test_small_and_large_files_are_read_back(tmp_path, monkeypatch, limit, num_channels):
    monkeypatch.setattr(wav, "RIFF_LIMIT", limit)
    noise = make_noise(100, num_channels)
    write_blocks(tmp_path / "a.wav", [noise])
    samples, rate = soundfile.read(tmp_path / "a.wav", dtype="float32", always_2d=True)
    info = soundfile.info(tmp_path / "a.wav")
    assert (rate, info.format, info.subtype) == (RATE, "RF64" if limit == 0 else "WAV", "FLOAT")
    assert np.array_equal(samples, noise)
    _, samples = scipy.io.wavfile.read(tmp_path / "a.wav")
    assert np.array_equal(samples.reshape(noise.shape), noise)


def test_more_than_32_bits_can_count_is_stated_in_64():
    num_bytes = 5 << 30
    header = wav_header(num_bytes, 44100, 2)
    assert header[:4] == b"RF64"
    assert header[12:16] == b"ds64"
    riff_bytes, data_bytes, num_frames = np.frombuffer(header[20:44], "<u8")
    assert (riff_bytes, data_bytes, num_frames) == (len(header) + num_bytes - 8, num_bytes, num_bytes // 8)
    assert header[-4:] == b"\xff\xff\xff\xff"


@pytest.mark.parametrize("num_bytes", [0, 8, 1 << 20, (1 << 32) - (1 << 16), 1 << 33])
def test_headers_are_of_one_length_and_samples_begin_at_a_multiple_of_four(num_bytes):
    assert len(wav_header(num_bytes, RATE, 2)) == len(wav_header(0, 44100, 1))
    assert len(wav_header(num_bytes, RATE, 2)) % 4 == 0


def test_a_file_whose_writing_failed_is_gone(tmp_path):
    def write_and_fail():
        with open_wav(tmp_path / "a.wav", RATE, 2) as out:
            out.write(make_noise(100))
            raise RuntimeError("out of ideas")

    with pytest.raises(RuntimeError, match="out of ideas"):
        write_and_fail()
    assert not list(tmp_path.iterdir())
