"""The output folder: mix, stems and listening page under names a person would choose.

    output/NAME-DIGEST/mix.wav, stems/STEM.wav, stems/STEM.wav.scores.json, report.html, config.yaml

Not a cached task: it is a view of records, rebuilt in a moment. A folder is named by what is in it,
so nothing is ever overwritten, and an older mix can be heard beside a newer one.
"""

import shutil
from collections.abc import Collection
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from tasks.generate import MEL, ONSETS, REFERENCE, TAKE, picture_of
from tasks.mix import MIX, MIX_MEL
from tasks.plan import BandPlan, PlannedTrack, StemOutcome
from tasks.records import BaselinesRecord, MixRecord, ModelRecord, ShardsRecord, TakeRecord
from tasks.train import LOSS_CURVE
from tasks.workspace import Workspace, safe_name
from wavenet.config import Config
from wavenet.data.shards.format import read_manifest
from wavenet.evaluation.listening_page import ListeningPage, StemSection, write_listening_page
from wavenet.evaluation.take_scores import SCORES, read_scores, scores_of, write_scores
from wavenet.evaluation.take_table import take_table
from wavenet.files import digest_folder, new_folder, publish_folder
from wavenet.session.job import SAMPLES

REPORT, CONFIG = "report.html", "config.yaml"
MOST_SHOWN = 6
"""Takes of a stem's training that the page holds; all lie beside its model."""


class StemRecords(BaseModel):
    """All that was made of one stem."""

    model_config = ConfigDict(frozen=True)

    shards: ShardsRecord
    baselines: BaselinesRecord
    model: ModelRecord
    take: TakeRecord


class Output(BaseModel):
    """Where the results for people lie."""

    model_config = ConfigDict(frozen=True)

    mix: Path
    stems: dict[str, Path]
    report: Path


def publish_output(
    workspace: Workspace,
    name: str,
    config: Config,
    plan: BandPlan,
    band: dict[str, StemRecords],
    mix: MixRecord,
) -> Output:
    """Write the output folder of a run, whole or not at all."""
    with new_folder(workspace.output, "output") as folder:
        shutil.copy(workspace.path(mix.folder) / MIX, folder / MIX)
        (folder / "stems").mkdir()
        files = {stem: f"stems/{file}.wav" for stem, file in _file_names(band).items()}
        for stem, records in band.items():
            take = workspace.path(records.take.folder)
            shutil.copy(take / TAKE, folder / files[stem])
            _copy_scores(take, folder / files[stem])
        settings = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        (folder / CONFIG).write_text(settings, encoding="utf-8")
        page = _page(workspace, name, config, plan, band, mix, settings)
        write_listening_page(page, folder / REPORT)
        digest = digest_folder(folder, [MIX, REPORT, *files.values()])
        place = workspace.output / f"{safe_name(name) or 'run'}-{digest[:8]}"
        publish_folder(folder, place)
    workspace.share(place)
    stems = {stem: place / file for stem, file in files.items()}
    return Output(mix=place / MIX, stems=stems, report=place / REPORT)


def _copy_scores(take: Path, sound: Path) -> None:
    """The scores of a stem's takes beside the one that is here; the others' files are in the store."""
    if scores := read_scores(take / SCORES):
        best, *others = scores.takes
        named = best.model_copy(update={"file": sound.name})
        unnamed = [other.model_copy(update={"file": None}) for other in others]
        write_scores(scores_of(sound), scores.model_copy(update={"takes": [named, *unnamed]}))


def _file_names(stems: Collection[str]) -> dict[str, str]:
    """A file name for each stem: its own if all are plain ASCII, else numbered so that none collide."""
    if all(safe_name(stem) == stem for stem in stems):
        return {stem: stem for stem in stems}
    return {stem: f"{number}-{safe_name(stem)}".rstrip("-") for number, stem in enumerate(stems)}


def _page(
    workspace: Workspace,
    name: str,
    config: Config,
    plan: BandPlan,
    band: dict[str, StemRecords],
    mix: MixRecord,
    settings: str,
) -> ListeningPage:
    folder = workspace.path(mix.folder)
    return ListeningPage(
        title=name,
        mix=folder / MIX,
        mix_mel=folder / MIX_MEL,
        mix_loudness_lufs=mix.loudness_lufs,
        sample_rate=config.ingest.sample_rate,
        seconds=config.generation.seconds,
        clip_mode=config.mix.clip_mode,
        stems=[_section(workspace, config, stem, records) for stem, records in band.items()],
        tracks=_tracks(plan),
        set_aside=plan.dropped,
        notes=plan.notes,
        config_yaml=settings,
    )


def _section(workspace: Workspace, config: Config, stem: str, records: StemRecords) -> StemSection:
    manifest = read_manifest(workspace.path(records.shards.folder))
    take, model = workspace.path(records.take.folder), workspace.path(records.model.folder)
    mine = config.for_stem(stem)
    heard = records.take.has_reference
    return StemSection(
        stem=stem,
        heldout_bits=records.model.heldout_bits,
        baselines=records.baselines.bits,
        quantization_snr_db=manifest.quantization_snr_db,
        train_seconds=manifest.num_samples("train") / manifest.sample_rate,
        heldout_seconds=manifest.num_samples("heldout") / manifest.sample_rate,
        steps=mine.training.steps,
        num_parameters=records.model.num_parameters,
        receptive_field_seconds=mine.model.receptive_field / manifest.sample_rate,
        take=take / TAKE,
        take_mel=picture_of(take / TAKE, MEL),
        take_onsets=picture_of(take / TAKE, ONSETS),
        reference=take / REFERENCE if heard else None,
        reference_mel=picture_of(take / REFERENCE, MEL) if heard else None,
        reference_onsets=picture_of(take / REFERENCE, ONSETS) if heard else None,
        loss_curve=model / LOSS_CURVE,
        gain_db=config.mix.gains_db.get(stem, 0.0),
        on_the_way=_on_the_way(model),
        scores=take_table(scores) if (scores := read_scores(take / SCORES)) else None,
    )


def _on_the_way(model: Path) -> list[tuple[int, Path, Path]]:
    """Step, sound and picture of the first seed's takes while the model learned, spread over its steps."""
    steps = sorted((model / SAMPLES).glob("step-*"))
    count = min(len(steps), MOST_SHOWN)
    chosen = [steps[(i + 1) * len(steps) // count - 1] for i in range(count)]
    found = [(int(step.name.removeprefix("step-")), sorted(step.glob("*.wav"))[0]) for step in chosen]
    return [(step, wav, wav.with_suffix(".png")) for step, wav in found]


def _tracks(plan: BandPlan) -> list[tuple[str, str]]:
    """Each track once: how it was used, how much of it, its stems, what they leave of the mixture."""
    used: dict[str, list[StemOutcome]] = {}
    for outcome in plan.outcomes:
        if outcome.verdict != "dropped":
            used.setdefault(outcome.song, []).append(outcome)
    planned = {track.record.name: track for tracks in plan.stems.values() for track in tracks}
    return [(song, _track_note(outcomes, planned[song])) for song, outcomes in sorted(used.items())]


def _track_note(outcomes: list[StemOutcome], planned: PlannedTrack) -> str:
    split = {"heldout": "held out", "test": "test"}.get(planned.split, "train")
    kept = max(outcome.kept_seconds for outcome in outcomes)
    note = f"{split}{', its end held out' if planned.end_heldout else ''}, {kept:.1f} s"
    note += f", {', '.join(outcome.stem for outcome in outcomes)}"
    residual = planned.record.track.residual_db
    return note if residual is None else f"{note}; mixture minus stems {residual:.0f} dB"
