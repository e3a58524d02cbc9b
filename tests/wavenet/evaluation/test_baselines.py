"""Baselines are measured on what the network is scored on, and order 4 knows more of music than unigram."""

import numpy as np
import pytest

from wavenet.data.dataset import load_runs, scored_codes
from wavenet.evaluation.baselines import measure_baselines
from wavenet.evaluation.context_models import context_bits
from wavenet.evaluation.metrics import unigram_bits


def test_a_decaying_tone_is_known_better_the_more_of_it_is_heard(shard_folder):
    bits = measure_baselines(shard_folder, receptive_field=16)
    assert bits.order2 < bits.unigram < bits.uniform == 6
    assert bits.best[1] == min(bits.models.values())
    assert list(bits.models) == ["uniform", "unigram", "order2", "order4"]


@pytest.mark.parametrize("receptive_field", [16, 1000])
def test_what_is_scored_is_what_has_the_networks_context(shard_folder, receptive_field):
    bits = measure_baselines(shard_folder, receptive_field)
    train, heldout = (load_runs(shard_folder, split) for split in ("train", "heldout"))
    scored = scored_codes(heldout, receptive_field)
    assert len(scored) == sum(len(run.codes) - receptive_field for run in heldout)
    assert bits.unigram == unigram_bits(np.concatenate([run.codes for run in train]), scored, 64)
    runs = [[run.codes for run in split] for split in (train, heldout)]
    assert bits.order4 == context_bits(*runs, receptive_field, 64)["order4_bits"]
