"""The short form of `python -m tests.chaos`: one workspace, a kill of each kind, one stage each."""

import random
import sys

import pytest

from tests.chaos.campaign import Campaign, Kill, Span
from tests.chaos.family import API, FLOW, TRAINING, WORKER
from tests.chaos.songs import write_input
from tests.chaos.traces import differences

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found by /proc"),
]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chaos")
    return Campaign(folder, write_input(folder, ["drums"]), random.Random(0))


def test_runs_that_are_killed_and_begun_again_end_as_if_they_had_not_been(campaign):
    stages = {WORKER: "ingest", API: "examine", FLOW: "shards", TRAINING: "train"}
    kills = [Kill(kind, campaign.spans[stage][0], 0.0) for kind, stage in stages.items()]
    blows = list(campaign.strike("workspace", kills))
    assert [blow.problems for blow in blows] == [[] for _ in blows]
    assert [blow.kind for blow in blows] == [WORKER, API, FLOW, TRAINING, ""]


def test_a_kill_of_what_is_done_already_is_one_of_what_comes_next(campaign):
    spans = [Span(f"{stage}-x", begin, 1.0) for begin, stage in enumerate(["ingest", "shards", "train"])]
    campaign.spans, before = {span.stage: [span] for span in spans}, campaign.spans
    try:
        assert campaign._unfinished(Kill(FLOW, spans[0], 0.5), {"ingest-x"}).span == spans[1]
        assert campaign._unfinished(Kill(FLOW, spans[2], 0.5), {"ingest-x"}).delay == 0.5
    finally:
        campaign.spans = before


def test_a_lost_record_a_flipped_sound_and_another_curve_are_seen(campaign):
    whole = campaign.undisturbed
    for what in ("records", "sounds", "metrics"):
        key = next(iter(whole[what]))
        changed = {**whole, what: {**whole[what], key: "other"}}
        assert len(differences(whole, changed)) == 1
        assert len(differences(whole, {**whole, what: {}})) == len(whole[what])
    assert differences(whole, whole) == []
