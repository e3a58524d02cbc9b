"""What is to be told of a plan: stems that are missing, too short, or cannot be held out.

Reads the plan, decides nothing.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping

from tasks.judging import Judged
from tasks.plan import IngestedSong, PlannedTrack, StemOutcome, split_seconds
from wavenet.config import Config
from wavenet.data.splits import SPLITS
from wavenet.data.tracks import mixture_note


def song_notes(one: IngestedSong, outcomes: Iterable[StemOutcome]) -> Iterator[str]:
    """What is to be told of a song as a whole."""
    track, mixture = one.track.track, one.song.song.mixture
    yield from track.notes
    if mixture is not None and (note := mixture_note(mixture.path.name, one.decoded.track.residual_db)):
        yield note
    alike: dict[str, list[str]] = {}
    for outcome in outcomes:
        if outcome.verdict != "dropped":
            alike.setdefault(track.stems[outcome.stem].source_digest, []).append(outcome.stem)
    for stems in alike.values():
        if len(stems) > 1:
            yield f"{' and '.join(stems)} are the same audio; export the right one again, or drop one"


def missing_stems(usable: Iterable[Judged], stems: Mapping[str, list[PlannedTrack]]) -> list[str]:
    """Songs that have some of the band's stems and not all."""
    notes = []
    for one, outcomes in usable:
        there = {outcome.stem for outcome in outcomes if outcome.verdict != "dropped"}
        missing = [stem for stem in sorted(stems) if stem not in there]
        if missing:
            notes.append(f"{one.track.name}: has no usable {', '.join(missing)}; its other stems are used")
    return notes


def short_pieces(outcomes: Iterable[StemOutcome], config: Config) -> list[str]:
    """How much audio lies in pieces shorter than a training window and so is never drawn."""
    pieces: dict[str, list[float]] = {}
    for outcome in outcomes:
        if outcome.split == "train":
            pieces.setdefault(outcome.stem, []).extend(end - start for start, end in outcome.kept)
    notes = []
    for stem, lengths in sorted(pieces.items()):
        mine = config.for_stem(stem)
        window = (mine.model.receptive_field + mine.training.scored_length) / config.ingest.sample_rate
        short = [length for length in lengths if length < window]
        if short and max(lengths) >= window:  # if all are short, windows shrink to the longest
            notes.append(
                f"{stem}: {sum(short):.1f} s of {sum(lengths):.1f} s lie in pieces shorter than a training "
                f"window ({window:.2f} s) and are not trained on; lower training.scored_length"
            )
    return notes


def one_sided(
    stems: Mapping[str, list[PlannedTrack]],
    outcomes: Iterable[StemOutcome],
    given: Collection[str],
    config: Config,
) -> list[str]:
    """Stems that no model can be trained of, for want of audio to train on or to hold out."""
    notes = []
    kept = {(one.song, one.stem): one.kept_seconds for one in outcomes}
    for stem, tracks in stems.items():
        parts = [split_seconds(kept[track.record.name, stem], track, config) for track in tracks]
        least = (config.for_stem(stem).model.receptive_field + 1) / config.ingest.sample_rate
        for split, purpose in zip(SPLITS, ("train on", "hold out"), strict=True):
            seconds = sum(part.get(split, 0.0) for part in parts)
            if seconds < least:
                why = _why_one_sided(seconds, least, tracks, given)
                notes.append(f"{stem}: cannot be trained: {seconds:.3g} s to {purpose}: {why}")
                break
    return notes


def _why_one_sided(
    seconds: float, least: float, tracks: Iterable[PlannedTrack], given: Collection[str]
) -> str:
    if seconds > 0:
        return (
            f"a model of it hears {least:.3g} s at once; add audio, or lower model.dilation_cycle or "
            "model.num_cycles"
        )
    if any(track.split == "train" for track in tracks):
        return "two segments are the least; add audio or lower segmentation.segment_seconds"
    sides = " and ".join(sorted({track.split for track in tracks}))
    if all(track.record.track.track_id in given for track in tracks):
        return f"the manifest or data set puts all of it into {sides}; let it say train of some, or nothing"
    return f"earlier runs put all of it into {sides} (splits.json of the workspace); add audio"
