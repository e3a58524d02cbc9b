"""What a run has left in its workspace: stages by their locks, results, and what must be equal in the end."""

import fcntl
import os
from pathlib import Path
from typing import Any

from wavenet.files import digest_file, digest_json, read_json
from wavenet.training.metrics import METRICS, SPEED, read_metrics

STAGES = (
    "ingest", "separate", "examine", "floors", "shards", "baselines", "ranges", "prints", "train",
    "likelihood", "generate", "mix",
)  # fmt: skip
"""Tasks in the order of the first of each."""
STARTING, BETWEEN = "starting", "between"


def reached(workspace: Path, since: float) -> dict[str, bool]:
    """Stages that a run begun at that time has come to, and whether each still is under way."""
    stages: dict[str, bool] = {}
    for lock in sorted((workspace / "locks").glob("*-*")):
        stage = lock.name.split("-")[0]
        if stage in STAGES and _changed(lock) >= since:
            done = (workspace / "results" / f"{lock.name}.json").exists()
            stages[stage] = stages.get(stage, False) or not done
    return stages


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def stage_now(workspace: Path, since: float) -> str:
    """The last stage under way."""
    stages = reached(workspace, since)
    under_way = [stage for stage in STAGES if stages.get(stage)]
    return under_way[-1] if under_way else BETWEEN if stages else STARTING


def results(workspace: Path) -> dict[str, tuple[int, str]]:
    """What is finished: when, and the digest of its record, by key."""
    found = {}
    for path in sorted((workspace / "results").glob("[!.]*.json")):
        found[path.stem] = (path.stat().st_mtime_ns, read_json(path)["record"]["digest"])
    return found


def held_locks(workspace: Path) -> list[str]:
    """Locks that somebody holds."""
    return [path.name for path in sorted((workspace / "locks").glob("*")) if _is_held(path)]


def _is_held(path: Path) -> bool:
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(handle)


def outcome(workspace: Path, told: dict[str, Any]) -> dict[str, Any]:
    """All that must be the same after any disturbance. told: what `waveband run --json` printed."""
    sounds = {"mix": told["mix"], **told["stems"]}
    return {
        "records": {key: digest for key, (_, digest) in results(workspace).items()},
        "sounds": {name: digest_file(Path(path)) for name, path in sounds.items()},
        "figures": {"bits": told["bits_per_sample"], "badness": told["badness"]},
        "splits": read_json(workspace / "splits.json"),
        "metrics": _metrics(workspace),
    }


def _metrics(workspace: Path) -> dict[str, list[str]]:
    """The digest of each stem's curve, without what the clock says; of several models all must be equal."""
    curves: dict[str, set[str]] = {}
    for path in (workspace / "store" / "models").glob(f"[!.]*/{METRICS}"):
        rows = [{k: v for k, v in row.items() if k != SPEED} for row in read_metrics(path)]
        curves.setdefault(path.parent.name.split("-")[0], set()).add(digest_json(rows))
    return {stem: sorted(digests) for stem, digests in curves.items()}


def differences(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Where two outcomes part, in words."""
    return [
        f"{what} {key}: {first[what].get(key)} and {second[what].get(key)}"
        for what in first
        for key in sorted({*first[what], *second[what]}, key=str)
        if first[what].get(key) != second[what].get(key)
    ]
