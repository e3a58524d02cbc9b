"""Scores of takes as a plain table, for the listening page and for a terminal: text in cells.

Knows nothing of HTML or of terminals. The invariants: every row is as long as the head, takes come in the
order of their ranks, and a figure outside its range says so in words, for who sees no colours.
"""

from wavenet.evaluation.listening_page import UNKNOWN, TakeTable, format_number
from wavenet.evaluation.memorization import NOTHING, Memory
from wavenet.evaluation.ranges import LEAST_WIDTHS, Ranges
from wavenet.evaluation.take_scores import LN2, FigureScore, LikelihoodScore, RankedTake, Scores

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
    "Trouble",
    "Badness",
    *(head for head, _, _ in COLUMNS.values()),
    "Bits per sample",
    "Closest in training",
]
SHORT_HEAD = [
    "Take",
    "Trouble",
    "Badness",
    COLUMNS["level_db"][0],
    COLUMNS["onsets_per_second"][0],
    "Closest in training",
]
assert COLUMNS.keys() == LEAST_WIDTHS.keys()


def take_table(scores: Scores) -> TakeTable:
    """The takes of a stem, the best first, under the ranges that they are held against."""
    likelihood = next((one.likelihood for one in scores.takes if one.likelihood), None)
    return TakeTable(HEAD, [_range_row(scores.ranges, likelihood), *map(_row, scores.takes)])


def short_table(scores: Scores) -> TakeTable:
    """What a terminal has room for, without the ranges: file and badness, level, onsets, closest passage."""
    columns = [HEAD.index(name) for name in SHORT_HEAD]
    rows = [_row(one) for one in scores.takes]
    return TakeTable(SHORT_HEAD, [[row[column] for column in columns] for row in rows])


def _range_row(ranges: Ranges, likelihood: LikelihoodScore | None) -> list[str]:
    cells = [
        _between(known.p1, known.p99, name) if (known := ranges.figures.get(name)) else UNKNOWN
        for name in COLUMNS
    ]
    bits = UNKNOWN
    if likelihood:
        bits = f"{format_number(likelihood.low / LN2, 2)} to {format_number(likelihood.high / LN2, 2)}"
    return ["Range", UNKNOWN, UNKNOWN, *cells, bits, UNKNOWN]


def _between(low: float, high: float, name: str) -> str:
    _, digits, factor = COLUMNS[name]
    return f"{format_number(factor * low, digits)} to {format_number(factor * high, digits)}"


def _row(one: RankedTake) -> list[str]:
    cells = [_cell(one.figures.get(figure), figure) for figure in COLUMNS]
    return [
        f"{one.take}, {one.file or 'not kept'}", describe_trouble(one), format_number(one.badness, 2), *cells,
        _bits(one.likelihood), describe_memory(one.memory),
    ]  # fmt: skip


def describe_trouble(one: RankedTake) -> str:
    """What the guards did, in a few words: of one that was let go on in trouble, from when on."""
    if one.let_go_seconds is not None:
        return f"let go on at {format_number(one.let_go_seconds, 1)} s"
    return f"{one.restarts} restart{'s' if one.restarts != 1 else ''}" if one.restarts else "none"


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
