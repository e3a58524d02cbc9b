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
        _, self.seconds = self.finish("--retrain", STEM)

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
        """Begin a run and kill somebody at some moment. Returns whom, if it came to that, after how many
        seconds, and what is wrong."""
        before, run = results(self.place), self.start("--retrain", STEM)
        kind, moment = self.rng.choice([FLOW, FLOW, TRAINING]), self.rng.uniform(0, self.seconds)
        wait_until(run.has_ended, moment)
        wait_until(lambda: run.of_kind(kind) or run.has_ended(), LONGEST_RUN)
        for victim in run.of_kind(kind)[:1]:
            end(victim)
        status = run.command.wait(LONGEST_RUN)
        problems = [] if run.is_gone(GRACE_SECONDS) else ["somebody is left"]
        after = results(self.place)
        self.made.update(key.split("-")[0] for key in after if after[key] != before.get(key))
        if has_ended(self.place):  # if it was killed since, it had nothing left to make
            problems += [] if sorted(self.made.elements()) == WANTED else [f"made {dict(self.made)}"]
            self.made.clear()
        if status == 0:
            problems += differences(self.whole, self.outcome_of(run))
        return ("" if status == 0 else kind), moment, problems


def has_ended(workspace: Path) -> bool:
    """Whether a run that was given the newest wish has ended."""
    (wish,) = (workspace / "again").glob("*.json")
    return bool(read_json(wish)["ended"])


def main() -> int:
    """0 where all was made once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    problems: list[str] = []
    kills, ends, kind = 0, 0, ""
    with tempfile.TemporaryDirectory(prefix="waveband-chaos-") as folder:
        retraining = Retraining(Path(folder), random.Random(asked.seed))
        print(f"seed {asked.seed}; undisturbed, it takes {retraining.seconds:.0f} s", flush=True)
        while kills < asked.kills or kind:  # until one ends
            kind, moment, wrong = retraining.strike()
            kills, ends, problems = kills + bool(kind), ends + (not kind), problems + wrong
            told = "; ".join(wrong) or "well"
            print(f"{time.strftime('%H:%M:%S')}  {kind or 'ended':<10} {moment:5.1f} s  {told}", flush=True)
    verdict = f"{len(problems)} PROBLEMS" if problems else "each time made once, and as it was"
    print(f"\n{kills} kills, {ends} ends; {verdict}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
