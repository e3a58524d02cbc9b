"""Progress for people: one line that renews itself on a terminal, a line now and then elsewhere; and in a
Prefect run the same on the run's page.

Written to standard error, so that standard output stays the result's.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from tasks.artifact_board import Content
from tasks.artifact_words import escape
from tasks.artifacts import artifact_key, run_artifact
from wavenet.training.metrics import FINAL_BITS, HELDOUT_BITS, SPEED, STEP, TRAIN_BITS

if TYPE_CHECKING:
    from wavenet.evaluation.baselines import Baselines

SECONDS_BETWEEN = {True: 0.2, False: 10.0}  # on a terminal, elsewhere
STAGES = {"ingest", "separate", "train", "generate"}
"""What a run's page always shows."""
SECONDS_TO_BE_SHOWN = 10.0
"""What else takes longer than this is shown there too."""
Words = Callable[[], Sequence[str]]
"""Lines, the first the one that matters most."""


class RunProgress:
    """A progress artifact of the run that this is made in; outside of one nothing.

    key: its parts. span: from which share to which of the whole this counts, where it is a part of it.
    """

    def __init__(self, *key: str, span: tuple[float, float] = (0.0, 1.0)) -> None:
        self.artifact = run_artifact("progress", artifact_key("progress", *key))
        self.since = 0.0 if key[0] in STAGES else time.monotonic() + SECONDS_TO_BE_SHOWN
        self.span, self.done = span, 0.0
        self.words: Words = list

    def show(self, done: float, words: Words) -> None:
        """done: share of the span, from 0 to 1. words: asked for what there is to say when it is sent."""
        self.done, self.words = done, words
        if time.monotonic() >= self.since:
            self.since = 0.0  # so that its end is shown too
            self.artifact.show(self._content, soon=self.share >= 1)

    @property
    def share(self) -> float:
        """Of the whole, that is done."""
        begin, end = self.span
        return min(1.0, begin + self.done * (end - begin))

    def _content(self) -> Content:
        percent = int(1000 * self.share) / 10  # all of it is done when it is, and not by rounding
        lines = [escape(line) for line in self.words() if line]
        return Content(percent, f"**{percent:g}%** " + "\n\n".join(lines))  # a card cuts lines off


class Progress:
    """Counts up to a total, for one thread that counts. run: where its run shows it, if not by its label."""

    def __init__(self, label: str, total: int, run: RunProgress | None = None) -> None:
        self.label, self.total = label, total
        self.run = run or RunProgress(*label.split(" ", 1))
        self.done, self.first, self.text = 0, 0, ""
        self.started, self.shown = time.monotonic(), 0.0
        self.terminal = sys.stderr.isatty()

    def start_at(self, done: int) -> None:
        """Begin at what is done already, and say so."""
        self.done = self.first = done
        self.say(f"goes on from {done}/{self.total}")
        self.run.show(done / max(1, self.total), self._lines)

    def update(self, done: int, text: str = "") -> None:
        """Set how much is done; show it if it is time to, and always at the end."""
        self.done, self.text = done, text or self.text
        now = time.monotonic()
        if done >= self.total or now - self.shown >= SECONDS_BETWEEN[self.terminal]:
            self.shown = now
            self._show(last=done >= self.total)
        self.run.show(done / max(1, self.total), self._lines)

    def finish(self) -> None:
        """It is over, though fewer may be done than were to be."""
        self.run.show(1.0, self._lines)

    def advance(self) -> None:
        """One more is done."""
        self.update(self.done + 1)

    def say(self, message: str) -> None:
        """A remark on a line of its own."""
        print(f"{self.label:<16} {message}", file=sys.stderr, flush=True)

    @property
    def rate(self) -> float:
        """How many a second, since it began here."""
        spent = time.monotonic() - self.started
        return (self.done - self.first) / spent if spent else 0.0

    def _show(self, last: bool) -> None:
        line = f"{self.label:<16} {self.done}/{self.total}  {self.text}  {self._time()}"
        if self.terminal:
            print(f"\r\x1b[K{line}", end="\n" if last else "", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)

    def _lines(self) -> list[str]:
        return [f"{self.label} {self.done}/{self.total} {self._time()}", *self.text.split("  ")]

    def _time(self) -> str:
        spent = time.monotonic() - self.started
        if self.done >= self.total:
            return f"took {clock(spent)}"
        return f"{clock((self.total - self.done) / self.rate)} left" if self.rate else ""


class TrainingProgress:
    """A Reporter that shows a training's lines as progress, held-out bits beside the best baseline's."""

    def __init__(self, stem: str, steps: int, baselines: "Baselines") -> None:
        self.progress = Progress(f"train {stem}", steps)
        self.baselines = baselines
        self.latest: dict[str, float] = {}

    def begin(self, rows: Sequence[Mapping[str, float]]) -> None:
        """What earlier sessions did counts as done and not for the time left."""
        beside = ", ".join(f"{name} {bits:.3f}" for name, bits in self.baselines.models.items())
        self.progress.say(f"to be below, in bits a sample: {beside}")
        for row in rows:
            self.latest.update(row)
        if rows:
            self.progress.start_at(int(rows[-1][STEP]))

    def report(self, row: Mapping[str, float]) -> None:
        self.latest.update(row)
        if TRAIN_BITS in row:
            self.progress.done = int(row[STEP])  # the text tells the rate up to here
            self.progress.update(self.progress.done, self._text())
        if FINAL_BITS in row:
            self.progress.finish()

    def tell(self, message: str) -> None:
        self.progress.say(message)

    def _text(self) -> str:
        parts = [f"{self.latest[TRAIN_BITS]:.3f} bits"]
        if HELDOUT_BITS in self.latest:
            name, bits = self.baselines.best
            parts.append(f"held-out {self.latest[HELDOUT_BITS]:.3f} ({name} {bits:.3f})")
        speed = f"{self.progress.rate:.2g} steps/s  {self.latest[SPEED]:,.0f} samples/s"
        return "  ".join([*parts, speed])


def clock(seconds: float) -> str:
    """Seconds as m:ss, or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
