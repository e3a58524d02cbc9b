"""Recordings that are nearly the same, beside the rows of the doctor's report.

Compares fingerprints, hears nothing. Exact copies are dropped already, by `tasks.copies`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from tasks.plan import Prepared, StemOutcome
from tasks.workspace import Workspace
from wavenet.audio.fingerprint import NearDuplicate, find_near_duplicates
from wavenet.data.examination import load_print
from wavenet.evaluation.doctor import FileReport, NearCopy


def with_near_copies(rows: Sequence[FileReport], place: Workspace, prepared: Prepared) -> list[FileReport]:
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
