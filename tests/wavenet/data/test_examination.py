"""What is measured of a track is what its stems and their sum sound like."""

import numpy as np
import pytest
import soundfile
import soxr

from wavenet.audio import decoding
from wavenet.audio.decoding import AudioSource
from wavenet.audio.fingerprint import find_near_duplicates, fingerprint_blocks
from wavenet.audio.io import write_audio
from wavenet.audio.loudness import LoudnessMeter, channel_weights, measure_loudness
from wavenet.audio.silence import FLOOR_POWER, STEP
from wavenet.data.examination import FileExamination, examine_file, examine_track, load_print
from wavenet.errors import AudioDecodeError

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


# files by themselves


@pytest.fixture
def write(tmp_path):
    """Write a file of the user's."""

    def write(name, waveform, sample_rate=RATE, subtype=None):
        soundfile.write(tmp_path / name, waveform, sample_rate, subtype)
        return AudioSource(tmp_path / name)

    return write


def test_a_file_is_measured_on_its_own_channels_at_its_own_rate(write):
    """Averaged, as working audio is, these channels are silent."""
    music = soxr.resample(make_music(4, 0), RATE, 48000)
    found = examine_file(write("a.wav", np.stack([music, -music], axis=1), 48000, "FLOAT"))
    assert found.loudness_lufs == pytest.approx(measure_loudness(music, 48000) + 3.01, abs=0.01)


def test_the_part_of_a_file_that_is_used_is_measured(write):
    music = make_music(4, 0)
    whole = write("a.wav", np.concatenate([music, 9 * music]), subtype="FLOAT")
    part = AudioSource(whole.path, 0.0, 4.0)
    assert examine_file(part).loudness_lufs == pytest.approx(measure_loudness(music, RATE), abs=1e-6)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
def test_surround_is_weighted_by_the_order_its_container_has(write, name):
    """In Ogg the third channel is front right and the last the low-frequency effects."""
    music = soxr.resample(make_music(6, 0), RATE, 48000)
    surround = np.zeros((len(music), 6))
    surround[:, 4] = music
    meter = LoudnessMeter(48000, channel_weights(6))
    meter.add(surround)
    order = [0, 2, 1, 4, 5, 3] if name == "a.ogg" else [0, 1, 2, 3, 4, 5]
    source = write(name, surround[:, order], 48000)
    assert examine_file(source).loudness_lufs == pytest.approx(meter.loudness(), abs=0.3)


@pytest.mark.parametrize(
    ("name", "subtype", "floor"),
    [("a.wav", "PCM_16", STEP**2), ("a.wav", "PCM_U8", STEP**2), ("a.flac", "PCM_24", FLOOR_POWER),
     ("a.wav", "FLOAT", FLOOR_POWER), ("a.ogg", "VORBIS", FLOOR_POWER)],
)  # fmt: skip
def test_the_floor_of_a_file_is_that_of_its_steps(write, name, subtype, floor):
    assert examine_file(write(name, make_music(2, 0), subtype=subtype)).floor_power == floor


def test_sixteen_bits_are_told_in_whatever_they_were_put(write):
    pcm = np.round(make_music(2, 0) / STEP) * STEP
    for name, subtype in (("a.wav", "FLOAT"), ("a.flac", "PCM_24")):
        assert examine_file(write(name, pcm, subtype=subtype)).floor_power == STEP**2


def test_of_a_file_of_nothing_but_dither_all_is_under_its_floor(write):
    """Shaped so strongly that it is as loud as a quiet recording."""
    high = (40 * STEP * np.sin(2 * np.pi * 18000 * np.arange(88200) / 44100)).astype(np.float32)
    found = examine_file(write("a.wav", np.round(high / STEP) * STEP, 44100, "FLOAT"))
    assert found.floor_power == pytest.approx((40 * STEP) ** 2, rel=0.1)
    low = (40 * STEP * np.sin(2 * np.pi * 1000 * np.arange(88200) / 44100)).astype(np.float32)
    assert examine_file(write("a.wav", np.round(low / STEP) * STEP, 44100, "FLOAT")).floor_power == STEP**2


def test_silence_has_no_loudness_and_the_floor_of_16_bits(write):
    assert examine_file(write("a.wav", np.zeros((RATE, 2)))) == FileExamination(None, STEP**2)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "a.wav").write_text("no sound")
    with pytest.raises(AudioDecodeError, match=r"a\.wav"):
        examine_file(AudioSource(tmp_path / "a.wav"))


def test_the_noise_of_a_stems_files_adds_up(tmp_path):
    write_audio(tmp_path / "keys.wav", make_music(1, 0), RATE)
    files = {"keys": [FileExamination(-20.0, STEP**2), FileExamination(None, FLOOR_POWER), None]}
    found = examine_track({"keys": tmp_path / "keys.wav"}, RATE, tmp_path, files)
    assert found.files == files
    assert found.floor_power("keys") == STEP**2 + FLOOR_POWER
    assert found.floor_power("drums") == FLOOR_POWER
