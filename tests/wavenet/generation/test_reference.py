"""Cached generation is the whole forward, one sample at a time, whatever kind of network it is."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.wavenet.model.variants import VARIANTS, Windows, make_variant, make_windows
from wavenet.generation.reference import CachedWaveNet, GuidedWaveNet, generate_codes
from wavenet.generation.sampling import draw_uniforms


@pytest.fixture(params=VARIANTS)
def model(request):
    return make_variant(request.param).eval()


def feed(network: CachedWaveNet | GuidedWaveNet, codes: np.ndarray) -> np.ndarray:
    """Outputs before and after each of codes, (streams, time). Returns (streams, outputs, time + 1)."""
    outputs = [network.outputs]
    for column in codes.T:
        network.step(column)
        outputs.append(network.outputs)
    return np.stack(outputs, axis=2)


def split(model, windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """Context, and what is to be taken after it; the last code is only scored."""
    codes = windows.codes[:, :-1].numpy()
    return codes[:, : model.receptive_field], codes[:, model.receptive_field :]


@torch.no_grad()
def test_cached_outputs_equal_the_whole_forward(model):
    windows = make_windows(model, num_scored=3 * max(model.config.dilations))  # every queue goes round
    context, taken = split(model, windows)
    found = feed(CachedWaveNet(model, context, windows.condition), taken)
    expected = model(windows.codes[:, :-1], windows.condition).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_guided_outputs_lie_on_the_line_from_nothing_through_what_is_told(model):
    windows = make_windows(model)
    context, taken = split(model, windows)
    codes = windows.codes[:, :-1]
    told, nothing = model(codes, windows.condition), model(codes)
    for guidance in (0.0, 0.5, 1.0, 3.0):
        found = feed(GuidedWaveNet(model, context, windows.condition, guidance), taken)
        expected = (nothing + guidance * (told - nothing)).numpy()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_told_nothing_is_a_condition_that_was_dropped():
    model = make_variant("all at once").eval()
    windows = make_windows(model)
    context, taken = split(model, windows)
    dropped = windows.condition.dropped(torch.ones(len(context), dtype=torch.bool))
    found, expected = (feed(CachedWaveNet(model, context, told), taken) for told in (None, dropped))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert np.abs(expected - feed(CachedWaveNet(model, context, windows.condition), taken)).max() > 0.01


def test_after_the_last_frame_it_goes_on():
    model = make_variant("labels and features").eval()
    windows = make_windows(model)
    context, taken = split(model, windows)
    index = windows.condition.frame_index
    longer = torch.cat([index, index[:, -1:].expand(-1, 5)], dim=1)
    more = np.concatenate([taken, taken[:, :5]], axis=1)
    found, expected = (
        feed(CachedWaveNet(model, context, replace(windows.condition, frame_index=frames)), more)
        for frames in (index, longer)
    )
    np.testing.assert_array_equal(found, expected)


@torch.no_grad()
def test_what_a_longer_context_was_told_counts_from_its_first_code(model):
    windows = make_windows(model)
    context = windows.codes[:, : model.receptive_field + 20].numpy()
    found = CachedWaveNet(model, context, windows.condition).outputs
    expected = model(windows.codes[:, :-1], windows.condition)[:, :, 20].numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_only_the_receptive_field_of_a_context_matters():
    model = make_variant("paper").eval()
    context = np.random.default_rng(1).integers(32, size=(1, model.receptive_field + 50))
    uniforms = draw_uniforms(40, 1, seed=0)
    whole = list(generate_codes(model, context, uniforms))
    tail = list(generate_codes(model, context[:, -model.receptive_field :], uniforms))
    assert np.array_equal(whole, tail)
