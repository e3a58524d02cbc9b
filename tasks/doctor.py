"""The doctor's report: a row for every path that was found, from the records that the run itself uses.

A view of records, rebuilt in a moment; a folder is named by what is in it:

    output/doctor-NAME-DIGEST/doctor.html, doctor.json, clips/STEM/RATE-LEVELS.wav, cuts/NUMBER-SONG-STEM.flac

The invariant: what it says of a file is what the plan does with it.
"""

import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import islice, zip_longest
from pathlib import Path

import soundfile
import yaml
from pydantic import BaseModel, ConfigDict

from tasks.plan import BandPlan, IngestedSong, Prepared, StemOutcome, usable_seconds
from tasks.records import ExaminationRecord, FloorRecord, TrackRecord
from tasks.workspace import Workspace, safe_name
from wavenet.audio.decoding import AudioFacts, AudioSource
from wavenet.audio.fingerprint import NearDuplicate, find_near_duplicates
from wavenet.audio.quantization import Quantizer
from wavenet.config import Config
from wavenet.data.examination import load_print
from wavenet.data.floors import Floor, low_floor_notes
from wavenet.data.layouts.accounts import is_audio, is_score
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
    Role,
    StemReport,
    count_files,
    report_json,
)
from wavenet.evaluation.doctor_cuts import outline, write_cut
from wavenet.evaluation.doctor_page import write_doctor_page
from wavenet.evaluation.doctor_tables import find_near_pairs
from wavenet.evaluation.doctor_words import (
    count,
    format_excerpt,
    format_place,
    group_notes,
    song_of,
    tell_apart,
)
from wavenet.files import digest_folder, new_folder, publish_folder, write_json

PAGE, JSON = "doctor.html", "doctor.json"
MOST_CUTS = 400
"""As many stems have a clip of what would be cut: those of which it is most."""
DC_TO_TELL = 0.01
STEPS_TO_TELL = 8
"""A file whose peak is fewer steps of the configured quantization high will be heard with its noise."""
MOST_NOTES = 12
"""As many notes of songs are told as warnings; all of them are in the report."""
MOST_COUNTED = 1000
"""Files of a folder that is set aside are counted up to here."""


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
        cuts = _find_cuts(prepared, config)
        files = _rows(place, prepared, _write_cuts(place, cuts, folder), config)
        quantization = _copy_clips(place, floors, folder)
        report = DoctorReport(
            title=title,
            files=files,
            totals=count_files(files, usable_seconds(prepared.plan, config)),
            quantization=quantization,
            warnings=_warnings(prepared, files, quantization, config),
            config_yaml=yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
            notes=_notes(prepared.plan),
            layout=prepared.scan.layout,
            layout_guessed=config.ingest.layout == "auto" and prepared.scan.layout != "manifest",
            page=PAGE,
        )
        write_json(folder / JSON, report_json(report))
        write_doctor_page(report, _outlines(place, cuts), folder / PAGE)
        digest = digest_folder(folder, [JSON, PAGE])
        destination = place.output / f"doctor-{safe_name(title) or 'input'}-{digest[:8]}"
        publish_folder(folder, destination)
    return DoctorOutput(
        page=destination / PAGE,
        json_file=destination / JSON,
        report=replace(report, page=str(destination / PAGE)),
    )


def _rows(place: Workspace, prepared: Prepared, clips: Mapping[str, str], config: Config) -> list[FileReport]:
    """The rows of every path that was found. clips: of what would be cut, by song/stem."""
    outcomes = _outcomes_by_song(prepared)
    rows = [
        row
        for one in prepared.ingested
        for row in _song_rows(one, prepared, outcomes.get(one.track.name, []), clips, config)
    ]
    rows += [*_score_rows(prepared, config), *_other_rows(prepared)]
    rows = sorted(tell_apart(rows), key=lambda row: (row.path, row.stream or 0, row.start or 0.0, row.part))
    return _with_near_copies(rows, place, prepared)


def _outcomes_by_song(prepared: Prepared) -> dict[str, list[StemOutcome]]:
    """What happens to the stems of each song, by its name; of what a copy is, the file."""
    files: dict[str, str] = {}
    for one in prepared.ingested:
        for stem, sources in one.song.song.stems.items():
            if sources:
                path = prepared.name_of(sources[0].path)
                files.setdefault(one.track.name, path)
                files[f"{one.track.name}/{stem}"] = path
    outcomes: dict[str, list[StemOutcome]] = {}
    for outcome in prepared.plan.outcomes:
        outcomes.setdefault(outcome.song, []).append(_naming_file(outcome, files))
    return outcomes


def _naming_file(outcome: StemOutcome, files: Mapping[str, str]) -> StemOutcome:
    """An outcome that says of which file a copy is. files: by song, and by song/stem."""
    twin = outcome.duplicate_of
    if twin is None:
        return outcome
    candidates = (f"{twin}/{outcome.stem}", twin, twin.rpartition("/")[0])
    path = next((files[name] for name in candidates if name in files), twin)
    return outcome.model_copy(update={"duplicate_of": path, "reason": f"the same audio as {path}"})


def _song_rows(
    one: IngestedSong,
    prepared: Prepared,
    mine: list[StemOutcome],
    clips: Mapping[str, str],
    config: Config,
) -> list[FileReport]:
    """The rows of a song's audio files. mine: what happens to its stems."""
    song, decoded = one.song.song, one.decoded.track
    heard = prepared.examinations.get(one.track.track.track_id)
    separation = _separation_notes(one.track.track)
    rows = []
    for stem, sources in song.stems.items():
        outcomes = [outcome for outcome in mine if outcome.stem == stem] or mine  # mine: it was separated
        facts = decoded.stems[stem].facts if stem in decoded.stems else []
        stems = [_stem_report(outcome, clips.get(outcome.name)) for outcome in outcomes]
        for number, (source, fact) in enumerate(zip_longest(sources, facts)):
            row = _row(prepared.name_of(source.path), one.track.name, outcomes, fact, config)
            row = replace(
                _with_place(row, source),
                loudness_lufs=_loudness(stem, number, heard) if heard else None,
                stems=stems,
                warnings=[*row.warnings, *separation],
            )
            rows.append(row)
    if song.mixture is not None:
        row = _mixture_row(prepared.name_of(song.mixture.path), decoded)
        rows.append(_with_place(replace(row, track=one.track.name), song.mixture))
    return rows


def _with_place(row: FileReport, source: AudioSource) -> FileReport:
    """A row with the part of its file that it is of, an excerpt with how much that is of the whole."""
    row = replace(row, stream=source.stream)
    if source.start == 0 and source.end is None:
        return row
    end = source.end if row.seconds is None else source.start + row.seconds
    whole = end if source.end is None else _file_seconds(source.path)
    row = replace(row, start=source.start, end=end, file_seconds=whole)
    if row.verdict == "dropped":
        return row
    of_whole = f" of {format_place(whole)}" if whole is not None else ""
    return replace(row, reason=f"excerpt {format_excerpt(row)}{of_whole}: {row.reason}")


def _file_seconds(path: Path) -> float | None:
    """How long all of a file is, by its header; None where that cannot be known without decoding it."""
    try:
        with path.open("rb") as file, soundfile.SoundFile(file.fileno(), closefd=False) as sound:
            return None if sound.subtype.startswith("MPEG") else sound.frames / sound.samplerate
    except (OSError, soundfile.SoundFileError):
        return None


def _score_rows(prepared: Prepared, config: Config) -> Iterator[FileReport]:
    """A row for each score: used where notes are among the features."""
    scores = {path: song.name for song in prepared.scan.songs for path in song.scores.values()}
    used = {track.score.path for tracks in prepared.plan.stems.values() for track in tracks if track.score}
    for path, song in scores.items():
        row = FileReport(
            path=prepared.name_of(path), verdict="kept", reason=f"the notes of {song}", role="score"
        )
        if "notes" not in config.features.names:
            why = "; notes are not among features.names"
            yield replace(row, idle=True, reason=row.reason + why)
        elif path not in used:
            empty = [
                note for note in prepared.plan.notes if note.startswith(f"{song}: ") and path.name in note
            ]
            why = next(iter(empty), f"{song}: nothing of it that has a score is used")
            yield replace(row, verdict="dropped", reason=why.removeprefix(f"{song}: "))
        else:
            yield row


def _other_rows(prepared: Prepared) -> Iterator[FileReport]:
    """A row for what was read of the songs, and for what is part of none."""
    scores = {prepared.name_of(path) for song in prepared.scan.songs for path in song.scores.values()}
    read = "read for what it says of the songs"
    for name in prepared.scan.metadata:
        if name not in scores:
            yield FileReport(path=name, verdict="kept", reason=read, role="metadata")
    root = _root(prepared)
    for path, reason in prepared.plan.set_aside:
        if root is not None and (inside := _count_files(root / path)):
            reason += f"; {inside} in it"
        yield FileReport(path=path, verdict="dropped", reason=reason, role=_role(path))


def _role(name: str) -> Role:
    return "audio" if is_audio(name) else "score" if is_score(name) else "other"


def _root(prepared: Prepared) -> Path | None:
    """The folder that names are relative to; None of files that came from elsewhere."""
    for path, name in prepared.names.items():
        if str(path).endswith(f"/{name}"):
            return Path(str(path).removesuffix(name))
    return None


def _count_files(folder: Path) -> str:
    """How many files lie in a folder that was set aside whole, in words; nothing for what is no folder."""
    if folder.is_symlink() or not folder.is_dir():
        return ""
    files = (name for _, _, names in os.walk(folder) for name in names)
    number = sum(1 for _ in islice(files, MOST_COUNTED + 1))
    return f"more than {count(MOST_COUNTED, 'file')}" if number > MOST_COUNTED else count(number, "file")


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


def _loudness(stem: str, number: int, heard: ExaminationRecord) -> float | None:
    """Of a file by itself where that was measured, else of its stem, or of all it was separated into."""
    examination = heard.examination
    files = examination.files.get(stem, [])
    if number < len(files) and (file := files[number]) is not None:
        return file.loudness_lufs
    return examination.loudness_lufs.get(stem, examination.sum_loudness_lufs)


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
        return FileReport(path=path, verdict="kept", reason=reason, role="mixture")
    unread = [note for note in track.notes if note.endswith(WITHOUT_MIXTURE)]
    alone = (
        "not compared with its stems: some of them cannot be used" if track.set_aside else "silent throughout"
    )
    return FileReport(path=path, verdict="dropped", reason=next(iter(unread), alone), role="mixture")


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
        warnings=_file_warnings(facts, config, row.verdict != "dropped"),
    )


def _file_warnings(facts: AudioFacts, config: Config, used: bool) -> list[str]:
    warnings = []
    if facts.clipped_share > CLIPPED_TO_TELL:
        warnings.append(f"{facts.clipped_share:.1%} {AT_FULL_SCALE}")
    if abs(facts.dc_offset) > DC_TO_TELL:
        warnings.append(f"DC offset of {facts.dc_offset:+.3f} of full scale")
    steps = _count_steps(facts.peak, config)
    if used and config.segmentation.normalize == "none" and 0 < steps < STEPS_TO_TELL:
        levels = config.quantization.quantization_channels
        warnings.append(
            f"quiet: its peak is only {steps:.1f} steps of {levels} levels high, and rounding noise will be "
            "heard; segmentation.normalize raises quiet tracks"
        )
    if facts.sample_rate < config.ingest.sample_rate:
        warnings.append(
            f"sampled at {facts.sample_rate} Hz, below ingest.sample_rate ({config.ingest.sample_rate} Hz)"
        )
    return warnings


def _count_steps(peak: float, config: Config) -> float:
    """How many of the steps beside silence a peak is high."""
    section = config.quantization
    quantizer = Quantizer(section.law, section.quantization_channels, section.dither)
    return peak / float(quantizer.table[quantizer.silence_code + 1])


def _with_near_copies(rows: Sequence[FileReport], place: Workspace, prepared: Prepared) -> list[FileReport]:
    """The rows, with recordings that are nearly the same; exact copies are dropped already."""
    by_stem = {(row.track, stem.stem): row for row in reversed(rows) for stem in row.stems}
    found: dict[tuple[str | None, str], list[NearCopy]] = {}
    for pair, first, second in _near_pairs(place, prepared):
        for mine, other, sign in ((first, second, 1), (second, first, -1)):
            copy = _near_copy(pair, by_stem[other.song, other.stem], mine, other, sign)
            found.setdefault((mine.song, mine.stem), []).append(copy)
    return [
        replace(row, near_duplicates=_best_of_each(row, found)) if row.stems and found else row
        for row in rows
    ]


def _near_pairs(
    place: Workspace, prepared: Prepared
) -> Iterator[tuple[NearDuplicate, StemOutcome, StemOutcome]]:
    """Stems that are nearly the same, of two songs."""
    outcomes = {one.name: one for one in prepared.plan.outcomes if one.duplicate_of is None}
    prints = {}
    for one in prepared.ingested:
        heard = prepared.examinations.get(one.track.track.track_id)
        for stem in one.track.track.stems:
            name = f"{one.track.name}/{stem}"
            if heard is not None and name in outcomes:
                prints[name] = load_print(place.path(heard.folder) / heard.examination.prints[stem])
    for pair in find_near_duplicates(prints):
        first, second = outcomes[pair.first], outcomes[pair.second]
        if first.song != second.song:  # stems of one track have each a little of the others
            yield pair, first, second


def _near_copy(
    pair: NearDuplicate, row: FileReport, mine: StemOutcome, other: StemOutcome, sign: int
) -> NearCopy:
    return NearCopy(
        path=row.path,
        offset_seconds=sign * pair.offset_seconds,
        agreement=pair.agreement,
        other_split=None not in (mine.split, other.split) and mine.split != other.split,
        part=row.part,
    )


def _best_of_each(row: FileReport, found: Mapping[tuple[str | None, str], list[NearCopy]]) -> list[NearCopy]:
    """A row's near copies, one of each: stems of a separated track tell the same thing several times."""
    copies = [copy for stem in row.stems for copy in found.get((row.track, stem.stem), [])]
    return list({copy.name: copy for copy in sorted(copies, key=lambda copy: copy.agreement)}.values())[::-1]


def _warnings(
    prepared: Prepared, files: Sequence[FileReport], floors: Sequence[Floor], config: Config
) -> list[str]:
    """What a person should know before anything is trained, and no file says of itself: the worst first."""
    plan, songs = prepared.plan, {one.track.name for one in prepared.ingested}
    notes = _notes(plan)
    return [
        *([] if plan.stems else ["nothing is left to train on"]),
        *_unknown_stems(plan, config),
        *(note for note in notes if not song_of(note, songs)),
        *low_floor_notes(floors),
        *_leaks(files),
        *_held_out_ends(plan),
        *_tell_some(group_notes([note for note in notes if song_of(note, songs)], songs)),
    ]


def _notes(plan: BandPlan) -> list[str]:
    """The plan's notes, but for what files say of themselves."""
    return [note for note in plan.notes if not note.endswith(AT_FULL_SCALE)]


def _leaks(files: Sequence[FileReport]) -> Iterator[str]:
    if leaks := [pair for pair in find_near_pairs(files) if pair.other_split]:
        such = f"{leaks[0].first} and {leaks[0].second}"
        which = f"{len(leaks):,} pairs, such as {such}" if len(leaks) > 1 else such
        yield (
            f"nearly the same recordings lie in different splits ({which}), so that a model is judged on "
            "what it has learned by heart"
        )


def _held_out_ends(plan: BandPlan) -> Iterator[str]:
    if stems := [stem for stem, tracks in plan.stems.items() if any(track.end_heldout for track in tracks)]:
        yield f"{', '.join(stems)}: too few tracks to hold one out; the end of each is held out instead"


def _tell_some(notes: list[str]) -> list[str]:
    """Of very many notes the first."""
    if len(notes) <= MOST_NOTES:
        return notes
    more = f"and {len(notes) - MOST_NOTES:,} notes more, on the page and in the JSON"
    return [*notes[:MOST_NOTES], more]


def _unknown_stems(plan: BandPlan, config: Config) -> Iterator[str]:
    """Stems that the configuration names and that a run would not find."""
    there = sorted({outcome.stem for outcome in plan.outcomes})
    named = {
        "ingest.stems": config.ingest.stems or [],
        "stems": config.stems,
        "mix.gains_db": config.mix.gains_db,
    }
    for where, names in named.items():
        for name in sorted(set(names) - set(plan.stems)):
            if name in there:
                yield f"{where}: nothing of the stem {name} can be used"
                continue
            close = get_close_matches(name, there, 1)
            meant = f"; did you mean {close[0]}?" if close else ""
            yield f"{where}: there is no stem {name}; there are {', '.join(there)}{meant}"


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
