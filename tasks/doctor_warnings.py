"""What a person should know before anything is trained, and no file says of itself.

Reads plan and rows, decides nothing.
"""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from tasks.plan import BandPlan, Prepared
from wavenet.config import Config
from wavenet.data.floors import Floor, low_floor_notes
from wavenet.data.tracks import AT_FULL_SCALE
from wavenet.evaluation.doctor import FileReport
from wavenet.evaluation.doctor_tables import find_near_pairs
from wavenet.evaluation.doctor_words import group_notes, song_of

MOST_NOTES = 12
"""As many notes of songs are told as warnings; all of them are in the report."""


def report_warnings(
    prepared: Prepared, files: Sequence[FileReport], floors: Sequence[Floor], config: Config
) -> list[str]:
    """What a person should know before anything is trained, and no file says of itself: the worst first."""
    plan, songs = prepared.plan, {one.track.name for one in prepared.ingested}
    notes = report_notes(plan)
    return [
        *([] if plan.stems else ["nothing is left to train on"]),
        *_unknown_stems(plan, config),
        *(note for note in notes if not song_of(note, songs)),
        *low_floor_notes(floors),
        *_leaks(files),
        *_held_out_ends(plan),
        *_tell_some(group_notes([note for note in notes if song_of(note, songs)], songs)),
    ]


def report_notes(plan: BandPlan) -> list[str]:
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
