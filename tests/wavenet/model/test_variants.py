"""Whatever kind of network it is: causal, with the computed receptive field, and honest in its bits."""

import math

import pytest
import torch
from pydantic import ValidationError

from tests.wavenet.model.variants import LEVELS, TOLD, VARIANTS, make_variant, make_windows
from wavenet.config import ModelConfig
from wavenet.model.conditioning import Condition, ConditionForm
from wavenet.model.outputs import logistics_log_likelihood, negative_log_likelihood
from wavenet.model.wavenet import WaveNet


@pytest.fixture(params=VARIANTS)
def model(request):
    return make_variant(request.param).eval()


@torch.no_grad()
def test_an_output_depends_on_its_receptive_field_and_on_no_later_sample(model):
    windows = make_windows(model, num_scored=30, batch=1)
    codes, told = windows.codes[:, :-1], windows.condition
    before = model(codes, told)
    for place, first, last in [(12, 0, 13), (model.receptive_field + 9, 10, 30)]:
        changed = codes.clone()
        changed[0, place] = (changed[0, place] + LEVELS // 2) % LEVELS
        moved = (model(changed, told) != before).any(dim=1)[0].nonzero()[:, 0].tolist()
        assert moved, "the change has reached nothing"
        assert min(moved) >= first
        assert max(moved) < last


@torch.no_grad()
def test_the_probabilities_of_all_levels_sum_to_one(model):
    windows = make_windows(model, num_scored=5)
    outputs = model(windows.codes[:, :-1], windows.condition).transpose(1, 2)
    every = torch.arange(LEVELS).expand(*outputs.shape[:2], LEVELS)
    spread = outputs[:, :, None].expand(-1, -1, LEVELS, -1)
    total = torch.exp(-negative_log_likelihood(spread, every, model.config, LEVELS)).sum(dim=-1)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-4)


@pytest.mark.parametrize("levels", [16, 256, 65536])
@pytest.mark.parametrize("num_mixtures", [1, 10])
@torch.no_grad()
def test_a_mixture_starts_near_ln_of_levels(levels, num_mixtures):
    torch.manual_seed(0)
    config = ModelConfig(dilation_cycle=4, output="logistics", num_mixtures=num_mixtures)
    model = WaveNet(config, levels)
    codes = torch.randint(levels, (4, model.receptive_field + 2000))
    nats = negative_log_likelihood(
        model(codes[:, :-1]).transpose(1, 2), codes[:, model.receptive_field :], config, levels
    )
    assert float(nats.mean()) == pytest.approx(math.log(levels), rel=0.1)


def test_a_sharp_mixture_of_65536_levels_has_finite_likelihoods_and_gradients():
    means = torch.tensor([-1.0, 0.0, 1.0])
    for log_scale in (-30.0, -12.0, -7.0, 3.0):
        outputs = torch.cat([torch.zeros(3), means, torch.full((3,), log_scale)]).requires_grad_()
        codes = torch.tensor([0, 1, 32767, 32768, 65534, 65535])
        nats = -logistics_log_likelihood(outputs.expand(6, -1), codes, 65536)
        assert torch.isfinite(nats).all()
        (gradient,) = torch.autograd.grad(nats.sum(), outputs)
        assert torch.isfinite(gradient).all()


def test_logistic_probabilities_are_those_of_the_formula_in_double_precision():
    outputs = torch.tensor([0.3, -0.2, 0.1, -0.4, -2.0, -1.0])
    codes = torch.arange(256)
    found = torch.exp(logistics_log_likelihood(outputs.expand(256, -1), codes, 256)).double()
    weights, means, scales = (
        outputs.double()[:2].softmax(0),
        outputs[2:4].double(),
        outputs[4:].double().exp(),
    )
    borders = (2 * torch.arange(255).double() + 1) / 255 - 1
    below = (weights * torch.sigmoid((borders[:, None] - means) / scales)).sum(1)
    cumulative = torch.cat([torch.zeros(1), below, torch.ones(1)])
    torch.testing.assert_close(found, cumulative.diff(), rtol=1e-4, atol=1e-9)


@torch.no_grad()
def test_what_is_told_of_a_frame_is_heard_from_its_first_sample_on():
    """Frames reach one further than their own samples, and no further."""
    model = make_variant("labels and features").eval()
    windows = make_windows(model, num_scored=40, batch=1)
    told, reach = windows.condition, model.receptive_field
    frames = told.frames.clone()
    last = frames.shape[1] - 2  # the last frame with samples of its own
    frames[0, last] += 1
    before = model(windows.codes[:, :-1], told)
    after = model(windows.codes[:, :-1], Condition(told.labels, frames, told.frame_index))
    first = int((before != after).any(dim=1)[0].nonzero()[0])
    expected = int((told.frame_index[0] == last - 2).nonzero()[0])  # one frame before its own
    assert first + reach - 1 == max(expected, reach - 1)


@torch.no_grad()
def test_a_dropped_condition_is_no_condition():
    model = make_variant("labels and features").eval()
    windows = make_windows(model)
    rows = torch.tensor([True, False, True])
    some = model(windows.codes[:, :-1], windows.condition.dropped(rows))
    torch.testing.assert_close(some[rows], model(windows.codes[:, :-1])[rows])
    assert torch.equal(some[1], model(windows.codes[:, :-1], windows.condition)[1])


@torch.no_grad()
def test_a_conditioned_network_starts_as_the_one_that_is_told_nothing():
    torch.manual_seed(0)
    model = WaveNet(ModelConfig(dilation_cycle=3), LEVELS, TOLD)
    windows = make_windows(model)
    assert torch.equal(model(windows.codes[:, :-1], windows.condition), model(windows.codes[:, :-1]))


def test_label_ids_are_places_in_the_list_and_0_is_what_nobody_knows():
    form = ConditionForm(labels={"artist": ["Ann", "Bo"], "album": ["One"]})
    assert form.label_ids({"artist": "Bo", "album": "One"}) == [2, 1]
    assert form.label_ids({"artist": "Zoe"}) == [0, 0]


def test_dropout_silences_its_share_of_channels_and_keeps_the_level():
    model = make_variant("dropout")
    masks = model.draw_masks(400, torch.Generator().manual_seed(0))
    assert float((masks == 0).float().mean()) == pytest.approx(0.3, abs=0.02)
    assert float(masks.mean()) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dilation_cycle": []}, "empty list"),
        ({"dilation_cycle": [0]}, "greater than or equal to 1"),
        ({"labels": ["a", "a"]}, "twice"),
        ({"features": ["tempo"]}, "energy"),
        ({"kernel_size": 4}, "less than or equal to 3"),
    ],
)
def test_a_network_that_cannot_be_is_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        ModelConfig(**settings)


@pytest.mark.parametrize("kernel_size", [2, 3])
def test_receptive_field_of_ones_own_dilations(kernel_size):
    config = ModelConfig(kernel_size=kernel_size, dilation_cycle=[1, 3, 9], num_cycles=2)
    assert config.dilations == [1, 3, 9, 1, 3, 9]
    assert config.receptive_field == 1 + (kernel_size - 1) * 26
