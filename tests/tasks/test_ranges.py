"""What takes are held against is measured once, and is the same for who has it from the store."""

import numpy as np
import pytest
from prefect.states import State

from tasks.ranges import INDEX, PRINTS, RANGES, likelihood, load_judge, prints, ranges
from tasks.records import LikelihoodRecord, PrintsRecord, RangesRecord, ShardsRecord, WeightsRecord
from tests.wavenet.evaluation.played import QUANTIZER, RATE, play, write_set
from tests.wavenet.model.variants import make_variant
from wavenet.data.shards.format import read_manifest
from wavenet.evaluation.ranges import Ranges
from wavenet.evaluation.take_judge import Piece
from wavenet.files import read_json
from wavenet.model.saved import SavedModel, save_model


@pytest.fixture
def shards(place):
    folder = place.root / "store" / "set"
    folder.parent.mkdir(parents=True)
    write_set(folder, [(play(1, 8.0), "train"), (play(2, 8.0), "train"), (play(3, 4.0), "heldout")])
    return ShardsRecord(digest=read_manifest(folder).digest, folder="store/set", stem="keys")


@pytest.fixture
def model(place):
    network = make_variant("paper", QUANTIZER.quantization_channels)
    card = SavedModel(
        stem="keys", sample_rate=RATE, quantization_channels=256, shards_digest="", model=network.config
    )
    (place.root / "store" / "model").mkdir(parents=True, exist_ok=True)
    save_model(network, card, place.root / "store" / "model")
    return WeightsRecord(digest="m", folder="store/model")


def call(task, **inputs):
    """The record, and whether it was there already."""
    made = task.fn(**inputs)
    return (made.data, True) if isinstance(made, State) else (made, False)


def test_each_is_measured_once_and_read_back_as_it_was(place, shards, model):
    inputs = {"workspace": place, "stem": "keys", "shards": shards}
    for task, more, kind in (
        (ranges, {}, RangesRecord),
        (prints, {}, PrintsRecord),
        (likelihood, {"model": model}, LikelihoodRecord),
    ):
        record, reused = call(task, **inputs, **more)
        assert isinstance(record, kind)
        assert not reused
        assert call(task, **inputs, **more) == (record, True)


def test_what_the_store_holds_can_be_read_by_itself(place, shards):
    inputs = {"workspace": place, "stem": "keys", "shards": shards}
    known, _ = call(ranges, **inputs)
    assert Ranges.model_validate(read_json(place.path(known.folder) / RANGES)) == known.ranges
    training, _ = call(prints, **inputs)
    assert {path.name for path in place.path(training.folder).iterdir()} == {PRINTS, INDEX}


def test_a_judge_from_records_scores_and_remembers(place, shards, model):
    inputs = {"workspace": place, "stem": "keys", "shards": shards}
    records = [call(ranges, **inputs)[0], call(prints, **inputs)[0]]
    heldout, _ = call(likelihood, **inputs, model=model)
    judge = load_judge(place, shards, *records, heldout)
    network = make_variant("paper", 256).eval()
    context, codes = np.split(QUANTIZER.encode(play(2, 5.0)), [network.receptive_field])
    score = judge.score([Piece(0, codes, context)], len(codes), network)
    assert score.memory.closest.track == "song 1"
    assert score.memory.closest.same
    assert score.likelihood.heldout_nats == heldout.nats.p50
