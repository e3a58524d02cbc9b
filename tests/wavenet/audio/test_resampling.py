"""From any rate and width to the working format, however it is cut into blocks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavenet.audio.resampling import mix_down, regroup_blocks, resample_blocks, sum_blocks


def make_noise(length=1000, num_channels=1, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, (length, num_channels)).astype(np.float32)


@given(num_channels=st.integers(1, 9), wanted=st.sampled_from([1, 2]), length=st.integers(0, 70))
def test_channels_become_their_mean(num_channels, wanted, length):
    noise = make_noise(length, num_channels)
    mixed = mix_down(noise, wanted)
    expected = noise if num_channels == wanted else noise.mean(axis=1, keepdims=True).repeat(wanted, axis=1)
    assert mixed.shape == (length, wanted)
    assert mixed.dtype == np.float32
    assert np.allclose(mixed, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("num_channels", [2, 5])
@pytest.mark.parametrize(("downmix", "channel"), [("left", 0), ("right", 1)])
@pytest.mark.parametrize("wanted", [1, 2])
def test_one_channel_may_stand_for_all(num_channels, downmix, channel, wanted):
    noise = make_noise(num_channels=num_channels)
    mixed = mix_down(noise, wanted, downmix)
    if num_channels == wanted:  # nothing has to become one
        assert np.array_equal(mixed, noise)
    else:
        assert np.array_equal(mixed, noise[:, [channel] * wanted])


@pytest.mark.parametrize("downmix", ["mean", "left", "right"])
@pytest.mark.parametrize("wanted", [1, 2])
def test_one_channel_stays_what_it_is(downmix, wanted):
    noise = make_noise()
    assert np.array_equal(mix_down(noise, wanted, downmix), noise.repeat(wanted, axis=1))


def test_opposite_channels_cancel():
    noise = make_noise()
    assert not mix_down(np.hstack([noise, -noise]), 1).any()


def test_a_mean_does_not_depend_on_where_blocks_are_cut():
    noise = make_noise(1000, 7)
    pieces = [mix_down(block, 1) for block in np.split(noise, [1, 18, 500, 993])]
    assert np.array_equal(np.concatenate(pieces), mix_down(noise, 1))


def test_resampling_keeps_time():
    click = np.zeros((4410, 1), np.float32)
    click[2205] = 1
    out = np.concatenate(list(resample_blocks([click[:1000], click[1000:]], 44100, 16000, 1)))
    assert np.abs(out).argmax() == 800


def test_a_better_quality_lets_less_through_of_what_is_too_high():
    time = np.arange(48000) / 48000
    high = np.sin(2 * np.pi * 9000 * time).astype(np.float32)[:, None]
    rest = [
        float(
            np.square(
                np.concatenate(list(resample_blocks([high], 48000, 16000, 1, quality)))[100:-100]
            ).mean()
        )
        for quality in ("QQ", "LQ", "HQ")
    ]
    assert rest[0] > 10 * rest[1] > 100 * rest[2]


@given(lengths=st.lists(st.integers(0, 40), max_size=8), size=st.integers(1, 30))
def test_regrouped_blocks_are_the_same_samples(lengths, size):
    noise = make_noise(sum(lengths), 2)
    blocks = list(regroup_blocks(np.split(noise, np.cumsum(lengths)[:-1]) if lengths else [], size))
    assert [len(block) for block in blocks[:-1]] == [size] * (len(blocks) - 1)
    assert np.array_equal(np.concatenate([noise[:0], *blocks]), noise)
    assert all(len(block) for block in blocks)


@given(lengths=st.lists(st.integers(0, 200), min_size=1, max_size=4), cut=st.integers(1, 50))
def test_a_sum_of_streams_is_the_sum_of_their_samples(lengths, cut):
    waveforms = [make_noise(length, 1, seed) for seed, length in enumerate(lengths)]
    streams = [np.array_split(waveform, cut) for waveform in waveforms]
    expected = np.zeros((max(lengths), 1), np.float32)
    for waveform in waveforms:
        expected[: len(waveform)] += waveform
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wavenet.audio.resampling.SUMMED_FRAMES", 32)
        total = np.concatenate([expected[:0], *sum_blocks(streams)])
    assert np.allclose(total, expected, atol=1e-6)
