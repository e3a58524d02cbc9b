"""The doctor's rows of the files of songs: what each is, and what the plan does with what is in it.

Reads records and headers of files, decodes nothing. The invariant: a row says of a stem what the plan says.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

import soundfile

from tasks.plan import IngestedSong, Prepared, StemOutcome
from tasks.records import ExaminationRecord
from wavenet.audio.decoding import AudioFacts, AudioSource
from wavenet.audio.quantization import Quantizer
from wavenet.config import Config
from wavenet.data.tracks import AT_FULL_SCALE, CLIPPED_TO_TELL, WITHOUT_MIXTURE, Track
from wavenet.evaluation.doctor import FileReport, StemReport
from wavenet.evaluation.doctor_words import format_excerpt, format_place

DC_TO_TELL = 0.01
STEPS_TO_TELL = 8
"""A file whose peak is fewer steps of the configured quantization high will be heard with its noise."""


def outcomes_by_song(prepared: Prepared) -> dict[str, list[StemOutcome]]:
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


def song_rows(
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
