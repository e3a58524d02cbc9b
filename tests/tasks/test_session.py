"""A training in a process of its own ends with whoever wanted it, and goes on from where it was."""

import os
import shlex
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import psutil
import pytest

from tasks.session import JOB, run_session, run_trial
from tests.loopback import free_port, wait_for
from tests.small_training import config, shard_folder, small_config
from wavenet.errors import ConfigError, IncompatibleDataError, TrainingStoppedError
from wavenet.files import write_text
from wavenet.model.saved import load_model
from wavenet.session.job import Job, Trial
from wavenet.training.checkpoint import list_checkpoints
from wavenet.training.loop import CHECKPOINTS, train_model
from wavenet.training.metrics import METRICS, SPEED, STEP, TRAIN_BITS, read_metrics

__all__ = ["config", "shard_folder"]


class Listener:
    """Keeps what it hears; does something when it hears of a step."""

    def __init__(self, at=None, do=None):
        self.rows, self.told, self.at, self.do = [], [], at, do

    def begin(self, rows):
        self.rows = list(rows)

    def report(self, row):
        self.rows.append(dict(row))
        if row[STEP] == self.at and TRAIN_BITS in row:
            self.do()

    def tell(self, message):
        self.told.append(message)


def make_job(shard_folder, folder):
    """Some seconds of training, with a line of metrics a step."""
    config = small_config()
    training = config.training.model_copy(update={"steps": 60, "log_every": 1, "checkpoint_seconds": 1e6})
    return Job(
        stem="drums", shards=str(shard_folder), shards_digest="d", folder=folder,
        config=config.model_copy(update={"training": training}),
    )  # fmt: skip


@pytest.fixture
def narrow_pipe(monkeypatch):
    """A session is some lines ahead of who listens at most, and so is under way when it is ended."""
    monkeypatch.setattr("tasks.session.Popen", partial(subprocess.Popen, pipesize=4096))


@pytest.fixture
def job(shard_folder, tmp_path):
    return make_job(shard_folder, tmp_path / "work")


@pytest.fixture(scope="module")
def undisturbed(shard_folder, tmp_path_factory):
    """A session that nothing befell: its job, what it said, its result."""
    job, listener = make_job(shard_folder, tmp_path_factory.mktemp("undisturbed") / "work"), Listener()
    return job, listener, run_session(job, [listener])


def without_timings(folder):
    return [{k: v for k, v in row.items() if k != SPEED} for row in read_metrics(folder / METRICS)]


def children():
    return [process for process in psutil.Process().children() if is_session(process)]


def is_session(process):
    try:
        return "wavenet.session" in process.cmdline()
    except psutil.Error:  # it has just ended
        return False


def test_a_session_trains_as_the_library_does_and_tells_each_line(undisturbed, shard_folder, tmp_path):
    job, listener, (folder, result) = undisturbed
    trained = train_model(shard_folder, tmp_path / "here", job.config)
    assert result.heldout_bits == trained.heldout_bits
    assert result.steps == 60
    assert without_timings(job.folder) == without_timings(tmp_path / "here")
    assert listener.rows == read_metrics(job.folder / METRICS)
    model, card = load_model(folder)
    assert card.stem == "drums"
    for name, tensor in trained.model.state_dict().items():
        assert tensor.equal(model.state_dict()[name]), name
    assert not children()


def test_what_a_training_refuses_is_raised_as_the_error_that_it_is(job):
    deep = job.config.model.model_copy(update={"dilation_cycle": 14})
    bad = job.model_copy(update={"config": job.config.model_copy(update={"model": deep})})
    with pytest.raises(IncompatibleDataError, match="receptive field"):
        run_session(bad, [])
    assert not children()


@pytest.mark.parametrize("how", ["terminated", "killed"])
def test_ended_from_outside_it_says_so_and_the_next_one_ends_with_the_same_losses(
    job, how, undisturbed, narrow_pipe
):
    whole, *_ = undisturbed

    def end():
        (process,) = children()
        process.send_signal(signal.SIGTERM if how == "terminated" else signal.SIGKILL)

    with pytest.raises(TrainingStoppedError):
        run_session(job, [Listener(5, end)])
    assert bool(list_checkpoints(job.folder / CHECKPOINTS)) == (how == "terminated")
    run_session(job, [])
    assert without_timings(job.folder) == without_timings(whole.folder)


def test_ctrl_c_in_the_starter_ends_the_process_with_a_checkpoint(job, narrow_pipe):
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_session(job, [Listener(5, interrupt)])
    assert not children()
    assert list_checkpoints(job.folder / CHECKPOINTS)


def test_a_session_whose_starter_is_killed_saves_a_checkpoint_and_ends(job):
    job.folder.mkdir()
    long = job.config.training.model_copy(update={"steps": 100_000})
    endless = job.model_copy(update={"config": job.config.model_copy(update={"training": long})})
    write_text(job.folder / JOB, endless.model_dump_json())
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(job.folder / JOB)], stdout=subprocess.PIPE, text=True
    )
    session = psutil.Process(int(starter.stdout.readline()))
    wait_for(lambda: len(read_metrics(job.folder / METRICS)) > 3)
    os.kill(starter.pid, signal.SIGKILL)
    starter.wait()
    session.wait(timeout=120)
    assert list_checkpoints(job.folder / CHECKPOINTS)


def test_a_training_waits_for_its_process_of_before_whose_starter_was_killed(job, undisturbed):
    """Or two would train in one folder, each with metrics and checkpoints that the other takes away."""
    whole, *_ = undisturbed
    job.folder.mkdir()
    write_text(job.folder / JOB, job.model_dump_json())
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(job.folder / JOB)], stdout=subprocess.PIPE, text=True
    )
    before = psutil.Process(int(starter.stdout.readline()))
    wait_for(lambda: len(read_metrics(job.folder / METRICS)) > 3)
    before.suspend()  # as in a step that takes long
    os.kill(starter.pid, signal.SIGKILL)
    starter.wait()
    listener = Listener()
    with ThreadPoolExecutor(1) as threads:
        done = threads.submit(run_session, job, [listener])
        wait_for(lambda: listener.told)
        rows = list(listener.rows)
        before.resume()
        done.result()
    assert "waiting for this training's process of before" in listener.told[0]
    assert rows == []
    assert without_timings(job.folder) == without_timings(whole.folder)


STARTER = """
import subprocess, sys, time
process = subprocess.Popen([sys.executable, "-m", "wavenet.session", sys.argv[1]], stdin=subprocess.PIPE,
                           stdout=subprocess.PIPE, pipesize=4096)
print(process.pid, flush=True)
time.sleep(600)  # and nobody listens: it is some lines ahead at most
"""


def test_two_processes_train_as_one_does(job, tmp_path):
    """gloo on loopback: each takes half of every batch; the same losses, rounding aside."""
    training = job.config.training.model_copy(update={"precision": "fp32"})  # bf16 rounds a hundredth
    job = job.model_copy(update={"config": job.config.model_copy(update={"training": training})})
    alone = job.model_copy(update={"folder": tmp_path / "alone"})
    _, one = run_session(alone, [])
    _, two = run_session(job, [], processes=2)
    assert two.heldout_bits == pytest.approx(one.heldout_bits, abs=2e-3)
    first, second = (read_metrics(folder / METRICS) for folder in (alone.folder, job.folder))
    assert [row[STEP] for row in first] == [row[STEP] for row in second]
    for one_row, other in zip(first[:5], second[:5], strict=True):
        assert other[TRAIN_BITS] == pytest.approx(one_row[TRAIN_BITS], abs=1e-5)


def test_two_torchruns_started_by_hand_without_a_terminal_train_one_model(job):
    """As on two machines; they meet on loopback, and their standard input is no pipe that could end."""
    job.folder.mkdir()
    write_text(job.folder / JOB, job.model_dump_json())
    meeting = f"--master-port={free_port()}"
    where = ["--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1", meeting]
    session = ["-m", "wavenet.session", str(job.folder / JOB)]
    machines = [
        subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", *where, f"--node-rank={number}", *session],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )
        for number in range(2)
    ]  # fmt: skip
    told = [machine.communicate(timeout=120)[0].splitlines() for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0]
    assert sum('"kind":"row"' in line for line in told[0]) > 60
    assert told[1] == ['{"kind":"done"}']
    assert (job.folder / "trained" / "result.json").is_file()


def test_a_task_leads_a_training_of_two_machines_and_says_what_to_start_on_the_other(job):
    meeting = f"127.0.0.1:{free_port()}"
    training = job.config.training.model_copy(update={"nodes": 2, "meeting": meeting})
    job = job.model_copy(update={"config": job.config.model_copy(update={"training": training})})
    others = []

    class Helper(Listener):
        def tell(self, message):
            if message.startswith("start on machine 1: python "):
                command = [sys.executable, *shlex.split(message)[5:]]
                others.append(
                    subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
                )

    listener = Helper()
    folder, result = run_session(job, [listener])
    (other,) = others
    assert other.communicate(timeout=120)[0].splitlines() == ['{"kind":"done"}']
    assert result.steps == 60
    assert [row[STEP] for row in listener.rows if TRAIN_BITS in row] == list(range(1, 61))
    assert load_model(folder)[1].stem == "drums"


def test_more_processes_than_windows_are_refused_with_the_reason(job):
    with pytest.raises(ConfigError, match="batch_size is 2, too few for 3 processes"):
        run_session(job, [], processes=3)


def test_a_session_in_a_thread_can_be_listened_to(job):
    listener = Listener()
    thread = threading.Thread(target=run_session, args=[job, [listener]])
    thread.start()
    thread.join(250)
    assert listener.rows[-1][STEP] == 60


# a trial


@pytest.fixture
def trial(config, tmp_path):
    return Trial(
        stem="drums", folder=tmp_path / "trial", config=config, quantization_channels=64, labels={},
        hop_length=20, seconds=0.1,
    )  # fmt: skip


def test_a_trial_tells_what_a_step_costs_and_leaves_no_process(trial):
    result = run_trial(trial)
    assert result.num_steps >= 2
    assert result.step_seconds > 0
    assert result.peak_bytes < 2 << 30  # torch and a tiny network; not what this process has
    assert not children()


def test_a_trial_of_a_network_that_is_told_something(trial):
    model = trial.config.model.model_copy(update={"labels": ["artist"], "features": ["energy", "notes"]})
    told = trial.model_copy(
        update={
            "config": trial.config.model_copy(update={"model": model}),
            "labels": {"artist": ["Ann", "Bo"]},
        }
    )
    assert run_trial(told).num_parameters > run_trial(trial).num_parameters


def test_a_trial_of_what_cannot_be_is_the_error_that_it_is(trial):
    training = trial.config.training.model_copy(update={"device": "cuda:77"})
    bad = trial.model_copy(update={"config": trial.config.model_copy(update={"training": training})})
    with pytest.raises(ConfigError, match="cuda:77"):
        run_trial(bad)


def test_a_trial_that_is_killed_says_what_may_be_done(trial):
    def kill():
        wait_for(children)
        children()[0].kill()

    threading.Thread(target=kill).start()
    with pytest.raises(TrainingStoppedError, match=r"try drums.*free some memory"):
        run_trial(trial.model_copy(update={"seconds": 60}))
