"""A benchmark's object as a table for people."""

from typing import Any

from rich.console import Console
from rich.table import Table

SIGNS = {"at_least": "≥", "at_most": "≤"}


def print_table(run: dict[str, Any], console: Console) -> None:
    """Print what `harness.describe_run` returns."""
    machine = run["machine"]
    title = f"{run['benchmark']}: {machine['cores']} cores of {machine['processor']}"
    table = Table(title=title, title_justify="left")
    for column in ("case", "unit", "value", "baseline", "its value", "ratio", "target"):
        table.add_column(column, justify="right" if column in ("value", "its value", "ratio") else "left")
    for result in run["results"]:
        table.add_row(
            result["case"],
            result["unit"],
            _short(result["value"]),
            result["baseline"],
            _short(result["baseline_value"]),
            f"{result['ratio']:.2f}",
            _target(result),
        )
    console.print(table)
    missed = [result["case"] for result in run["results"] if result.get("met") is False]
    if missed:
        console.print(f"[red]missed:[/red] {', '.join(missed)}")


def _target(result: dict[str, Any]) -> str:
    if "met" not in result:
        return result.get("note", "")
    bounds = [f"{sign} {result[key]:g}" for key, sign in SIGNS.items() if key in result]
    verdict = "[green]met" if result["met"] else "[red]MISSED"
    return f"{' and '.join(bounds)} {verdict}"


def _short(value: float) -> str:
    """Three or four digits and the size: 12.3 M."""
    for size, sign in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{sign}"
    return f"{value:.4g}"
