"""Runs and champions in the terminal: the comparison that MLflow's page shows.

Knows nothing of MLflow but what `tasks.tracking` reads of it.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from flows.printing import print_some, print_tables, printable
from tasks.remote import workspace_at
from tasks.tracking import promote_stems, read_runs, sync_outboxes, ui_command
from tasks.tracking.outbox import folders_of, is_under_way
from tasks.tracking.promotion import Version
from tasks.tracking.reading import PipelineRun, StemRun, differing_params
from tasks.tracking.registry import StemVerdict

HEAD = ["Stem", "Bits", "Simple", "Against it", "Steps", "Rate", "Levels", "Badness", "Model"]
FINISHED = "FINISHED"
Table = tuple[str, list[str], list[list[str]]]


def show_runs(
    workspace: str | Path, stem: str | None, most: int, params: bool, sync: bool, as_json: bool
) -> None:
    """Print the newest runs, the champions among them, and which settings differ."""
    place = workspace_at(workspace)
    if sync:
        sync_outboxes(place, lambda line: print(f"sync    {printable(line)}"))
    runs = read_runs(place, stem, most)
    if runs:
        print("Bits per held-out sample (lower is better), the newest run first")
        print_tables(runs_tables(runs))
        if params:
            print_tables(params_tables(runs))
    else:
        whose = f" of {printable(stem)}" if stem else ""
        print(f"no runs{whose} yet; `waveband run --input FOLDER` makes one")
    if waiting := [folder for folder in folders_of(place) if not is_under_way(folder)]:
        print(f"note  MLflow has not been told all of {len(waiting)} runs; `waveband runs --sync` tells it")
    print(f"look    {ui_command(place)}")
    if as_json:
        print(json.dumps({"runs": [run.model_dump() for run in runs]}, ensure_ascii=False))


def runs_tables(runs: Sequence[PipelineRun]) -> Iterator[Table]:
    """A table a run, called by its number, name and day, with a row a stem."""
    for place, run in enumerate(runs, 1):
        began = datetime.fromtimestamp(run.began / 1000).strftime("%Y-%m-%d %H:%M")
        state = "" if run.status == FINISHED else f", {run.status.lower()}"
        yield printable(f"{place}: {run.name}, {began}{state}"), HEAD, list(map(stem_cells, run.stems))


def stem_cells(stem: StemRun) -> list[str]:
    """What compares stems of different runs."""
    bits, best = stem.heldout_bits, stem.best_simple
    return [
        stem.stem,
        number(bits, ".3f"),
        number(best, ".3f"),
        f"{bits / best - 1:+.0%}" if bits is not None and best else "",
        number(stem.steps, "d"),
        number(stem.sample_rate, "d"),
        number(stem.levels, "d"),
        number(stem.badness, ".2f"),
        ", ".join(model_words(stem)),
    ]


def model_words(stem: StemRun) -> Iterator[str]:
    """What is to be known of its model."""
    if stem.version:
        yield f"v{stem.version.rpartition('/')[2]}"
    if stem.champion:
        yield "champion"
    if stem.reused:
        yield "reused"
    if stem.status != FINISHED:
        yield stem.status.lower()


def number(value: float | None, form: str) -> str:
    """A number, or nothing where it is not known."""
    return "" if value is None else format(value, form)


def params_tables(runs: Sequence[PipelineRun]) -> Iterator[Table]:
    """Of each stem, the settings that are not the same in all runs: a column a run, by its number."""
    stems = [(place, stem) for place, run in enumerate(runs, 1) for stem in run.stems]
    for name in sorted({stem.stem for _, stem in stems}):
        mine = [(place, stem) for place, stem in stems if stem.stem == name]
        rows = [[key, *values] for key, values in differing_params([stem for _, stem in mine]).items()]
        told = printable(name)
        title = f"Settings of {told} that differ" if rows else f"No setting of {told} differs"
        yield title, ["Setting", *(f"run {place}" for place, _ in mine)], rows


def promote(workspace: str | Path, stems: Sequence[str], force: bool, as_json: bool) -> bool:
    """Print which versions became champions and why. Returns whether none was refused."""
    verdicts = promote_stems(workspace_at(workspace), stems, force)
    print_some(printable(verdict_line(one)) for one in verdicts)
    if as_json:
        print(json.dumps({"stems": [verdict_json(one) for one in verdicts]}, ensure_ascii=False))
    return not any(one.verdict.refused for one in verdicts)


def verdict_line(one: StemVerdict) -> str:
    """As `drums  version 3 is the champion: 2.307 bits, before 2.412 (version 1); 0.105 bits fewer`."""
    verdict = one.verdict
    if verdict.champion is None:
        return f"{one.stem:<12} {verdict.reason}"
    told = f"{one.stem:<12} version {verdict.champion.number} {'is' if verdict.changed else 'stays'} the "
    told += f"champion: {verdict.champion.bits:.3f} bits"
    if verdict.changed and verdict.before:
        told += f", before {verdict.before.bits:.3f} (version {verdict.before.number})"
    return f"{told}; {verdict.reason}"


def verdict_json(one: StemVerdict) -> dict[str, object]:
    """The same for scripts."""
    verdict = one.verdict
    return {
        "stem": one.stem,
        "champion": version_json(verdict.champion),
        "before": version_json(verdict.before),
        "changed": verdict.changed,
        "refused": verdict.refused,
        "reason": verdict.reason,
    }


def version_json(version: Version | None) -> dict[str, object] | None:
    """A version and its bits."""
    return (
        None
        if version is None
        else {"version": version.number, "bits": version.bits, "digest": version.digest}
    )
