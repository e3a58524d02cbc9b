"""What commands print on standard output: tables, lists that end, names that cannot steer a terminal.

Knows nothing of how the work is done; what is slow to import is imported where it is used.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tasks.progress import clock
from wavenet.training.taken_over import Transfer

if TYPE_CHECKING:
    from flows.band import Evaluation, PipelineResult
    from flows.generating import GeneratedOutput
    from flows.prepare import PreparedShards
    from flows.training import TrainingOutput
    from wavenet.evaluation.comparison import Comparison
    from wavenet.evaluation.doctor import DoctorReport
    from wavenet.evaluation.take_scores import RankedTake

FILE_WIDTH = 160
"""Columns of a table in a file or a pipe, which nobody has to fold."""
MOST_NAMES, MOST_LINES = 3, 20
"""So many names are told of one reason, and so many reasons or notes."""
FIGURES = {"order4": "last 4", "order2": "last 2", "unigram": "unigram", "uniform": "uniform"}
"""Baselines, and what their columns are called."""
TEXT_COLUMNS = {
    "Run",
    "Stem",
    "Model",
    "Verdict",
    "Why",
    "Nearly the same as",
    "Splits",
    "Trouble",
    "Closest in training",
}


def print_result(result: "PipelineResult", workspace: str | Path) -> None:
    """The table of held-out bits, what was set aside, and where everything lies."""
    from tasks.remote import workspace_at
    from tasks.tracking import ui_command

    console = Console(highlight=False, soft_wrap=True)
    table = Table(title="Held-out bits per sample (lower is better)", title_justify="left")
    for column in ("stem", "model", *FIGURES.values(), "model against the best"):
        table.add_column(column, justify="left" if column == "stem" else "right")
    for stem, bits in result.figures.items():
        best = min(bits[name] for name in FIGURES)
        share = f"{bits['heldout'] / best - 1:+.0%}" if best else ""
        table.add_row(stem, *(f"{bits[name]:.3f}" for name in ("heldout", *FIGURES)), share)
    console.print(table)
    told = [f"{printable(stem)} {describe_badness(bad)}" for stem, bad in result.badness.items()]
    print(f"badness of the takes  {', '.join(told)}")
    print_set_aside(result.set_aside)
    print(f"ran {len(result.ran)} tasks, reused {len(result.cached)}")
    print(f"mix     {result.output.mix}")
    for path in result.output.stems.values():
        print(f"stem    {path}")
    print(f"report  {result.output.report}")
    print(f"runs    {ui_command(workspace_at(workspace))}")


def print_evaluation(evaluation: "Evaluation") -> None:
    """Bits per sample of each stem's model on each split, beside context models on held-out audio."""
    bits = evaluation.bits.values()
    splits = [name for name in ("train", "heldout", "test") if any(name in each for each in bits)]
    told = [f"{name}_told_nothing" for name in splits if any(f"{name}_told_nothing" in each for each in bits)]
    names = [*splits, *told, *FIGURES]
    head = [FIGURES.get(name, name.replace("_", " ")) for name in names]
    rows = [
        [stem, *(f"{each[name]:.3f}" if name in each else "" for name in names)]
        for stem, each in evaluation.bits.items()
    ]
    print_tables([("Bits per sample (lower is better)", ["stem", *head], rows)])


def print_prepared(made: "PreparedShards") -> None:
    """What is to be known, what was set aside, and where each stem's shards lie."""
    print_some(f"note  {printable(note)}" for note in made.notes)
    print_set_aside(made.set_aside)
    for stem, place in made.places.items():
        print(f"shards  {printable(stem):<12} {place}")


def describe_badness(badness: float | None) -> str:
    """A number, or that there is none."""
    return "unknown" if badness is None else f"{badness:.2f}"


def print_training(output: "TrainingOutput") -> None:
    """Held-out bits beside the baselines, what was taken over, how long it took, and where the model lies."""
    result = output.result
    bits = {"model": result.heldout_bits, **output.baselines.models}
    told = ", ".join(f"{name} {value:.3f}" for name, value in bits.items())
    print(f"held-out bits per sample of {printable(output.stem)}: {told}")
    if result.transfer:
        print_transfer(Transfer(**result.transfer))
    print(f"trained {result.steps} steps in {clock(result.seconds)}")
    if output.comparison:
        print_comparison(output.comparison)
    print(f"model   {output.model}")
    print(f"out     {output.out}")


def print_transfer(transfer: Transfer) -> None:
    """What was taken over of other weights, and why the rest was not."""
    print(transfer.counts())
    print_some(f"begins fresh  {printable(reason)}" for reason in transfer.reasons())
    if transfer.unused:
        print(f"not used      {name_some(transfer.unused)}")


def print_comparison(comparison: "Comparison") -> None:
    """Transfer and scratch by step, and what came of it."""
    table = Table(title="Held-out bits per sample (lower is better)", title_justify="left")
    for column in ("steps", "transfer", "scratch", "difference"):
        table.add_column(column, justify="right")
    for look in comparison.looks:
        cells = ((look.transfer, ".3f"), (look.scratch, ".3f"), (look.difference, "+.3f"))
        table.add_row(
            str(look.step), *("" if value is None else format(value, form) for value, form in cells)
        )
    final = (comparison.transfer_final, comparison.scratch_final)
    table.add_section()
    table.add_row("at the end, all", *(f"{bits:.3f}" for bits in final), f"{final[0] - final[1]:+.3f}")
    Console(highlight=False, soft_wrap=True).print(table)
    print(comparison.sentence())


def training_summary(output: "TrainingOutput") -> dict[str, object]:
    """The object that `train --json` prints."""
    return {
        "stem": output.stem,
        "model": str(output.model),
        "out": str(output.out),
        **output.result.model_dump(),
        "baselines": output.baselines.model_dump(),
        "comparison": output.comparison.as_json() if output.comparison else None,
    }


def print_generated(made: "GeneratedOutput") -> None:
    """The files, the best first, what trouble each take was in, and the scores of all."""
    for one in made.takes:
        restarts = sum(incident["restarted"] for incident in one.incidents)
        unwatched = ", let go on in trouble" if restarts < len(one.incidents) else ""
        trouble = f"begun again {restarts} times{unwatched}" if one.incidents else "no trouble"
        print(f"take    {printable(str(one.file))}  (take {one.take}, {trouble})")
    if made.scores is None:
        print(f"not scored: {printable(made.unscored or '')}")
        return
    from wavenet.evaluation.take_table import short_table

    print_tables([("Takes, the best first (badness: lower is better)", *short_table(made.scores))])
    print(f"scores  {printable(str(made.scores_file))}")


def generated_summary(made: "GeneratedOutput") -> dict[str, object]:
    """The object that `generate --json` prints: of the scores what the table has."""
    told = made.model_dump(mode="json", exclude={"scores"})
    scores = None if made.scores is None else [summarize_score(one) for one in made.scores.takes]
    return {**told, "scores": scores}


def summarize_score(one: "RankedTake") -> dict[str, object]:
    """What of a take's score fits on a line."""
    memory, figures = one.memory, ("level_db", "onsets_per_second")
    return {
        **one.model_dump(include={"take", "rank", "file", "badness", "restarts", "let_go_seconds"}),
        **{name: one.figures[name].value for name in figures},
        "closest": memory.closest.model_dump() if memory and memory.closest else None,
        "verdict": memory.verdict if memory else None,
    }


def print_report(report: "DoctorReport") -> None:
    """The doctor's tables: what there is to train on, every file that is not whole, the floor."""
    from wavenet.evaluation.doctor_page import doctor_table

    print_tables(doctor_table(report))
    print_warnings(report.warnings)


def print_tables(tables: Iterable[tuple[str, list[str], list[list[str]]]]) -> None:
    """Tables of a title, a head and rows of plain text."""
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = FILE_WIDTH
    for title, head, rows in tables:
        table = Table(title=title, title_justify="left")
        for number, column in enumerate(head):
            words = number == 0 or column in TEXT_COLUMNS
            table.add_column(column, justify="left" if words else "right", overflow="fold")
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        console.print(table)


def print_warnings(warnings: Iterable[str]) -> None:
    """A line a warning."""
    for warning in warnings:
        print(f"warning  {printable(warning)}")


def print_set_aside(set_aside: list[tuple[str, str]]) -> None:
    """What was not used, by the reasons why; of files that are no audio by their name the first are named."""
    from wavenet.data.layouts.accounts import NOT_AUDIO

    names: dict[str, list[str]] = {}
    for name, reason in set_aside:
        names.setdefault(NOT_AUDIO if reason.startswith(NOT_AUDIO) else reason, []).append(name)
    others = names.pop(NOT_AUDIO, [])
    print_some(f"set aside  {name_some(mine)}: {printable(reason)}" for reason, mine in names.items())
    if set_aside:
        no_audio = f", {len(others)} of them not audio by their name ({name_some(others)})" if others else ""
        print(f"set aside  {len(set_aside)} in all{no_audio}; `waveband doctor` shows each")


def name_some(names: list[str]) -> str:
    """The first names, and how many more."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(map(printable, names[:MOST_NAMES])) + more


def print_some(lines: Iterable[str]) -> None:
    """The first lines, and how many more."""
    lines = list(lines)
    for line in lines[:MOST_LINES]:
        print(line)
    if len(lines) > MOST_LINES:
        print(f"and {len(lines) - MOST_LINES} more such lines")


def printable(text: str) -> str:
    """A name as one line that cannot steer a terminal."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def summary(result: "PipelineResult") -> dict[str, object]:
    """The object that --json prints."""
    return {
        "mix": str(result.output.mix),
        "stems": {stem: str(path) for stem, path in result.output.stems.items()},
        "report": str(result.output.report),
        "bits_per_sample": result.figures,
        "badness": result.badness,
        "ran": result.ran,
        "cached": result.cached,
    }
