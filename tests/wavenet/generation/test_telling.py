"""What streams are told: looked up right, their own, and refused where it does not fit."""

from dataclasses import replace

import pytest
import torch

from tests.wavenet.model.variants import make_condition, make_variant
from wavenet.errors import ConfigError, IncompatibleDataError
from wavenet.generation.telling import Told, check_condition, check_guidance, list_tellings, tell
from wavenet.model.conditioning import Condition

STREAMS, CODES = 3, 60


@pytest.fixture
def model():
    return make_variant("labels and features").eval()


@pytest.fixture
def condition(model) -> Condition:
    return make_condition(model.form, STREAMS, CODES, torch.Generator().manual_seed(1))


def test_each_sample_is_told_its_own_frame_and_the_last_one_holds():
    told = Told(torch.tensor([[[1.0, 2.0, 3.0]], [[4.0, 5.0, 6.0]]]), torch.tensor([[0, 0, 1], [1, 2, 2]]))
    found = told.after(torch.tensor([0, 1, 2, 3, 99]))
    assert found[:, 0].tolist() == [[1, 1, 2, 2, 2], [5, 6, 6, 6, 6]]


def test_what_a_stream_is_told_does_not_depend_on_the_others(model, condition):
    together = tell(model, condition, STREAMS)
    for i in range(STREAMS):
        alone = tell(model, condition.select(slice(i, i + 1)), 1)
        assert torch.equal(alone.encoded[0], together.encoded[i])
        assert torch.equal(alone.frame_index[0], together.frame_index[i])


def test_labels_alone_are_one_frame_that_holds():
    model = make_variant("labels").eval()
    condition = make_condition(model.form, STREAMS, CODES, torch.Generator().manual_seed(1))
    told = tell(model, replace(condition, frame_index=condition.frame_index + 1000), STREAMS)
    assert told.encoded.shape[2] == 1
    assert int(told.frame_index.max()) == 0


def test_a_network_that_can_be_told_nothing_is_told_no_numbers():
    told = tell(make_variant("paper"), None, STREAMS)
    assert told.after(torch.arange(5)).shape == (STREAMS, 0, 5)


def test_guidance_needs_two_networks_only_where_it_goes_between_or_beyond(condition):
    assert list_tellings(condition, 1) == [condition]
    assert list_tellings(condition, 0) == [None]
    assert list_tellings(None, 3) == [None]
    assert list_tellings(condition, 0.5) == [condition, None]


@pytest.mark.parametrize("guidance", [-0.1, float("nan"), float("inf")])
def test_a_guidance_that_means_nothing_is_refused(guidance):
    with pytest.raises(ConfigError, match=f"guidance is {guidance}; expected 0"):
        check_guidance(guidance)


def test_a_condition_that_fits_is_taken(model, condition):
    check_condition(model, condition, STREAMS, CODES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.select(slice(2)), r"labels have shape \(2, 2\); expected \(3, 2\)"),
        (lambda c: replace(c, labels=c.labels[:, :1]), r"labels have shape \(3, 1\)"),
        (lambda c: replace(c, labels=c.labels + 2), r"'artist' has numbers .*; expected 0 \(none\) to 2"),
        (lambda c: replace(c, labels=c.labels - 3), "'artist' has numbers"),
        (lambda c: replace(c, frame_index=c.frame_index[:, 1:]), r"frame_index have shape \(3, 59\)"),
        (lambda c: replace(c, frame_index=c.frame_index - 1), "goes from -1 to 8, its frames from 0 to 9"),
        (lambda c: replace(c, frame_index=c.frame_index + 1), "goes from 1 to 10, its frames from 0 to 9"),
        (lambda c: replace(c, frames=c.frames[:, :, 1:]), r"frames have shape \(3, 12, 6\)"),
        (lambda c: replace(c, frames=c.frames[:2]), r"frames have shape \(2, 12, 7\)"),
    ],
)
def test_a_condition_that_does_not_fit_is_refused_by_name(model, condition, change, message):
    with pytest.raises(IncompatibleDataError, match=message):
        check_condition(model, change(condition), STREAMS, CODES)


def test_a_network_that_can_be_told_nothing_refuses_any_condition(condition):
    with pytest.raises(IncompatibleDataError, match=r"can be told nothing; expected None"):
        check_condition(make_variant("paper"), condition, STREAMS, CODES)
