"""What Prefect and MLflow add to a run that finds everything done: `waveband run`, and its tasks called.

Each is a process of its own, from its start to its end, on the same workspace, in turn. The one called
directly has no server, no states, no runs: `python -m benchmarks.orchestration INPUT WORKSPACE OVERRIDE ...`.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness import Result, Setting
from wavenet.data.demo_album import write_demo_album

CONFIG = "demo"
SETTINGS = (
    "training.steps=4", "training.heldout_every=4", "training.batch_size=2", "training.scored_length=512",
    "model.dilation_cycle=5", "model.num_cycles=1", "generation.seconds=0.5",
    "segmentation.heldout_share=0.3",
)  # fmt: skip
SONGS, SONG_SECONDS, SAMPLE_RATE = 4, 6.0, 8000
MOST_SECONDS = 10.0


def measure(setting: Setting) -> Iterator[Result]:
    """Seconds that orchestration adds, of how many a cached run takes."""
    album = write_demo_album(
        setting.folder / "album", num_songs=SONGS, seconds=SONG_SECONDS, sample_rate=SAMPLE_RATE
    )
    workspace = setting.folder / "workspace"
    run = ["-m", "flows.cli", "run", "--input", str(album), "--config", CONFIG, "--workspace", str(workspace)]
    direct = ["-m", "benchmarks.orchestration", str(album), str(workspace)]
    first = _seconds([*run, *SETTINGS])
    spent: dict[str, list[float]] = {"run": [], "direct": []}
    for repeat in range(setting.repeats):
        turn = [("run", run), ("direct", direct)]
        for name, command in turn if repeat % 2 else reversed(turn):
            spent[name].append(_seconds([*command, *SETTINGS]))
    whole, alone = (statistics.median(spent[name]) for name in ("run", "direct"))
    case, tasks = "orchestration/cached-run", f"{3 * SONGS} to 40 tasks, all reused"
    yield Result(f"{case}/added", "s", whole - alone, "10 s", MOST_SECONDS, at_most=1.0, note=tasks)
    yield Result(case, "s", whole, "the same tasks, called", alone)
    yield Result("orchestration/first-run", "s", first, "cached", whole)


def _seconds(command: list[str]) -> float:
    hidden = ("PREFECT_", "MLFLOW_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *command], check=True, env=environment, cwd=Path(__file__).parents[1],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return time.perf_counter() - start


class Nobody:
    """In place of a tracker: nothing is told."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


def run_directly(input: str, workspace: Path, overrides: list[str]) -> None:
    """A cached run without Prefect and MLflow, as far as the mix."""
    from flows.again import Again
    from flows.band import Run, gather_inputs, play_band
    from flows.ledger import DirectLedger
    from flows.prepare import open_workspace, prepare_band, write_shard_sets
    from flows.run_request import Request
    from tasks.mix import mix
    from wavenet.data.listing import open_listing

    settings = Request(input=input, config=[CONFIG], overrides=overrides).settings()
    place, ledger = open_workspace(workspace), DirectLedger()
    prepared = prepare_band(place, open_listing(input, place.downloads), settings, ledger)
    shard_sets = write_shard_sets(place, prepared, settings, ledger)
    run = Run(place, settings, {}, ledger, Nobody(), Again(place), may_train=False)  # type: ignore[arg-type]
    takes = {stem: made.take for stem, made in play_band(run, gather_inputs(run, shard_sets)).items()}
    ledger.call(mix, workspace=place, takes=takes, config=settings.mix)
    assert not ledger.ran, f"not cached: {ledger.ran}"


if __name__ == "__main__":
    run_directly(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
