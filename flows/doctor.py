"""The doctor: what happens to each file, and what the chosen setting can sound like, before any training."""

from pathlib import Path

from flows.ledger import DirectLedger, Ledger
from flows.prepare import open_workspace, prepare_band, run_name
from tasks.doctor import DoctorOutput, make_report
from tasks.examine import floor_calls, floors
from tasks.plan import Prepared
from tasks.run_page import show_doctor
from tasks.workspace import Workspace
from wavenet.config import Config, load_config
from wavenet.data.listing import open_listing


def examine_input(input: str, config: list[str], overrides: list[str], workspace: str | Path) -> DoctorOutput:
    """Find, decode and examine an input as a run would, and report. What it decodes, a run need not again.

    Logs nothing to MLflow: `waveband doctor` logs the report to the run that MLFLOW_RUN_ID names, if it is
    set, and `waveband run` to its own (`tasks/tracking/`).
    """
    settings = load_config(config, overrides)
    place = open_workspace(workspace)
    listing = open_listing(input, place.downloads)
    ledger = DirectLedger()
    prepared = prepare_band(place, listing, settings, ledger)
    return report_on(place, run_name(listing, config), prepared, settings, ledger)


def report_on(
    place: Workspace, name: str, prepared: Prepared, settings: Config, ledger: Ledger
) -> DoctorOutput:
    """The report of what was prepared, with the quantization floor of every stem."""
    calls = floor_calls(place, prepared, settings)
    measured = dict(zip(calls, ledger.call_all("floors", floors, list(calls.values())), strict=True))
    output = make_report(place, name, prepared, measured, settings)
    show_doctor(output)
    return output
