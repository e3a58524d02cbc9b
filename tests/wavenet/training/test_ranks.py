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


def test_two_gloo_processes_give_the_gradients_of_one_with_the_doubled_batch(tmp_path):
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER)
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, str(worker), str(tmp_path)], check=True, env=environment, timeout=120)
    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in (0, 1))
    model = make_variant("all at once")
    fed = make_windows(model, batch=4)
    fast_loss(model, Windows(fed.codes, fed.condition), fed.masks).backward()
    for name, weight in model.named_parameters():
        if weight.grad is not None:
            assert torch.equal(first[name], second[name]), name
            torch.testing.assert_close(first[name], weight.grad, rtol=1e-5, atol=1e-6)
