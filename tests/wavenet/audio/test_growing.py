"""Files that grow hold whole samples whenever anybody looks, and the same bytes however they were made."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from wavenet.audio.growing import FRAME_LENGTH, Mark, _coded_number, count_waiting, grow_audio
from wavenet.audio.io import read_audio, write_audio
from wavenet.errors import AudioDecodeError, ConfigError

RATE = 16000
WAVEFORM = np.random.default_rng(0).uniform(-1, 1, 5 * FRAME_LENGTH + 77).astype(np.float32)
KINDS = pytest.mark.parametrize("suffix", [".wav", ".flac"])


def read_by_ffmpeg(path):
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(path), "-f", "f32le", "-"], capture_output=True, check=True
    )
    assert done.stderr == b""
    return np.frombuffer(done.stdout, "<f4")


def grow(path, waveform, rate=RATE):
    file = grow_audio(path, rate)
    file.write(waveform)
    file.finish()
    file.close()


def is_near(found, expected):
    """To the last of 24 bits."""
    return len(found) == len(expected) and np.abs(found - expected).max(initial=0) <= 2.0**-23


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg to read with")
@KINDS
def test_at_any_time_soundfile_and_ffmpeg_read_what_was_written(tmp_path, suffix):
    path, seen = tmp_path / f"a{suffix}", tmp_path / f"seen{suffix}"
    file = grow_audio(path, RATE)
    for start in range(0, len(WAVEFORM), 3000):
        file.write(WAVEFORM[start : start + 3000])
        given = min(len(WAVEFORM), start + 3000)
        if path.exists():
            shutil.copy(path, seen)  # as if it had ended here
            written = given - count_waiting(path, given)
            assert is_near(soundfile.read(seen, dtype="float32")[0], WAVEFORM[:written])
            assert is_near(read_by_ffmpeg(seen), WAVEFORM[:written])
    file.finish()
    assert is_near(soundfile.read(path, dtype="float32")[0], WAVEFORM)
    assert is_near(read_by_ffmpeg(path), WAVEFORM)
    assert is_near(read_audio(path)[0][:, 0], WAVEFORM)  # our own decoder


def test_a_wav_is_to_the_byte_what_is_written_at_once(tmp_path):
    grow(tmp_path / "grown.wav", WAVEFORM)
    write_audio(tmp_path / "at_once.wav", WAVEFORM, RATE)
    assert (tmp_path / "grown.wav").read_bytes() == (tmp_path / "at_once.wav").read_bytes()


@KINDS
def test_audio_whose_header_was_not_written_yet_is_not_counted(tmp_path, suffix, monkeypatch):
    from wavenet.audio import growing

    file = grow_audio(tmp_path / f"a{suffix}", RATE)
    file.write(WAVEFORM[: 2 * FRAME_LENGTH])
    written = []

    def write_but_once(handle, data, place):
        if written:
            raise KeyboardInterrupt  # between audio and header
        written.append(os.pwrite(handle, data, place))

    monkeypatch.setattr(growing, "_write_at", write_but_once)
    with pytest.raises(KeyboardInterrupt):
        file.write(WAVEFORM[2 * FRAME_LENGTH : 3 * FRAME_LENGTH])
    file.close()
    found = soundfile.read(file.path, dtype="float32")[0]
    assert is_near(found[: 2 * FRAME_LENGTH], WAVEFORM[: 2 * FRAME_LENGTH])
    assert len(found) == 2 * FRAME_LENGTH


@settings(max_examples=25)
@given(
    suffix=st.sampled_from([".wav", ".flac"]),
    cuts=st.lists(st.integers(0, len(WAVEFORM)), max_size=6),
    left=st.data(),
)
def test_cut_anyhow_and_gone_on_with_from_any_mark_the_bytes_are_the_same(
    tmp_path_factory, suffix, cuts, left
):
    folder = tmp_path_factory.mktemp("grown")
    grow(folder / f"whole{suffix}", WAVEFORM)
    path = folder / f"cut{suffix}"
    file = grow_audio(path, RATE)
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(WAVEFORM)], strict=True):
        file.write(WAVEFORM[start:end])
        if left.draw(st.booleans()):
            mark = file.mark()
            assert mark.num_samples == end
            file.write(WAVEFORM[: left.draw(st.integers(0, 9000))])  # what the mark does not know of
            file.finish()
            file.close()
            waiting = WAVEFORM[end - count_waiting(path, end) : end]
            file = grow_audio(path, RATE, mark, waiting)
    file.finish()
    file.close()
    assert path.read_bytes() == (folder / f"whole{suffix}").read_bytes()


@pytest.mark.parametrize("rate", [8000, 11025, 12345, 22050, 44100, 96000])
@pytest.mark.parametrize("length", [1, 15, 300, FRAME_LENGTH, 2 * FRAME_LENGTH + 1])
def test_flac_of_any_rate_and_length_is_read(tmp_path, rate, length):
    grow(tmp_path / "a.flac", WAVEFORM[:length], rate)
    found, found_rate = soundfile.read(tmp_path / "a.flac", dtype="float32")
    assert found_rate == rate
    assert is_near(found, WAVEFORM[:length])


def test_flac_frames_are_numbered_as_utf_8_is_coded():
    for number in (0, 0x7F, 0x80, 0x7FF, 0x800, 0xFFFF, 0x10000, 0x10FFFF):
        assert _coded_number(number) == chr(number).encode("utf-8", "surrogatepass")
    assert _coded_number(2**31 - 1) == b"\xfd" + b"\xbf" * 5


def test_a_flac_of_more_frames_than_a_byte_numbers_is_read(tmp_path):
    waveform = np.tile(WAVEFORM[:FRAME_LENGTH] // 0.25 / 4, 140).astype(np.float32)
    grow(tmp_path / "a.flac", waveform)
    assert is_near(soundfile.read(tmp_path / "a.flac", dtype="float32")[0], waveform)


@KINDS
def test_a_file_that_is_there_is_left_alone_and_one_at_work_is_not_shared(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    file = grow_audio(path, RATE)
    file.write(WAVEFORM)
    with pytest.raises(ConfigError, match="is there already"):
        grow_audio(path, RATE)
    with pytest.raises(ConfigError, match="another process is writing it"):
        grow_audio(path, RATE, file.mark(), file.at.waiting)
    file.close()
    with pytest.raises(AudioDecodeError, match=r"has \d+ bytes, expected 999999999"):
        grow_audio(path, RATE, Mark(1, 999999999))
    with pytest.raises(ConfigError, match=r"ends with \.wav or \.flac"):
        grow_audio(tmp_path / "a.mp3", RATE)


INTERRUPTED = """
import os, signal, threading, time
import numpy as np
from wavenet.audio.growing import grow_audio

lost = 0
for number in range(40):
    try:
        threading.Timer(0.005 + number / 10_000, os.kill, (os.getpid(), signal.SIGINT)).start()
        file = grow_audio(Path(sys.argv[1]) / f"{number}.flac", 4000)
        began = time.monotonic()
        while time.monotonic() - began < 20:
            file.write(np.zeros(4096, np.float32))
        lost += 1
    except KeyboardInterrupt:
        pass
print(lost)
"""


def test_ctrl_c_is_never_lost_while_frames_are_made(tmp_path):
    code = "import sys; from pathlib import Path" + INTERRUPTED
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("0\n", "")
