"""What normalization multiplies a track by, and what a person is to be told of it.

Goes by what was examined, reads no audio. The invariant: one gain for all stems of a track, so that each
keeps its share of the mix.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tasks.plan import PlannedTrack
from tasks.records import ExaminationRecord, TrackRecord
from wavenet.config import Config, SegmentationConfig

GAIN_TO_TELL_DB = 12.0
MISS_TO_TELL_DB = 0.1


@dataclass(frozen=True)
class Gain:
    """One gain for all stems of a track, so that each keeps its share of the mix.

    wanted: what would bring the track to its target. applied: that, or as much as leaves the highest peak
    of any stem at segmentation.target_peak_db.
    """

    wanted: float = 1.0
    applied: float = 1.0

    @property
    def missed_db(self) -> float:
        return 20 * math.log10(self.wanted / self.applied)


def find_gain(
    record: TrackRecord, config: SegmentationConfig, examinations: Mapping[str, ExaminationRecord]
) -> Gain:
    """The gain of a track, of all its stems together. examinations: by track id."""
    if config.normalize == "none":
        return Gain()
    heard = examinations[record.track.track_id].examination
    peak, highest = max(stem.peak for stem in record.track.stems.values()), 10 ** (config.target_peak_db / 20)
    if config.normalize == "peak":
        gain = highest / max(heard.sum_peak, peak)
        return Gain(gain, gain)
    if heard.sum_loudness_lufs is None:
        return Gain()
    wanted = 10 ** ((config.target_lufs - heard.sum_loudness_lufs) / 20)
    return Gain(wanted, min(wanted, highest / peak))


def loud_gains(stems: Mapping[str, list[PlannedTrack]], config: Config) -> list[str]:
    """What normalization does to quiet music, told before a model learns it."""
    if config.segmentation.normalize == "none":
        return []
    gains = {track.record.name: track.gain for planned in stems.values() for track in planned}
    loud = {name: gain for name, gain in gains.items() if gain > 10 ** (GAIN_TO_TELL_DB / 20)}
    notes = [
        f"segmentation.normalize={config.segmentation.normalize}: every track is brought to one level, and "
        "what was quiet on the record is not quiet any more"
    ]
    if loud:
        notes.append(
            f"raised by more than {GAIN_TO_TELL_DB:.0f} dB, their noise with them: {_name_some(loud)}"
        )
    return notes


def missed_targets(gains: Mapping[str, Gain], config: Config) -> list[str]:
    """Tracks that cannot be as loud as the others without clipping."""
    missed = {name: gain.missed_db for name, gain in gains.items() if gain.missed_db > MISS_TO_TELL_DB}
    if not missed:
        return []
    settings, furthest = config.segmentation, max(missed.values())
    return [
        f"quieter than segmentation.target_lufs ({settings.target_lufs:g}) by up to {furthest:.1f} dB, for "
        f"their peaks are kept at segmentation.target_peak_db ({settings.target_peak_db:g}): "
        f"{_name_some(missed)}; lower target_lufs by as much for one loudness"
    ]


def _name_some(names: Iterable[str]) -> str:
    """A few of many names."""
    ordered = sorted(names)
    more = f" and {len(ordered) - 5} more" if len(ordered) > 5 else ""
    return ", ".join(ordered[:5]) + more
