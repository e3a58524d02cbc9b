"""A job done: the training and the folder that it leaves, or the trial and its figures.

The invariant: the folder `trained`, or the trial's result, is there when it is done, and not before.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from wavenet.data.shards.format import DIMS, Manifest, read_manifest
from wavenet.data.shards.storage import open_location
from wavenet.errors import ConfigError, TrainingStoppedError
from wavenet.files import new_folder, publish_folder, write_json
from wavenet.locks import locked
from wavenet.model import TRAINED
from wavenet.model.conditioning import ConditionForm
from wavenet.model.saved import SavedModel, save_model
from wavenet.model.wavenet import count_parameters
from wavenet.session.job import RESULT, Job, Result, Trial
from wavenet.session.listening import TakeWriter
from wavenet.training.loop import Trained, train_model
from wavenet.training.memory import keep_memory
from wavenet.training.metrics import Reporter
from wavenet.training.ranks import join_ranks
from wavenet.training.trial import try_training

LOCK = "session.lock"


def run(job: Job | Trial, reporter: Reporter, should_stop: Callable[[], bool]) -> None:
    """Do what is asked. Raises what `train_model` or `try_training` raises."""
    if isinstance(job, Trial):
        run_trial(job, reporter, should_stop)
    else:
        run_job(job, reporter, should_stop)


def run_trial(trial: Trial, reporter: Reporter, should_stop: Callable[[], bool]) -> None:
    """Try the training, and leave what was found."""
    keep_memory()
    features = {name: DIMS[name] for name in trial.config.model.features}
    form = ConditionForm(
        labels={name: trial.labels.get(name, []) for name in trial.config.model.labels},
        features=features,
        hop_length=trial.hop_length if features else 1,
    )
    tried = try_training(
        trial.config, trial.quantization_channels, form, trial.seconds,
        tell=reporter.tell, should_stop=should_stop,
    )  # fmt: skip
    write_json(trial.folder / RESULT, tried.model_dump())


def run_job(job: Job, reporter: Reporter, should_stop: Callable[[], bool]) -> None:
    """Train, and leave model and result. Raises what `train_model` raises."""
    keep_memory()
    shards = open_location(job.shards)
    manifest = read_manifest(shards)
    listener = TakeWriter(shards, manifest, job.folder, job.config.training)
    with join_ranks() as ranks, _alone(job.folder, reporter, should_stop) if ranks.leads else nullcontext():
        _check_shares(job.config.training.batch_size, ranks.world)
        trained = train_model(
            shards, job.folder, job.config, [reporter],
            init=job.init, ranks=ranks, should_stop=should_stop, listener=listener if ranks.leads else None,
        )  # fmt: skip
        if ranks.leads:
            _leave(trained, job, manifest)


def _alone(folder: Path, reporter: Reporter, should_stop: Callable[[], bool]) -> AbstractContextManager[None]:
    """Hold a folder, once a session whose starter was killed has saved its checkpoint there and ended."""
    told: list[str] = []

    def wait() -> None:
        if should_stop():
            raise TrainingStoppedError("stopped before it began; run again to go on from the last checkpoint")
        if not told:
            told.append("waiting for this training's process of before, which is at its last step")
            reporter.tell(told[0])

    return locked(folder / LOCK, wait)


def _check_shares(batch_size: int, num_processes: int) -> None:
    """As the config does of `processes`; here of those that `torchrun` has started."""
    if batch_size < num_processes:
        raise ConfigError(
            f"training.batch_size is {batch_size}, too few for {num_processes} processes; each takes a "
            "window at least: raise it or start fewer"
        )


def _leave(trained: Trained, job: Job, manifest: Manifest) -> None:
    card = SavedModel(
        stem=job.stem,
        sample_rate=manifest.sample_rate,
        shards_digest=job.shards_digest,
        model=job.config.model,
        quantization_channels=manifest.quantization_channels,
        law=manifest.law,
        condition=trained.model.form,
    )
    result = Result(
        heldout_bits=trained.heldout_bits,
        free_bits=trained.free_bits,
        num_parameters=count_parameters(trained.model),
        steps=trained.steps,
        seconds=round(trained.seconds, 1),
        transfer=trained.transfer.as_json() if trained.transfer else None,
    )
    with new_folder(job.folder, TRAINED) as folder:
        save_model(trained.model, card, folder)
        write_json(folder / RESULT, result.model_dump())
        publish_folder(folder, job.folder / TRAINED)
