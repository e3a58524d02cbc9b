"""Two processes give the gradients of one with their batches together, and go on from one checkpoint."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.wavenet.model.variants import make_variant, make_windows
from wavenet.errors import TrainingStoppedError
from wavenet.training import CHECKPOINTS
from wavenet.training.likelihood import fast_loss
from wavenet.training.loop import train_model
from wavenet.training.windows import Windows

WORKER = """
import sys
import torch
from safetensors.torch import save_file
from tests.wavenet.model.variants import make_variant, make_windows
from wavenet.training.likelihood import fast_loss
from wavenet.training.ranks import join_ranks
from wavenet.training.windows import Windows

torch.set_num_threads(1)
with join_ranks() as ranks:
    model = make_variant("all at once")
    fed = make_windows(model, batch=4)
    mine = Windows(fed.codes, fed.condition).select(slice(ranks.rank, None, ranks.world))
    loss = fast_loss(model, mine, fed.masks[ranks.rank :: ranks.world])
    (loss * len(mine.codes) / 4).backward()
    ranks.sum_gradients(model.parameters())
    assert ranks.any(ranks.rank == 1, torch.device("cpu"))
    assert not ranks.any(False, torch.device("cpu"))
    assert sum(ranks.share(5) for _ in [0]) == (3 if ranks.leads else 2)
    gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    save_file(gradients, f"{sys.argv[1]}/{ranks.rank}.safetensors")
"""

FAILING = """
import os
import sys
import time
import torch
from wavenet.training.ranks import join_ranks

rank = None
try:
    with join_ranks() as ranks:
        rank = ranks.rank
        if rank == 1:
            raise ValueError("too few windows")
        ranks.sum(torch.ones(1))
except Exception as error:
    if rank == 1:
        time.sleep(1)  # the other would have time to speak first
    with open(f"{sys.argv[1]}/said.txt", "a") as said:
        said.write(type(error).__name__ + " ")
os._exit(0)  # as a session does
"""

BEHIND = """
import os
import shutil
import sys
import time
from pathlib import Path
from safetensors.torch import save_file
from tests.small_training import small_config
from wavenet.errors import WavebandError
from wavenet.training import CHECKPOINTS, checkpoint
from wavenet.training.loop import train_model
from wavenet.training.ranks import join_ranks

folder = Path(sys.argv[1])

class Waiting:
    monotonic = time.monotonic

    def sleep(seconds):  # meanwhile it comes
        shutil.copytree(folder / "0" / CHECKPOINTS, seen / CHECKPOINTS)

with join_ranks() as ranks:
    seen = folder / str(ranks.rank)
    train = lambda: train_model(folder / "shards", seen, small_config(), ranks=ranks)
    if not ranks.leads:
        checkpoint.time = Waiting
    trained = train()
    save_file(trained.model.state_dict(), folder / f"{ranks.rank}.safetensors")
    checkpoint.WAIT_SECONDS = 0
    if not ranks.leads:
        shutil.rmtree(seen, ignore_errors=True)
    try:
        train()
    except WavebandError as error:
        (folder / "said.txt").write_text(str(error))
    except RuntimeError:  # the other is gone
        assert ranks.leads
os._exit(0)  # as a session does
"""


def start_two(folder: Path, program: str) -> None:
    """Run a program as two processes of torchrun, which is given the folder."""
    worker = folder / "worker.py"
    worker.write_text(program)
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, str(worker), str(folder)], check=True, env=environment, timeout=120)


def test_who_fails_says_so_before_the_others_fail_for_want_of_it(tmp_path):
    start_two(tmp_path, FAILING)
    assert (tmp_path / "said.txt").read_text().split()[0] == "ValueError"


def test_ranks_go_on_from_the_checkpoint_of_the_first_and_say_so_where_it_does_not_come(
    shard_folder, config, tmp_path
):
    """Each has a folder of its own here, as one that sees an older listing seems to have."""
    asked = iter([False] * 6 + [True])
    with pytest.raises(TrainingStoppedError):
        train_model(shard_folder, tmp_path / "0", config, should_stop=lambda: next(asked))
    (tmp_path / "shards").symlink_to(shard_folder)
    start_two(tmp_path, BEHIND)
    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    said = (tmp_path / "said.txt").read_text()
    assert f"1/{CHECKPOINTS}/step-00000024: the first rank goes on from it, and rank 1 cannot read it" in said


def test_two_gloo_processes_give_the_gradients_of_one_with_the_doubled_batch(tmp_path):
    start_two(tmp_path, WORKER)
    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in (0, 1))
    model = make_variant("all at once")
    fed = make_windows(model, batch=4)
    fast_loss(model, Windows(fed.codes, fed.condition), fed.masks).backward()
    for name, weight in model.named_parameters():
        if weight.grad is not None:
            assert torch.equal(first[name], second[name]), name
            torch.testing.assert_close(first[name], weight.grad, rtol=1e-5, atol=1e-6)
