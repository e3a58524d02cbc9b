"""The stems of which something would be left out, with a clip and an outline of each.

Reads records, envelopes and working audio. The invariant: a clip is of what the plan leaves out, and of
nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.plan import Prepared, StemOutcome
from tasks.records import TrackRecord
from tasks.workspace import Workspace, safe_name
from wavenet.config import Config
from wavenet.data.tracks import StemAudio, Track, load_envelope
from wavenet.evaluation.doctor_cuts import outline, write_cut

MOST_CUTS = 400
"""As many stems have a clip of what would be cut: those of which it is most."""


@dataclass(frozen=True)
class Cut:
    """A stem of which something would be left out."""

    record: TrackRecord
    audio: StemAudio
    outcome: StemOutcome

    @property
    def seconds(self) -> float:
        return (self.outcome.seconds or 0.0) - self.outcome.kept_seconds


def find_cuts(prepared: Prepared, config: Config) -> list[Cut]:
    """All stems that would be cut: those used in part, most of it first, then those not used at all."""
    tracks = {one.track.name: one.track for one in prepared.ingested}
    cuts = [
        Cut(record, record.track.stems[outcome.stem], outcome)
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


def write_cuts(place: Workspace, cuts: Sequence[Cut], folder: Path) -> dict[str, str]:
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


def draw_outlines(place: Workspace, cuts: Sequence[Cut]) -> dict[tuple[str, str], list[float]]:
    """The outline of each stem that would be cut, by song and stem."""
    return {
        (cut.outcome.song, cut.outcome.stem): outline(
            load_envelope(place.file(cut.record.folder, cut.audio.envelope_file))
        )
        for cut in cuts
    }
