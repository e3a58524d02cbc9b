"""`python -m tests.chaos`: kill runs at random moments, begin them again, and count what was lost.

As in: python -m tests.chaos --kills 30 --seed 1 --kinds flow training "pool worker" --stems drums bass
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.campaign import ENDING, Blow, Campaign
from tests.chaos.family import KINDS
from tests.chaos.songs import OVERRIDES, write_input
from tests.chaos.traces import BETWEEN, STAGES, STARTING

KILLS_A_WORKSPACE = 10


def main() -> int:
    """0 where nothing was lost."""
    asked = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="waveband-chaos-") as folder:
        place = Path(folder)
        arguments = write_input(place, asked.stems)
        begun = time.monotonic()
        campaign = Campaign(place, [*arguments, *OVERRIDES], random.Random(asked.seed))
        print(f"seed {asked.seed}; undisturbed, a run takes {campaign.seconds:.0f} s", flush=True)
        blows = strike_all(campaign, asked.kinds, asked.kills)
    print_table(blows, asked.kinds)
    return print_verdict(blows, time.monotonic() - begun)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--stems", nargs="+", default=["drums", "bass"])
    return parser.parse_args()


def strike_all(campaign: Campaign, kinds: Sequence[str], count: int) -> list[Blow]:
    """So many kills, some in each workspace."""
    blows: list[Blow] = []
    kills = campaign.choose(kinds, count)
    for number in range(0, count, KILLS_A_WORKSPACE):
        for blow in campaign.strike(f"workspace-{number}", kills[number : number + KILLS_A_WORKSPACE]):
            blows.append(blow)
            time_of_day = time.strftime("%H:%M:%S")
            told = "; ".join(blow.problems) or "well"
            print(f"{time_of_day}  {blow.kind or 'run to the end':<14} {blow.stage:<10} {told}", flush=True)
    return blows


def count_hits(blows: Sequence[Blow]) -> int:
    return sum(blow.kind in KINDS for blow in blows)


def print_table(blows: Sequence[Blow], kinds: Sequence[str]) -> None:
    """Stages down, kinds across."""
    counts = Counter((blow.stage, blow.kind) for blow in blows)
    print("\n| stage | " + " | ".join(kinds) + " |")
    print("|---|" + "---:|" * len(kinds))
    for stage in (STARTING, *STAGES, BETWEEN, ENDING):
        cells = [str(counts[stage, kind] or "") for kind in kinds]
        if any(cells):
            print(f"| {stage} | " + " | ".join(cells) + " |")


def print_verdict(blows: Sequence[Blow], seconds: float) -> int:
    kinds = Counter(blow.kind for blow in blows if blow.kind in KINDS)
    told = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
    problems = [problem for blow in blows for problem in blow.problems]
    verdict = f"{len(problems)} PROBLEMS" if problems else "all digests equal, nothing left behind"
    print(f"\n{count_hits(blows)} kills: {told}; {verdict} ({seconds / 60:.0f} min)")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
