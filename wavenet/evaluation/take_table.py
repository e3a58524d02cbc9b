"""Scores of takes as a plain table, for the listening page and for a terminal: text in cells.

Knows nothing of HTML or of terminals. The invariants: every row is as long as the head, the best take comes
first, and a figure outside its range says so in words, for who sees no colours.
"""

from collections.abc import Sequence

from wavenet.evaluation.listening_page import UNKNOWN, TakeTable, format_number
from wavenet.evaluation.memorization import NOTHING, Memory
from wavenet.evaluation.ranges import LEAST_WIDTHS, Ranges
from wavenet.evaluation.take_scores import LN2, FigureScore, LikelihoodScore, TakeScore, rank_takes

COLUMNS = {
    "level_db": ("Level, dB", 1, 1.0),
    "onsets_per_second": ("Onsets a\N{NO-BREAK SPACE}second", 1, 1.0),
    "flatness_db": ("Flatness, dB", 1, 1.0),
    "clipped_share": ("Clipped, %", 2, 100.0),
    "silent_share": ("Silent, %", 0, 100.0),
    "longest_silence_seconds": ("Longest rest, s", 2, 1.0),
    "repetition": ("Like itself, %", 0, 100.0),
}
"""Of each figure: its head, digits, and what it is multiplied by."""
HEAD = [
    "Take",
    "Badness",
    *(head for head, _, _ in COLUMNS.values()),
    "Bits per sample",
    "Closest in training",
]
assert COLUMNS.keys() == LEAST_WIDTHS.keys()


def take_table(scores: Sequence[TakeScore], ranges: Ranges, names: Sequence[str] | None = None) -> TakeTable:
    """The takes of a stem, the least bad first, under the ranges that they are held against.

    names: of the takes, in the order of scores; their numbers, from 1, if None.
    """
    named = names or [str(number) for number in range(1, len(scores) + 1)]
    likelihood = next((score.likelihood for score in scores if score.likelihood), None)
    rows = [_row(named[number], scores[number]) for number in rank_takes(scores)]
    return TakeTable(HEAD, [_range_row(ranges, likelihood), *rows])


def _range_row(ranges: Ranges, likelihood: LikelihoodScore | None) -> list[str]:
    cells = [
        _between(known.p1, known.p99, name) if (known := ranges.figures.get(name)) else UNKNOWN
        for name in COLUMNS
    ]
    bits = UNKNOWN
    if likelihood:
        bits = f"{format_number(likelihood.low / LN2, 2)} to {format_number(likelihood.high / LN2, 2)}"
    return ["Range", UNKNOWN, *cells, bits, UNKNOWN]


def _between(low: float, high: float, name: str) -> str:
    _, digits, factor = COLUMNS[name]
    return f"{format_number(factor * low, digits)} to {format_number(factor * high, digits)}"


def _row(name: str, score: TakeScore) -> list[str]:
    cells = [_cell(score.figures.get(figure), figure) for figure in COLUMNS]
    return [
        name, format_number(score.badness, 2), *cells, _bits(score.likelihood), describe_memory(score.memory),
    ]  # fmt: skip


def _cell(figure: FigureScore | None, name: str) -> str:
    _, digits, factor = COLUMNS[name]
    if figure is None or figure.value is None:
        return UNKNOWN
    text = format_number(factor * figure.value, digits)
    return text if figure.verdict == "inside" else f"{text} ({figure.verdict})"


def _bits(likelihood: LikelihoodScore | None) -> str:
    if likelihood is None:
        return UNKNOWN
    text = format_number(likelihood.bits_per_sample, 2)
    return f"{text} ({likelihood.verdict})" if likelihood.outside else text


def describe_memory(memory: Memory | None) -> str:
    """The closest passage in a few words: how much of it agrees, where it is, and what that means."""
    if memory is None:
        return UNKNOWN
    if memory.closest is None:
        return NOTHING
    share = format_number(100 * memory.closest.agreement)
    at = format_number(memory.closest.offset_seconds, 1)
    return f"{share}% of {memory.closest.track} at {at} s: {memory.verdict}"
