"""Two processes give the gradients of one with their batches together."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.wavenet.model.variants import make_variant, make_windows
from wavenet.training.likelihood import fast_loss
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
