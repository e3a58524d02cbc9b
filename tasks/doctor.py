"""The doctor's report: a row for every path that was found, from the records that the run itself uses.

A view of records, rebuilt in a moment; a folder is named by what is in it:

    output/doctor-NAME-DIGEST/doctor.html, doctor.json, clips/STEM/RATE-LEVELS.wav, cuts/NUMBER-SONG-STEM.flac

The invariant: what it says of a file is what the plan does with it.
"""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from tasks.doctor_copies import with_near_copies
from tasks.doctor_cuts import draw_outlines, find_cuts, write_cuts
from tasks.doctor_others import other_rows, score_rows
from tasks.doctor_songs import outcomes_by_song, song_rows
from tasks.doctor_warnings import report_notes, report_warnings
from tasks.plan import Prepared, usable_seconds
from tasks.records import FloorRecord
from tasks.workspace import Workspace, safe_name
from wavenet.config import Config
from wavenet.data.floors import Floor
from wavenet.evaluation.doctor import DoctorReport, FileReport, count_files, report_json
from wavenet.evaluation.doctor_page import write_doctor_page
from wavenet.evaluation.doctor_words import tell_apart
from wavenet.files import digest_folder, new_folder, publish_folder, write_json

PAGE, JSON = "doctor.html", "doctor.json"


class DoctorOutput(BaseModel):
    """Where the report lies, and what it says; there its page is an absolute path."""

    model_config = ConfigDict(frozen=True)

    page: Path
    json_file: Path
    report: DoctorReport


def make_report(
    place: Workspace, title: str, prepared: Prepared, floors: Mapping[str, FloorRecord], config: Config
) -> DoctorOutput:
    """Write the report of an input, whole or not at all."""
    with new_folder(place.output, "doctor") as folder:
        cuts = find_cuts(prepared, config)
        files = _rows(place, prepared, write_cuts(place, cuts, folder), config)
        quantization = _copy_clips(place, floors, folder)
        report = DoctorReport(
            title=title,
            files=files,
            totals=count_files(files, usable_seconds(prepared.plan, config)),
            quantization=quantization,
            warnings=report_warnings(prepared, files, quantization, config),
            config_yaml=yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
            notes=report_notes(prepared.plan),
            layout=prepared.scan.layout,
            layout_guessed=config.ingest.layout == "auto" and prepared.scan.layout != "manifest",
            page=PAGE,
        )
        write_json(folder / JSON, report_json(report))
        write_doctor_page(report, draw_outlines(place, cuts), folder / PAGE)
        digest = digest_folder(folder, [JSON, PAGE])
        destination = place.output / f"doctor-{safe_name(title) or 'input'}-{digest[:8]}"
        publish_folder(folder, destination)
    place.share(destination)
    return DoctorOutput(
        page=destination / PAGE,
        json_file=destination / JSON,
        report=replace(report, page=str(destination / PAGE)),
    )


def _rows(place: Workspace, prepared: Prepared, clips: Mapping[str, str], config: Config) -> list[FileReport]:
    """The rows of every path that was found. clips: of what would be cut, by song/stem."""
    outcomes = outcomes_by_song(prepared)
    rows = [
        row
        for one in prepared.ingested
        for row in song_rows(one, prepared, outcomes.get(one.track.name, []), clips, config)
    ]
    rows += [*score_rows(prepared, config), *other_rows(prepared)]
    rows = sorted(tell_apart(rows), key=lambda row: (row.path, row.stream or 0, row.start or 0.0, row.part))
    return with_near_copies(rows, place, prepared)


def _copy_clips(place: Workspace, floors: Mapping[str, FloorRecord], folder: Path) -> list[Floor]:
    """The clips of all settings into the report's folder, and their rows."""
    rows: list[Floor] = []
    for number, (stem, record) in enumerate(floors.items()):
        clips = Path("clips", f"{number}-{safe_name(stem)}".rstrip("-"))
        shutil.copytree(place.path(record.folder), folder / clips)
        rows += [replace(floor, clip=(clips / floor.clip).as_posix()) for floor in record.floors]
    return rows
