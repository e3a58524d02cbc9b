"""What a run's page shows of all of it: the doctor's table at its beginning, what came of it at its end.

Knows nothing of how artifacts are sent. The invariant: all that is shown is in the report and the records,
where it can be read without Prefect.
"""

import json
from functools import partial

from tasks.artifact_board import Content
from tasks.artifact_words import cell, code, escape, link, picture, table
from tasks.artifacts import close_artifacts, run_artifact
from tasks.doctor import DoctorOutput
from tasks.links import describe_start
from tasks.mix import MIX_MEL
from tasks.publish import Output, StemRecords
from tasks.records import MixRecord
from tasks.tracking import RunPage, find_page
from tasks.workspace import Workspace
from wavenet.evaluation.doctor import DoctorReport
from wavenet.evaluation.doctor_tables import SPLIT_NAMES, find_splits, format_music, list_files
from wavenet.evaluation.doctor_words import format_counts
from wavenet.evaluation.listening_page import UNKNOWN, format_number, format_share

MOST_FILES, MOST_LINES = 500, 8


def show_doctor(output: DoctorOutput) -> None:
    """The doctor's files as a table; above it what they come to, warnings, and where the report lies."""
    run_artifact("table", "doctor").show(partial(describe_report, output), soon=True)


def describe_report(output: DoctorOutput) -> Content:
    """What is shown of a report."""
    report = output.report
    head, rows = list_files(report, MOST_FILES)
    cells = [dict(zip(head, map(cell, row), strict=True)) for row in rows]
    told = [format_counts(report), *limit([f"Warning: {one}" for one in report.warnings], "warnings")]
    told += limit(describe_music(report), "stems")
    lines = [*(escape(line) for line in told), f"Report: {code(str(output.page))}"]
    return Content(json.dumps(cells), "\n\n".join(lines))


def describe_music(report: DoctorReport) -> list[str]:
    """How much of each stem there is to train on, and how much is held out."""
    names = {split: SPLIT_NAMES.get(split, split).lower() for split in find_splits(report)}
    lines = []
    for stem, lengths in report.totals.seconds.items():
        told = [f"{name} {format_music(lengths.get(split, 0.0))}" for split, name in names.items()]
        lines.append(f"{stem}: {', '.join(told)}")
    return lines


def limit(lines: list[str], noun: str) -> list[str]:
    """The first lines, and how many more there are."""
    more = len(lines) - MOST_LINES
    return [*lines[:MOST_LINES], f"and {more} {noun} more, in the report"] if more > 0 else lines


def show_band(
    workspace: Workspace,
    name: str,
    band: dict[str, StemRecords],
    mix: MixRecord,
    output: Output,
    tracking_run: str | None,
) -> None:
    """A run's result: the mix as a picture, a table of its stems, where all of it is to be heard and seen.

    The last that a run shows; returns when it is there, or nobody can be reached.
    """
    made = partial(describe_band, workspace, name, band, mix, output, tracking_run)
    run_artifact("markdown", "band").show(made, soon=True)
    close_artifacts()


def describe_band(
    workspace: Workspace,
    name: str,
    band: dict[str, StemRecords],
    mix: MixRecord,
    output: Output,
    tracking_run: str | None,
) -> Content:
    """What is shown of a result."""
    loudness = "" if mix.loudness_lufs is None else f", {format_number(mix.loudness_lufs, 1)} LUFS"
    told = f"{escape(name)}: the mix of {len(band)} stems{loudness}"
    mel = picture(workspace.path(mix.folder) / MIX_MEL, "mel spectrogram")
    places = describe_places(output, find_page(workspace, tracking_run))
    return Content("\n\n".join([band_table(band), *places]), f"{mel}\n\n{told}")


def band_table(band: dict[str, StemRecords]) -> str:
    """Each stem's bits, those of the best baseline, and how bad its take is, as markdown."""
    head = ["Stem", "Held-out bits per sample", "Best baseline", "Against it", "Badness of the take"]
    rows = []
    for stem, records in band.items():
        bits, (name, best) = records.model.heldout_bits, records.baselines.bits.best
        badness = UNKNOWN if records.take.badness is None else f"{records.take.badness:.2f}"
        rows.append([escape(stem), f"{bits:.3f}", f"{best:.3f} ({name})", format_share(bits, best), badness])
    return table(head, rows)


def describe_places(output: Output, page: RunPage | None) -> list[str]:
    """Paragraphs of markdown: where the page and the mix lie, and where MLflow has them."""
    lines = [f"Listening page: {code(str(output.report))}", f"Mix: {code(str(output.mix))}"]
    if page is None:
        return lines
    report = link("the listening page", f"{page.url}/artifacts/{output.report.name}")
    return [*lines, f"In MLflow: {link('the run', page.url)}, {report}{describe_start(page)}"]
