"""The command line: `python -m benchmarks NAME`."""

import argparse
import importlib
import json
import pkgutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console

import benchmarks
from benchmarks.harness import Result, Setting, describe_run
from benchmarks.report import print_table

TOOLS = {"__main__", "harness", "report", "music", "players", "reading", "steps", "workload"}
FILE_WIDTH = 160  # columns of a table in a file, which nobody has to fold


def benchmark_names() -> list[str]:
    """All benchmarks there are: each module of this package that is no tool of theirs."""
    names = {module.name for module in pkgutil.iter_modules(benchmarks.__path__)}
    return sorted(names - TOOLS)


def main(arguments: list[str] | None = None) -> int:
    """Run one benchmark. The table goes to stderr where stdout is wanted for JSON."""
    options = _parse(arguments)
    console = Console(stderr=options.json)
    if not console.is_terminal:
        console.width = FILE_WIDTH
    module = importlib.import_module(f"benchmarks.{options.name}")
    with tempfile.TemporaryDirectory(prefix="waveband-benchmark-") as folder:
        setting = Setting(Path(folder), options.quick, options.audio, options.threads)
        results = []
        for result in module.measure(setting):
            results.append(result)
            print(_line(result), file=sys.stderr, flush=True)
    run = describe_run(options.name, results)
    print_table(run, console)
    if options.json:
        print(json.dumps(run, ensure_ascii=False, allow_nan=False))
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks", description=benchmarks.__doc__)
    parser.add_argument("name", choices=benchmark_names())
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="end within a minute, less precise")
    parser.add_argument("--audio", type=Path, help="folder of music; a rendered album if not given")
    parser.add_argument("--threads", type=_count, help="of a training; all cores if not given")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of threads; expected 1 or more")
    return int(text)


def _line(result: Result) -> str:
    verdict = {None: "", True: "met", False: "MISSED"}[result.met]
    note = f"({result.note})" if result.note else ""
    return " ".join(filter(None, (f"{result.case}: {result.ratio:.3g} of {result.baseline}", verdict, note)))


if __name__ == "__main__":
    sys.exit(main())
