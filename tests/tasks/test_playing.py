"""What takes are told of a held-out track: its own frames wherever windows lie, labels as they are set."""

from types import SimpleNamespace

import pytest
import torch

from tasks.playing import tell_heldout
from tasks.records import Prime
from tests.wavenet.training.test_windows import FIELD, form, name_of, shards
from wavenet.data.primes import Place
from wavenet.errors import ConfigError, IncompatibleDataError
from wavenet.training.windows import continuation_condition

__all__ = ["form", "shards"]

PRIME = Prime(track_id=name_of(2), start_sample=200)
LENGTH = 300


@pytest.fixture
def network(form):
    return SimpleNamespace(form=form)


def frames_of(condition):
    """The frame that each code is told, (codes, channels)."""
    return condition.frames[0, 1:-1][condition.frame_index[0]]


def test_a_take_is_told_what_the_track_does_from_its_prime_on(shards, network, form):
    tell = tell_heldout(shards, network, PRIME, {})
    expected = continuation_condition(shards, form, Place(PRIME.track_id, 200), FIELD, LENGTH)
    whole = tell(-FIELD, FIELD + LENGTH - 1)
    assert torch.equal(whole.frames, expected.frames)
    assert torch.equal(whole.frame_index, expected.frame_index)
    assert torch.equal(whole.labels, expected.labels)
    later = tell(110 - FIELD, FIELD + 50)
    assert torch.equal(frames_of(later), frames_of(whole)[110 : 110 + FIELD + 50])


def test_a_label_that_is_set_takes_the_place_of_the_tracks_own(shards, network, form):
    theirs = tell_heldout(shards, network, PRIME, {})(-FIELD, 100)
    mine = tell_heldout(shards, network, PRIME, {"artist": "Bo"})(-FIELD, 100)
    assert form.labels["artist"][int(theirs.labels[0, 0]) - 1] == "Ann"
    assert form.labels["artist"][int(mine.labels[0, 0]) - 1] == "Bo"
    assert torch.equal(mine.frames, theirs.frames)
    with pytest.raises(ConfigError, match="label artist=Cy: unknown; known are Ann, Bo"):
        tell_heldout(shards, network, PRIME, {"artist": "Cy"})


def test_a_track_that_is_not_held_out_is_an_error(shards, network):
    with pytest.raises(IncompatibleDataError, match="no held-out audio of track"):
        tell_heldout(shards, network, Prime(track_id=name_of(0), start_sample=200), {})
