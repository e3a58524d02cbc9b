"""What happens to every stem of every song by itself: whether it is wanted, long enough, and where it sounds.

Reads envelopes, knows nothing of other songs or of splits. The invariant: a stem has one outcome, and what
is dropped has a reason that names the way out.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from tasks.plan import IngestedSong, Regions, StemOutcome
from tasks.records import ExaminationRecord, TrackRecord
from tasks.workspace import Workspace
from wavenet.audio.io import envelope_hop
from wavenet.audio.silence import FLOOR_POWER, MOST_DITHER, find_sounding, silence_share
from wavenet.config import Config
from wavenet.data.segments import count_segments, keep_segments, kept_regions
from wavenet.data.tracks import StemAudio, Track, load_envelope

Judged = tuple[IngestedSong, list[StemOutcome]]


def judge_songs(
    place: Workspace,
    ingested: Sequence[IngestedSong],
    config: Config,
    examinations: Mapping[str, ExaminationRecord],
) -> list[Judged]:
    """What happens to every stem of every song by itself."""
    judged = []
    for one in ingested:
        track = one.track.track
        heard = examinations.get(track.track_id)
        outcomes = [
            StemOutcome(song=one.track.name, stem=stem, verdict="dropped", reason=reason)
            for stem, reason in track.set_aside.items()
        ]
        for stem, audio in track.stems.items():
            floor = heard.examination.floor_power(stem) if heard else FLOOR_POWER
            outcomes.append(_judge_stem(place, one.track, stem, audio, floor, config))
        judged.append((one, outcomes))
    return judged


def _judge_stem(
    place: Workspace, record: TrackRecord, stem: str, audio: StemAudio, floor_power: float, config: Config
) -> StemOutcome:
    """Whether a stem is wanted, long enough, loud enough, and which parts of it sound."""
    track = record.track
    seconds = audio.num_samples / track.sample_rate
    sounding = _find_sounding(place.file(record.folder, audio.envelope_file), track, floor_power, config)
    outcome = StemOutcome(
        song=record.name,
        stem=stem,
        verdict="dropped",
        reason="",
        seconds=seconds,
        silence_share=silence_share(sounding, seconds),
    )
    if reason := _why_not(stem, seconds, sounding, track, config):
        return outcome.model_copy(update={"reason": reason})
    num_samples = round(seconds * config.ingest.sample_rate)
    kept = [(0.0, seconds)]
    if config.segmentation.silence.cut:
        length, rate = config.segment_length, config.ingest.sample_rate
        keep = keep_segments(sounding, count_segments(num_samples, length), length, rate)
        kept = kept_regions(keep, num_samples, length, rate)
    cut = seconds - sum(end - start for start, end in kept)
    if cut * config.ingest.sample_rate < 1:
        return outcome.model_copy(update={"verdict": "kept", "reason": "whole", "kept": [(0.0, seconds)]})
    reason = f"{cut:.1f} s of silence cut"
    return outcome.model_copy(update={"verdict": "partial", "reason": reason, "kept": kept})


def _find_sounding(envelope: Path, track: Track, floor_power: float, config: Config) -> Regions:
    frame_seconds = envelope_hop(track.sample_rate) / track.sample_rate
    return find_sounding(load_envelope(envelope), frame_seconds, config.segmentation.silence, floor_power)


def _why_not(stem: str, seconds: float, sounding: Regions, track: Track, config: Config) -> str | None:
    wanted = config.ingest.stems
    if wanted is not None and stem not in wanted:
        return f"not among ingest.stems ({', '.join(wanted)})"
    field = config.for_stem(stem).model.receptive_field
    least = (field + 1) / config.ingest.sample_rate
    if seconds < least:
        return (
            f"{seconds:.3g} s is shorter than what a model of it hears at once ({least:.3g} s); "
            "lower model.dilation_cycle or model.num_cycles, or drop the file"
        )
    if not sounding:
        return _why_silent(track.stems[stem], config)
    share, floor = track.energy_shares.get(stem), config.separation.min_energy_share
    if share is not None and share < floor:
        return (
            f"holds {share:.2g} of the track's energy, less than separation.min_energy_share ({floor:g}): "
            "the separator found hardly any of it"
        )
    return None


def _why_silent(audio: StemAudio, config: Config) -> str:
    """Of a file that sounds, why nothing is left of it."""
    loud = [fact for fact in audio.facts if fact.peak > MOST_DITHER]
    downmix, rate = config.ingest.downmix, config.ingest.sample_rate
    if not loud:
        return "silent throughout" + (": nothing above quantization noise" if audio.peak > 0 else "")
    peak = (
        f"silent throughout, though the file peaks at {20 * math.log10(max(f.peak for f in loud)):.1f} dBFS"
    )
    if all(fact.num_channels == 1 for fact in loud):
        return f"{peak}: nothing is left of it at ingest.sample_rate ({rate} Hz); raise it"
    if downmix == "mean":
        return f"{peak}: its channels cancel when averaged; set ingest.downmix=left or ingest.downmix=right"
    return f"{peak}: its {downmix} channel is silent; set ingest.downmix=mean"
