"""What would be left out of a stem: heard at its loudest, and nothing of what is kept with it."""

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from wavenet.audio.io import envelope_hop, measure, write_audio
from wavenet.evaluation.doctor_cuts import CUT_SECONDS, find_loudest, outline, write_cut

RATE = 1000


@pytest.fixture
def write(tmp_path):
    """Write levels, of so many seconds each, as working audio; then what is left out as a clip."""

    def write(*parts, kept, rate=RATE):
        waveform = np.concatenate([np.full(round(s * rate), level) for level, s in parts])
        waveform = waveform.astype(np.float32)[:, None]
        write_audio(tmp_path / "stem.wav", waveform, rate)
        _, envelope = measure(waveform, rate)
        write_cut(tmp_path / "stem.wav", envelope, kept, tmp_path / "cuts" / "0.flac")
        clip, clip_rate = soundfile.read(tmp_path / "cuts" / "0.flac")
        assert clip_rate == rate
        return clip

    return write


def test_a_short_cut_is_heard_whole_and_as_loud_as_it_is(write):
    clip = write((0.01, 2), (0.5, 3), (0.02, 4), kept=[(2.0, 5.0)])
    assert clip == pytest.approx(np.repeat([0.01, 0.02], [2 * RATE, 4 * RATE]), abs=2**-15)


def test_of_a_long_cut_the_loudest_is_heard(write):
    clip = write((0.001, 30), (0.01, CUT_SECONDS), (0.001, 30), (0.5, 3), kept=[(70.0, 73.0)])
    assert clip == pytest.approx(np.full(round(CUT_SECONDS * RATE), 0.01), abs=2**-15)


def test_the_loudest_may_lie_on_both_sides_of_what_is_kept(write):
    clip = write((0.001, 20), (0.01, 4), (0.5, 3), (0.01, 6), (0.001, 20), kept=[(24.0, 27.0)])
    assert clip == pytest.approx(np.full(round(CUT_SECONDS * RATE), 0.01), abs=2**-15)


def test_a_stem_of_which_nothing_is_kept_is_heard_too(write):
    assert write((0.02, 3), kept=[]) == pytest.approx(np.full(3 * RATE, 0.02), abs=2**-15)


def test_a_cut_shorter_than_a_frame_of_the_envelope_is_heard(write):
    assert len(write((0.5, 3), (0.01, 0.001), kept=[(0.0, 3.0)])) == 1


@pytest.mark.parametrize("rate", [6000, 11025, 44100])
def test_at_no_rate_anything_kept_is_heard(write, rate):
    """A frame of an envelope is whole samples, and so not quite 20 ms: over minutes that is a second."""
    clip = write((0.001, 60), (0.01, 12), (0.5, 60), (0.001, 60), kept=[(72.0, 132.0)], rate=rate)
    assert len(clip) == round(CUT_SECONDS * rate)
    assert clip == pytest.approx(np.full(len(clip), 0.01), abs=2**-15)


@given(st.lists(st.floats(0, 1, width=32), max_size=40), st.integers(1, 60))
def test_nowhere_it_is_louder_than_at_the_loudest_stretch(levels, width):
    envelope, frame = np.array(levels, np.float32), 0.02
    begin = round(find_loudest(envelope, frame, width * frame) / frame)
    sums = [envelope[at : at + width].sum(dtype=float) for at in range(max(1, len(envelope) - width + 1))]
    assert 0 <= begin < len(sums)
    assert sums[begin] == pytest.approx(max(sums))


def test_an_outline_shows_shapes_however_quiet():
    tone = 1e-4 * np.sin(np.arange(60 * RATE) / 3).astype(np.float32)[:, None]
    tone[: 30 * RATE] /= 10
    _, envelope = measure(tone, RATE)
    assert len(envelope) == len(tone) / envelope_hop(RATE)
    peaks = outline(envelope)
    assert len(peaks) == 400
    assert peaks[:199] == pytest.approx([1e-5] * 199, rel=0.1)
    assert peaks[201:] == pytest.approx([1e-4] * 199, rel=0.1)
    assert outline(np.zeros(0, np.float32)) == []
    assert outline(np.full(3, 100, np.float32)) == [1, 1, 1]
