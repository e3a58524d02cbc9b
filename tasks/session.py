"""A training, or a trial of one, in a process of its own: started, listened to, and ended with its task.

Knows nothing of networks. The invariants: when `run_session` or `run_trial` is left, for whatever reason,
the process is gone; and should this process die without a word, the other notices and ends too.
"""

import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen, TimeoutExpired
from types import MappingProxyType

from pydantic import ValidationError

from tasks.stopping import check_stop
from wavenet import errors
from wavenet.errors import TrainingStoppedError, WavebandError
from wavenet.files import read_json, write_text
from wavenet.locks import lent_locks
from wavenet.model import TRAINED
from wavenet.session.job import (
    MESSAGE,
    RESULT,
    Begun,
    Done,
    Failed,
    Job,
    Message,
    Reported,
    Result,
    Told,
    Trial,
)
from wavenet.training.metrics import Reporter
from wavenet.training.trial_result import TrialResult

JOB = "job.json"
LAUNCH = ["python", "-m", "wavenet.session.launch"]
SECONDS_TO_END = 60.0
"""For a last step and a checkpoint."""
THREADS = "OMP_NUM_THREADS"
NOTHING_MORE: Mapping[str, str] = MappingProxyType({})
_under_way: set[Popen] = set()


def run_session(
    job: Job,
    reporters: Sequence[Reporter],
    processes: int = 1,
    side_by_side: int = 1,
    environment: Mapping[str, str] = NOTHING_MORE,
) -> tuple[Path, Result]:
    """Train in a process of its own, or in several that share each batch. Returns the folder of the model.

    Where `training.nodes` are several, what is to be started on the others is told, and waited for.
    side_by_side: such trainings at once on the same cores, which they share. environment: of its processes,
    beside ours. Raises what the training raises, and TrainingStoppedError where it was ended from outside.
    """
    remedy = "run again to go on from the last checkpoint"
    training = job.config.training
    launcher = choose_launcher(processes, training.nodes, training.meeting)
    for number in range(1, training.nodes):
        for reporter in reporters:
            reporter.tell(f"start on machine {number}: {shlex.join(join_command(job, processes, number))}")
    _run(job, reporters, launcher, f"train {job.stem}", remedy, side_by_side, environment)
    trained = job.folder / TRAINED
    return trained, Result.model_validate(read_json(_result_of(job)))


def run_trial(trial: Trial, reporters: Sequence[Reporter] = ()) -> TrialResult:
    """Try a training in a process of its own, so that the memory it takes is no other's.

    Raises what `try_training` raises, and TrainingStoppedError where it was ended from outside.
    """
    remedy = "lower training.batch_size or the model's channels, or free some memory"
    _run(trial, reporters, [], f"try {trial.stem}", remedy)
    return TrialResult.model_validate(read_json(_result_of(trial)))


def stop_sessions() -> None:
    """End what is under way, for somebody who does not want to wait for it: checkpoints are saved."""
    for process in list(_under_way):
        if process.poll() is None:
            process.terminate()


def choose_launcher(processes: int, nodes: int = 1, meeting: str | None = None, number: int = 0) -> list[str]:
    """Arguments of torchrun for one of so many nodes, with so many processes each; none for one process.

    The first node leads, so that whoever started the training hears of it.
    """
    several = [f"--nproc-per-node={processes}"]
    if nodes > 1 and meeting:
        host, _, port = meeting.rpartition(":")
        where = [f"--master-addr={host}", f"--master-port={port}"]
        return [f"--nnodes={nodes}", f"--node-rank={number}", *where, *several]
    return ["--standalone", *several] if processes > 1 else []


def join_command(job: Job, processes: int, number: int) -> list[str]:
    """What another machine, on which the job's folder has the same path, takes part in a training by."""
    training = job.config.training
    launcher = choose_launcher(processes, training.nodes, training.meeting, number)
    return [*LAUNCH, *launcher, "-m", "wavenet.session", str(job.folder / JOB)]


def _run(
    job: Job | Trial,
    reporters: Sequence[Reporter],
    launcher: Sequence[str],
    name: str,
    remedy: str,
    side_by_side: int = 1,
    environment: Mapping[str, str] = NOTHING_MORE,
) -> None:
    """Have a job done; its folder then holds the result."""
    job.folder.mkdir(parents=True, exist_ok=True)
    write_text(job.folder / JOB, job.model_dump_json(indent=2))
    told = {**_threads(launcher, side_by_side), **environment}
    with _started(job.folder / JOB, launcher, told) as process:
        last = _listen(process, reporters)
        status = process.wait()
    if isinstance(last, Failed):
        raise _as_error(last)
    if not isinstance(last, Done) or not _result_of(job).exists():
        raise TrainingStoppedError(
            f"{name}: the process ended without a word (exit status {status}; -9 is often a machine short of "
            f"memory); {remedy}"
        )


def _result_of(job: Job | Trial) -> Path:
    """There once all is: of several processes another may be done before the one that leaves it."""
    return job.folder / RESULT if isinstance(job, Trial) else job.folder / TRAINED / RESULT


def _command(job: Path, launcher: Sequence[str]) -> list[str]:
    session = ["-m", "wavenet.session", str(job)]
    return [sys.executable, *([*LAUNCH[1:], *launcher] if launcher else []), *session]


def _threads(launcher: Sequence[str], side_by_side: int) -> dict[str, str]:
    """What a process is told that shares the cores with others: so many threads that all of them have cores
    to themselves; torchrun would say one. Nothing where it is alone, or a person has said it."""
    processes = int(launcher[-1].rpartition("=")[2]) if launcher else 1
    if (not launcher and side_by_side == 1) or THREADS in os.environ:
        return {}
    return {THREADS: str(max(1, (os.cpu_count() or 1) // (processes * side_by_side)))}


@contextmanager
def _started(job: Path, launcher: Sequence[str], environment: Mapping[str, str]) -> Iterator[Popen]:
    """A running process, asked to end and then made to when the block is left."""
    process = Popen(  # noqa: S603 (our own module)
        _command(job, launcher), env={**os.environ, **environment},
        process_group=0 if launcher else None,  # Ctrl-C is for us: the launcher takes it otherwise
        pass_fds=lent_locks(),  # killed, we would free a device that it is still on
        stdin=PIPE, stdout=PIPE, text=True, encoding="utf-8", errors="replace",
    )  # fmt: skip
    _under_way.add(process)
    try:
        check_stop()  # told before, it was not yet among those that were ended
        yield process
    finally:
        _under_way.discard(process)
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(SECONDS_TO_END)
            except TimeoutExpired:
                process.kill()
                process.wait()
        for stream in (process.stdin, process.stdout):
            stream.close()  # type: ignore[union-attr]


def _listen(process: Popen, reporters: Sequence[Reporter]) -> Message | None:
    """Pass on what is said, until nothing more is. Returns the last message, or the first failure: of
    several processes the others fail for want of it."""
    last: Message | None = None
    failed: Failed | None = None
    for line in process.stdout:  # type: ignore[union-attr]
        try:
            last = MESSAGE.validate_json(line)
        except ValidationError:
            print(line, end="", file=sys.stderr)  # of a library that has its own way to standard output
            continue
        if isinstance(last, Failed):
            failed = failed or last
        for reporter in reporters:
            _pass_on(last, reporter)
    return failed or last


def _pass_on(message: Message, reporter: Reporter) -> None:
    match message:
        case Begun(rows=rows):
            reporter.begin(rows)
        case Reported(row=row):
            reporter.report(row)
        case Told(message=text):
            reporter.tell(text)


def _as_error(failed: Failed) -> Exception:
    kind = getattr(errors, failed.error, None)
    if isinstance(kind, type) and issubclass(kind, WavebandError):
        return kind(failed.message)
    return RuntimeError(f"{failed.error}: {failed.message}")
