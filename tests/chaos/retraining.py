"""`python -m tests.chaos.retraining`: a stem is trained again, by runs that are killed until one ends.

As in: python -m tests.chaos.retraining --kills 20 --seed 1
What must hold: from one end to the next the stem is trained once, played once and mixed once, however many
runs that took; nothing else is made; and it all ends as it was.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.chaos.campaign import GRACE_SECONDS, LONGEST_RUN, end
from tests.chaos.family import FLOW, TRAINING, Command, wait_until
from tests.chaos.songs import write_input
from tests.chaos.traces import differences, outcome, results
from wavenet.files import read_json

STEM, WORKSPACE = "drums", "workspace"
WANTED = ["generate", "mix", "train"]


class Retraining:
    """Runs that train a stem again, in a workspace where all is done."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder, self.rng, self.number = folder, rng, 0
        self.place = folder / WORKSPACE
        self.arguments = [*write_input(folder, [STEM, "bass"]).command(), "--workspace", WORKSPACE]
        self.whole, _ = self.finish()
        self.made: Counter[str] = Counter()
        self.ends = 0
        _, self.seconds = self.finish("--retrain", STEM)
        self.ended = read_wish(self.place)

    def start(self, *more: str) -> Command:
        self.number += 1
        return Command(f"run-{self.number}", self.folder, *self.arguments, *more)

    def finish(self, *more: str) -> tuple[dict, float]:
        """The outcome of a run that nothing befalls, and its seconds."""
        begun, run = time.monotonic(), self.start(*more)
        assert run.command.wait(LONGEST_RUN) == 0, run.complaints()
        return self.outcome_of(run), time.monotonic() - begun

    def outcome_of(self, run: Command) -> dict:
        return outcome(self.place, json.loads(run.out.read_text().splitlines()[-1]))

    def strike(self) -> tuple[str, float, list[str]]:
        """Begin a run and kill somebody at some moment, if it has not ended by then. Returns whom, after how
        many seconds, and what is wrong."""
        before, run = results(self.place), self.start("--retrain", STEM)
        kind, moment = self.rng.choice([FLOW, FLOW, TRAINING]), self.rng.uniform(0, self.seconds)
        wait_until(run.has_ended, moment)
        wait_until(lambda: run.of_kind(kind) or run.has_ended(), LONGEST_RUN)
        for victim in run.of_kind(kind)[:1]:
            end(victim)
        return kind, moment, self.look(run, before)

    def strike_nobody(self) -> list[str]:
        """A run to the end. Returns what is wrong."""
        return self.look(self.start("--retrain", STEM), results(self.place))

    def look(self, run: Command, before: dict) -> list[str]:
        """Wait for a run's end. Returns what is wrong then."""
        status = run.command.wait(LONGEST_RUN)
        problems = [] if run.is_gone(GRACE_SECONDS) else ["somebody is left"]
        after = results(self.place)
        self.made.update(key.split("-")[0] for key in after if after[key] != before.get(key))
        wish = read_wish(self.place)
        if wish["ended"] and wish != self.ended:  # if it was killed since, it had nothing left to make
            problems += [] if sorted(self.made.elements()) == WANTED else [f"made {dict(self.made)}"]
            self.made.clear()
            self.ends, self.ended = self.ends + 1, wish
        return problems + (differences(self.whole, self.outcome_of(run)) if status == 0 else [])


def read_wish(workspace: Path) -> dict:
    """The newest wish that the stem be made again."""
    (wish,) = (workspace / "again").glob("*.json")
    return read_json(wish)


def main() -> int:
    """0 where all was made once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    problems: list[str] = []
    with tempfile.TemporaryDirectory(prefix="waveband-chaos-") as folder:
        retraining = Retraining(Path(folder), random.Random(asked.seed))
        print(f"seed {asked.seed}; undisturbed, it takes {retraining.seconds:.0f} s", flush=True)
        for _ in range(asked.kills):
            kind, moment, wrong = retraining.strike()
            problems += wrong
            print(f"{time.strftime('%H:%M:%S')}  {kind:<10} {moment:5.1f} s  {wrong or 'well'}", flush=True)
        problems += retraining.strike_nobody()
    verdict = f"{len(problems)} PROBLEMS: {problems}" if problems else "each time made once, and as it was"
    print(f"\n{asked.kills} runs disturbed, the stem trained again {retraining.ends} times; {verdict}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
