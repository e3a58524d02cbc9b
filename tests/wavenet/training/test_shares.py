"""Windows shared out among threads: the same gradients, added in one order."""

import pytest
import torch

from tests.wavenet.model.variants import VARIANTS, make_variant, make_windows
from wavenet.config import TrainingConfig
from wavenet.training.likelihood import fast_loss
from wavenet.training.optimizer import make_optimizer
from wavenet.training.shares import add_gradients
from wavenet.training.windows import Windows


@pytest.fixture
def work():
    return make_work("paper")


def make_work(variant):
    model = make_variant(variant)
    fed = make_windows(model, batch=5)
    return model, Windows(fed.codes, fed.condition), fed.masks


def gradients_of(model, windows, masks, num_threads, weight=1.0):
    model.zero_grad(set_to_none=True)
    mean = add_gradients(model, windows, masks, fast_loss, weight, num_threads)
    return mean, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("num_threads", [2, 3, 5, 8])
def test_shares_have_the_gradients_of_the_windows_as_a_whole(variant, num_threads):
    work = make_work(variant)
    expected_mean, expected = gradients_of(*work, num_threads=1)
    mean, found = gradients_of(*work, num_threads=num_threads)
    assert mean == pytest.approx(expected_mean, rel=1e-6)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_of_shares_moves_weights_as_one_of_the_whole_does(variant):
    moved = []
    for num_threads in (1, 2):
        model, windows, masks = make_work(variant)
        optimizer = make_optimizer(model, TrainingConfig())
        for group in optimizer.param_groups:
            group["lr"] = 1e-2
        for _ in range(3):
            optimizer.zero_grad(set_to_none=True)
            add_gradients(model, windows, masks, fast_loss, 1.0, num_threads)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
        moved.append(fast_loss(model, windows, masks).item())
    assert moved[1] == pytest.approx(moved[0], rel=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_lie_as_their_weights_do(variant):
    model, windows, masks = make_work(variant)
    add_gradients(model, windows, masks, fast_loss, 1.0, 2)
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            assert parameter.grad.stride() == parameter.stride(), name


def test_gradients_of_shares_are_the_same_each_time(work):
    _, first = gradients_of(*work, num_threads=3)
    for _ in range(5):
        _, again = gradients_of(*work, num_threads=3)
        assert all(torch.equal(first[name], again[name]) for name in first)


def test_gradients_are_added_to_those_that_are_there_with_their_weight(work):
    _, once = gradients_of(*work, num_threads=2)
    model, windows, masks = work
    add_gradients(model, windows, masks, fast_loss, 0.5, 2)
    for name, parameter in model.named_parameters():
        if name in once:
            torch.testing.assert_close(parameter.grad, 1.5 * once[name], rtol=1e-5, atol=1e-6)


def test_frozen_weights_get_no_gradient(work):
    model, windows, masks = work
    frozen = next(iter(model.parameters())).requires_grad_(False)
    _, gradients = gradients_of(model, windows, masks, num_threads=2)
    assert frozen.grad is None
    assert gradients


def test_an_error_of_one_share_is_that_of_all(work):
    model, windows, masks = work

    def fails(model, part, masks):
        if len(part) == 3:
            raise torch.OutOfMemoryError("not enough memory")
        return fast_loss(model, part, masks)

    with pytest.raises(torch.OutOfMemoryError):
        add_gradients(model, windows, masks, fails, 1.0, 2)


def test_threads_of_shares_leave_those_of_the_process_alone(work):
    before = torch.get_num_threads()
    gradients_of(*work, num_threads=4)
    assert torch.get_num_threads() == before
