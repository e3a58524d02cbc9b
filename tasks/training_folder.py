"""Trainings in a folder that a person has chosen: begun there, gone on with, or refused in words.

Knows nothing of Prefect, and of networks only how a session is run. The invariant: a folder holds trainings
of one set of settings, which lies beside them; whoever goes on with them under others is told what differs.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.caching import describe
from tasks.progress import TrainingProgress
from tasks.records import WeightsRecord
from tasks.session import run_session
from tasks.tracking import flatten
from tasks.workspace import Workspace
from wavenet.config import StemConfig
from wavenet.errors import ConfigError
from wavenet.evaluation.baselines import Baselines
from wavenet.files import read_json, write_json
from wavenet.model import TRAINED
from wavenet.session.job import RESULT, Job, Result

SETTINGS, LOCKS = "settings.json", "locks"


def deciding_settings(shards_digest: str, config: StemConfig, init: WeightsRecord | None) -> dict[str, Any]:
    """All that decides how a training ends, by the names that a person sets it by."""
    sections = {"model": describe(config.model), "training": describe(config.training)}
    weights = init.digest if init else None
    return {"shards": shards_digest, "training.init_from": weights, **flatten(sections)}


@contextmanager
def claimed_folder(
    folder: Path, settings: Mapping[str, Any], jobs: Mapping[str, Job], resume: bool
) -> Iterator[None]:
    """Hold a folder for trainings of these settings. jobs: by name, in the folder or below it.

    Finished ones may be looked at again, with `resume` or without. Raises ConfigError where there is an
    unfinished one and nobody asked to go on, or nothing to go on with, or the settings are others.
    """
    if folder.exists() and not (folder / SETTINGS).is_file() and _holds_anything(folder):
        raise ConfigError(
            f"{folder}: holds something else than a training of Waveband; name an empty folder with --out"
        )
    if resume and not _has_begun(folder):
        raise ConfigError(f"{folder}: there is nothing to resume; {_what_else(folder)}")
    with Workspace(root=folder).lock("training"):
        begun = _has_begun(folder)
        if begun:
            _refuse_changes(folder, settings)
        if begun and not resume and not all(map(is_finished, jobs.values())):
            raise ConfigError(
                f"{folder}: holds an unfinished training; go on with it by --resume, or begin anew with "
                "another --out FOLDER, or by deleting this one"
            )
        write_json(folder / SETTINGS, dict(settings))
        yield


def is_finished(job: Job) -> bool:
    """Whether the model is there."""
    return (job.folder / TRAINED / RESULT).is_file()


def finish_job(job: Job, label: str, baselines: Baselines) -> Result:
    """Train to the end, showing progress beside baselines; what is finished is only read."""
    if not is_finished(job):
        training = job.config.training
        run_session(job, [TrainingProgress(label, training.steps, baselines)], training.processes)
    return Result.model_validate(read_json(job.folder / TRAINED / RESULT))


def _has_begun(folder: Path) -> bool:
    """Whether steps were taken, in it or in one of several, that would be lost."""
    marks = (TRAINED, "checkpoints/step-*")
    return any(any(folder.glob(pattern)) for mark in marks for pattern in (mark, f"*/{mark}"))


def _holds_anything(folder: Path) -> bool:
    return not folder.is_dir() or any(path.name != LOCKS for path in folder.iterdir())


def _refuse_changes(folder: Path, settings: Mapping[str, Any]) -> None:
    before = read_json(folder / SETTINGS)
    changed = [
        f"{name} was {before.get(name)} and is {settings.get(name)}"
        for name in sorted({*before, *settings})
        if before.get(name) != settings.get(name)
    ]
    if changed:
        raise ConfigError(
            f"{folder}: holds a training of other settings: {'; '.join(changed)}; set them as they were, or "
            "name another folder with --out"
        )


def _what_else(folder: Path) -> str:
    """The trainings beside it: other settings have other names."""
    others = sorted(path.parent.name for path in folder.parent.glob(f"*/{SETTINGS}") if path.parent != folder)
    if not others:
        return "leave --resume out to begin"
    return f"leave --resume out to begin, or name one of those there are with --out: {', '.join(others)}"
