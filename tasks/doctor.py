"""The doctor's report: a row for every path that was found, from the records that the run itself uses.

A view of records, rebuilt in a moment; a folder is named by what is in it:

    output/doctor-NAME-DIGEST/doctor.html, doctor.json, clips/STEM/RATE-LEVELS.wav, cuts/NUMBER-SONG-STEM.flac

The invariant: what it says of a file is what the plan does with it.
"""

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from tasks.examine import Excerpt
from tasks.plan import BandPlan, IngestedSong, Prepared, StemOutcome
from tasks.records import FloorRecord, TrackRecord
from tasks.workspace import Workspace, safe_name
from wavenet.audio.decoding import AudioFacts, AudioSource
from wavenet.audio.fingerprint import NearDuplicate, find_near_duplicates
from wavenet.audio.io import envelope_hop
from wavenet.config import Config
from wavenet.data.examination import Examination, load_print
from wavenet.data.floors import EXCERPT_SECONDS, Floor
from wavenet.data.splits import ALL_SPLITS, split_segments
from wavenet.data.tracks import (
    AT_FULL_SCALE,
    CLIPPED_TO_TELL,
    WITHOUT_MIXTURE,
    StemAudio,
    Track,
    load_envelope,
)
from wavenet.evaluation.doctor import (
    DoctorReport,
    FileReport,
    NearCopy,
    StemReport,
    Totals,
    report_json,
)
from wavenet.evaluation.doctor_cuts import find_loudest, outline, write_cut
from wavenet.evaluation.doctor_page import write_doctor_page
from wavenet.evaluation.doctor_tables import find_near_pairs
from wavenet.files import digest_folder, digest_json, new_folder, publish_folder, write_json

PAGE, JSON = "doctor.html", "doctor.json"
EXCERPTS = 3
MOST_CUTS = 400
"""As many stems have a clip of what would be cut: those of which it is most."""
DC_TO_TELL = 0.01


class DoctorOutput(BaseModel):
    """Where the report lies, and what it says."""

    model_config = ConfigDict(frozen=True)

    page: Path
    json_file: Path
    report: DoctorReport


def choose_excerpts(place: Workspace, prepared: Prepared) -> dict[str, list[Excerpt]]:
    """For each stem the loudest seconds of a few of its tracks, in the files they came from."""
    chosen: dict[str, list[Excerpt]] = {stem: [] for stem in prepared.plan.stems}
    kept = {(one.song, one.stem) for one in prepared.plan.outcomes if one.verdict != "dropped"}
    for one in sorted(prepared.ingested, key=lambda one: one.track.track.track_id):
        for stem, audio in one.track.track.stems.items():
            if (one.track.name, stem) in kept and len(chosen[stem]) < EXCERPTS:
                chosen[stem].append(_excerpt(place, one, stem, audio))
    return chosen


def _excerpt(place: Workspace, one: IngestedSong, stem: str, audio: StemAudio) -> Excerpt:
    folder = place.path(one.track.folder)
    source = one.song.song.stems[stem][0] if audio.facts else AudioSource(folder / audio.file)
    frame_seconds = envelope_hop(one.track.track.sample_rate) / one.track.track.sample_rate
    loudest = find_loudest(load_envelope(folder / audio.envelope_file), frame_seconds, EXCERPT_SECONDS)
    begin = source.start + round(loudest, 2)
    end = begin + EXCERPT_SECONDS if source.end is None else min(begin + EXCERPT_SECONDS, source.end)
    digest = digest_json([audio.source_digest, begin, end])
    return Excerpt(digest=digest, source=replace(source, start=begin, end=end))


def make_report(
    place: Workspace, title: str, prepared: Prepared, floors: Mapping[str, FloorRecord], config: Config
) -> DoctorOutput:
    """Write the report of an input, whole or not at all."""
    with new_folder(place.output, "doctor") as folder:
        cuts = _find_cuts(prepared, config)
        files = _rows(place, prepared, _write_cuts(place, cuts, folder), config)
        report = DoctorReport(
            title=title,
            files=files,
            totals=_totals(files, prepared.plan, config),
            quantization=_copy_clips(place, floors, folder),
            warnings=_warnings(prepared.plan, files),
            config_yaml=yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
        )
        write_json(folder / JSON, report_json(report))
        write_doctor_page(report, _outlines(place, cuts), folder / PAGE)
        digest = digest_folder(folder, [JSON, PAGE])
        destination = place.output / f"doctor-{safe_name(title) or 'input'}-{digest[:8]}"
        publish_folder(folder, destination)
    return DoctorOutput(page=destination / PAGE, json_file=destination / JSON, report=report)


def _rows(place: Workspace, prepared: Prepared, clips: Mapping[str, str], config: Config) -> list[FileReport]:
    """A row for every path that was found. clips: of what would be cut, by song/stem."""
    copies = _near_copies(place, prepared)
    rows = [row for one in prepared.ingested for row in _song_rows(one, prepared, copies, clips, config)]
    read = "read for what it says of the songs"
    rows += [FileReport(path=name, verdict="kept", reason=read) for name in prepared.scan.metadata]
    rows += [
        FileReport(path=path, verdict="dropped", reason=reason) for path, reason in prepared.plan.set_aside
    ]
    return sorted(rows, key=lambda row: row.path)


def _song_rows(
    one: IngestedSong,
    prepared: Prepared,
    copies: Mapping[str, list[NearCopy]],
    clips: Mapping[str, str],
    config: Config,
) -> list[FileReport]:
    """A row for each file of a song."""
    song, decoded = one.song.song, one.decoded.track
    mine = [outcome for outcome in prepared.plan.outcomes if outcome.song == one.track.name]
    heard = prepared.examinations.get(one.track.track.track_id)
    rows = []
    for stem, sources in song.stems.items():
        outcomes = [outcome for outcome in mine if outcome.stem == stem] or mine  # mine: it was separated
        loudness = _loudness(stem, heard.examination) if heard else None
        near = _best_of_each([copy for outcome in outcomes for copy in copies.get(outcome.name, [])])
        facts = decoded.stems[stem].facts if stem in decoded.stems else []
        stems = [_stem_report(outcome, clips.get(outcome.name)) for outcome in outcomes]
        for source, fact in zip_longest(sources, facts):
            row = _row(prepared.name_of(source.path), one.track.name, outcomes, fact, config)
            told = [*row.warnings, *_separation_notes(one.track.track)]
            rows.append(
                replace(row, loudness_lufs=loudness, near_duplicates=near, stems=stems, warnings=told)
            )
    if song.mixture is not None:
        rows.append(_mixture_row(prepared.name_of(song.mixture.path), decoded))
    return rows


def _stem_report(outcome: StemOutcome, clip: str | None) -> StemReport:
    return StemReport(
        stem=outcome.stem,
        verdict=outcome.verdict,
        reason=outcome.reason,
        seconds=outcome.seconds,
        kept_seconds=outcome.kept_seconds,
        silence_share=outcome.silence_share,
        kept=outcome.kept,
        cut_clip=clip,
    )


def _loudness(stem: str, heard: Examination) -> float | None:
    """Of a file that is a stem, or was separated into all there are."""
    return heard.loudness_lufs.get(stem, heard.sum_loudness_lufs)


def _best_of_each(copies: list[NearCopy]) -> list[NearCopy]:
    """One of each path: the stems of a separated track tell the same thing several times."""
    return list({copy.path: copy for copy in sorted(copies, key=lambda copy: copy.agreement)}.values())[::-1]


def _separation_notes(track: Track) -> list[str]:
    """How far separated stems can be trusted: what they leave out, and how much of each is in others."""
    if not track.energy_shares:
        return []
    bleed = {stem: 10 * math.log10(max(track.bleed.get(stem, 0.0), 1e-12)) for stem in track.energy_shares}
    shares = track.energy_shares.items()
    stems = [f"{stem} {share:.0%} of the energy, bleed {bleed[stem]:.0f} dB" for stem, share in shares]
    left = "" if track.residual_db is None else f"; left over {track.residual_db:.0f} dB"
    return [f"separated: {', '.join(stems)}{left}"]


def _mixture_row(path: str, track: Track) -> FileReport:
    """A mixture is only there to be compared with; where it could not be, why."""
    if track.residual_db is not None:
        left = f"what they leave of it: {track.residual_db:.0f} dB"
        reason = f"compared with the sum of its stems, not trained on; {left}"
        return FileReport(path=path, verdict="kept", reason=reason)
    unread = [note for note in track.notes if note.endswith(WITHOUT_MIXTURE)]
    alone = (
        "not compared with its stems: some of them cannot be used" if track.set_aside else "silent throughout"
    )
    return FileReport(path=path, verdict="dropped", reason=next(iter(unread), alone))


def _row(
    path: str, track: str, outcomes: list[StemOutcome], facts: AudioFacts | None, config: Config
) -> FileReport:
    """What is known of a file, and what happens to all that is in it."""
    verdicts = {outcome.verdict for outcome in outcomes}
    alike = len({outcome.reason for outcome in outcomes}) == 1
    reasons = [outcomes[0].reason] if alike else [f"{o.stem}: {o.reason}" for o in outcomes]
    longest = max(outcomes, key=lambda outcome: outcome.kept_seconds)
    row = FileReport(
        path=path,
        verdict=verdicts.pop() if len(verdicts) == 1 else "partial",
        reason="; ".join(reasons),
        track=track,
        stem=", ".join(outcome.stem for outcome in outcomes),
        split=longest.split,
        kept_seconds=longest.kept_seconds,
        silence_share=longest.silence_share,
        duplicate_of=longest.duplicate_of,
        kept=longest.kept,
    )
    if facts is None:
        return row
    return replace(
        row,
        seconds=facts.num_frames / facts.sample_rate,
        sample_rate=facts.sample_rate,
        num_channels=facts.num_channels,
        codec=facts.codec,
        peak_db=20 * math.log10(facts.peak) if facts.peak > 0 else None,
        clipped_share=facts.clipped_share,
        dc_offset=facts.dc_offset,
        warnings=_file_warnings(facts, config),
    )


def _file_warnings(facts: AudioFacts, config: Config) -> list[str]:
    warnings = []
    if facts.clipped_share > CLIPPED_TO_TELL:
        warnings.append(f"{facts.clipped_share:.1%} {AT_FULL_SCALE}")
    if abs(facts.dc_offset) > DC_TO_TELL:
        warnings.append(f"DC offset of {facts.dc_offset:+.3f} of full scale")
    if facts.sample_rate < config.ingest.sample_rate:
        warnings.append(
            f"sampled at {facts.sample_rate} Hz, below ingest.sample_rate ({config.ingest.sample_rate} Hz)"
        )
    return warnings


def _near_copies(place: Workspace, prepared: Prepared) -> dict[str, list[NearCopy]]:
    """Recordings that are nearly the same, by song/stem; exact copies are dropped already."""
    outcomes = {one.name: one for one in prepared.plan.outcomes if one.duplicate_of is None}
    prints, paths = {}, {}
    for one in prepared.ingested:
        heard = prepared.examinations.get(one.track.track.track_id)
        for stem in one.track.track.stems:
            name = f"{one.track.name}/{stem}"
            if heard is not None and name in outcomes:
                prints[name] = load_print(place.path(heard.folder) / heard.examination.prints[stem])
                sources = one.song.song.stems.get(stem) or next(iter(one.song.song.stems.values()))
                paths[name] = prepared.name_of(sources[0].path)
    found: dict[str, list[NearCopy]] = {}
    for pair in find_near_duplicates(prints):
        if outcomes[pair.first].song == outcomes[pair.second].song:
            continue  # stems of one track, of which each has a little of the others
        for name, other, sign in ((pair.first, pair.second, 1), (pair.second, pair.first, -1)):
            copy = _near_copy(pair, paths[other], outcomes[name], outcomes[other], sign)
            found.setdefault(name, []).append(copy)
    return found


def _near_copy(pair: NearDuplicate, path: str, mine: StemOutcome, other: StemOutcome, sign: int) -> NearCopy:
    return NearCopy(
        path=path,
        offset_seconds=sign * pair.offset_seconds,
        agreement=pair.agreement,
        other_split=None not in (mine.split, other.split) and mine.split != other.split,
    )


def _totals(files: Sequence[FileReport], plan: BandPlan, config: Config) -> Totals:
    seconds = {stem: dict.fromkeys(ALL_SPLITS, 0.0) for stem in plan.stems}
    ends = {(t.record.name, stem) for stem, tracks in plan.stems.items() for t in tracks if t.end_heldout}
    for outcome in plan.outcomes:
        if outcome.verdict != "dropped" and outcome.split is not None:
            held = _end_seconds(outcome, config) if (outcome.song, outcome.stem) in ends else 0.0
            seconds[outcome.stem][outcome.split] += outcome.kept_seconds - held
            seconds[outcome.stem]["heldout"] += held
    verdicts = [row.verdict for row in files]
    return Totals(
        num_files=len(files),
        num_kept=verdicts.count("kept"),
        num_partial=verdicts.count("partial"),
        num_dropped=verdicts.count("dropped"),
        seconds=seconds,
    )


def _end_seconds(outcome: StemOutcome, config: Config) -> float:
    """How much of a track is held out where its end is."""
    segment_seconds = config.segment_length / config.ingest.sample_rate
    num_segments = math.ceil(round(outcome.kept_seconds / segment_seconds, 6))
    splits = split_segments(num_segments, "train", True, config.segmentation.heldout_share)
    return outcome.kept_seconds - splits.count("train") * segment_seconds


def _warnings(plan: BandPlan, files: Sequence[FileReport]) -> list[str]:
    """What a person should know before anything is trained, and no file says of itself."""
    warnings = [note for note in plan.notes if not note.endswith(AT_FULL_SCALE)]
    for stem, tracks in plan.stems.items():
        if all(track.end_heldout or track.split != "heldout" for track in tracks):
            warnings.append(f"{stem}: too few tracks to hold one out; the end of each is held out instead")
    if leaks := [pair for pair in find_near_pairs(files) if pair.other_split]:
        warnings.append(
            f"nearly the same recordings lie in different splits ({len(leaks)}, such as {leaks[0].first} and "
            f"{leaks[0].second}), so that a model is judged on what it has learned by heart"
        )
    if not plan.stems:
        warnings.append("nothing is left to train on")
    return warnings


def _copy_clips(place: Workspace, floors: Mapping[str, FloorRecord], folder: Path) -> list[Floor]:
    """The clips of all settings into the report's folder, and their rows."""
    rows: list[Floor] = []
    for number, (stem, record) in enumerate(floors.items()):
        clips = Path("clips", f"{number}-{safe_name(stem)}".rstrip("-"))
        shutil.copytree(place.path(record.folder), folder / clips)
        rows += [replace(floor, clip=(clips / floor.clip).as_posix()) for floor in record.floors]
    return rows


@dataclass(frozen=True)
class _Cut:
    """A stem of which something would be left out."""

    record: TrackRecord
    audio: StemAudio
    outcome: StemOutcome

    @property
    def seconds(self) -> float:
        return (self.outcome.seconds or 0.0) - self.outcome.kept_seconds


def _find_cuts(prepared: Prepared, config: Config) -> list[_Cut]:
    """All stems that would be cut: those used in part, most of it first, then those not used at all."""
    tracks = {one.track.name: one.track for one in prepared.ingested}
    cuts = [
        _Cut(record, record.track.stems[outcome.stem], outcome)
        for outcome in prepared.plan.outcomes
        for record in [tracks[outcome.song]]
        if _is_cut(outcome, record.track, config)
    ]
    return sorted(cuts, key=lambda cut: (cut.outcome.verdict == "dropped", -cut.seconds, cut.outcome.name))


def _is_cut(outcome: StemOutcome, track: Track, config: Config) -> bool:
    """Whether part of a stem is left out, or all of a separated one that sounds and was asked for."""
    if outcome.verdict != "dropped":
        return outcome.verdict == "partial"
    wanted = config.ingest.stems is None or outcome.stem in config.ingest.stems
    sounds = outcome.silence_share is not None and outcome.silence_share < 1
    return outcome.stem in track.energy_shares and wanted and sounds and outcome.duplicate_of is None


def _write_cuts(place: Workspace, cuts: Sequence[_Cut], folder: Path) -> dict[str, str]:
    """Clips of what would be cut, by song/stem, relative to the report's folder."""
    clips = {}
    for number, cut in enumerate(cuts[:MOST_CUTS]):
        parts = [f"{number:03d}", safe_name(cut.outcome.song), safe_name(cut.outcome.stem)]
        clip = Path("cuts", "-".join(filter(None, parts)) + ".flac")
        track = place.path(cut.record.folder)
        envelope = load_envelope(track / cut.audio.envelope_file)
        write_cut(track / cut.audio.file, envelope, cut.outcome.kept, folder / clip)
        clips[cut.outcome.name] = clip.as_posix()
    return clips


def _outlines(place: Workspace, cuts: Sequence[_Cut]) -> dict[tuple[str, str], list[float]]:
    """The outline of each stem that would be cut, by song and stem."""
    return {
        (cut.outcome.song, cut.outcome.stem): outline(
            load_envelope(place.path(cut.record.folder) / cut.audio.envelope_file)
        )
        for cut in cuts
    }
