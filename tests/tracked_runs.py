"""Runs of MLflow as a pipeline run makes them, without Prefect and without a training: made in a moment."""

import json
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
from mlflow import MlflowClient
from safetensors.numpy import save_file

from tasks.records import BaselinesRecord, ModelRecord, ShardsRecord, TakeRecord
from tasks.tracking import metrics_mirror, tracked_run
from tasks.tracking.words import flatten
from tests.databases import MLFLOW, copy_database
from wavenet.config import TrackingConfig, load_config
from wavenet.evaluation.baselines import Baselines
from wavenet.files import digest_folder
from wavenet.model import CARD, WEIGHTS
from wavenet.training.metrics import FINAL_BITS

BITS = Baselines(uniform=6.0, unigram=5.0, order2=4.0, order4=3.5, unresolved=10.0)


class Band:
    """A workspace with a shard set, and what runs on it leave."""

    def __init__(self, place, shard_folder):
        self.place = place
        copy = place.root / "store" / "shards" / "drums"
        if not copy.exists():
            shutil.copytree(shard_folder, copy)
        digest = json.loads((copy / "manifest.json").read_text())["digest"]
        self.shards = ShardsRecord(digest=digest, folder="store/shards/drums", stem="drums")
        self.beside = BaselinesRecord(digest="b", folder="store/baselines/drums", bits=BITS)

    def model(self, seed, bits, stem="drums"):
        """A trained model: weights of that seed."""
        folder = self.place.root / "store" / "models" / f"{stem}-{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        save_file({"weight": np.full(4, seed, np.float32)}, folder / WEIGHTS)
        (folder / CARD).write_text(json.dumps({"stem": stem, "shards_digest": self.shards.digest}))
        rows = [{"step": step, "train/bits_per_sample": 6 - step / 10} for step in (1, 2, 3)]
        rows.append({"step": 3, FINAL_BITS: bits})
        (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return ModelRecord(
            digest=digest_folder(folder, [WEIGHTS, CARD]),
            folder=f"store/models/{stem}-{seed}",
            stem=stem,
            heldout_bits=bits,
            free_bits=None,
            num_parameters=4,
            seconds=61.0,
        )

    def take(self, stem="drums"):
        folder = self.place.root / "store" / "takes" / stem
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "take.wav").write_bytes(b"RIFF")
        return TakeRecord(
            digest="t", folder=f"store/takes/{stem}", stem=stem, sample_rate=2000, num_samples=1,
            has_reference=False, badness=None,
        )  # fmt: skip

    @contextmanager
    def tracked(self, *overrides, name="songs tiny", **settings):
        config = load_config([], list(overrides))
        params = flatten(config.model_dump(mode="json"))
        tracking = TrackingConfig(**settings)
        with tracked_run(self.place, name, params, {"input": "songs"}, overrides, tracking) as tracker:
            yield tracker

    def run(
        self,
        *overrides,
        stems=("drums",),
        seed=1,
        bits=3.0,
        steps=3,
        reused=False,
        meanwhile=None,
        **settings,
    ):  # fmt: skip
        """A whole run. meanwhile: called amid each training, with the number of its report."""
        config = load_config([], list(overrides))
        with self.tracked(*overrides, **settings) as tracker:
            for stem in stems:
                tracked = tracker.start_stem(self.place, stem, config.for_stem(stem), self.shards)
                if not reused:
                    with metrics_mirror(self.place, tracked) as mirror:
                        mirror.begin([])
                        for step in range(1, steps + 1):
                            mirror.report({"step": step, "train/bits_per_sample": 6 - step / 10})
                            if meanwhile:
                                meanwhile(step)
                        mirror.report({"step": steps, FINAL_BITS: bits})
                tracker.log_training(self.place, stem, self.model(seed, bits, stem), self.beside, reused)
                tracker.log_take(self.place, stem, self.take(stem))
        return tracker


@pytest.fixture
def place(place, mlflow_database):
    """A workspace with an empty MLflow store."""
    place.root.mkdir()
    copy_database(mlflow_database, place.root / MLFLOW)
    return place


@pytest.fixture
def band(place, shard_folder):
    return Band(place, shard_folder)


@pytest.fixture
def client(place):
    return MlflowClient(tracking_uri=f"sqlite:///{place.root}/mlflow.db")
