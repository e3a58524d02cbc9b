"""`python -m tests.chaos`: kill runs at random moments, begin them again, and count what was lost.

As in: python -m tests.chaos --kills 30 --seed 1 --kinds flow training "pool worker" --stems drums bass
With --deployed each is a run of the deployment, and Prefect's server and worker are killed, too; with
--separated what is played are finished tracks, and their separation is a stage among the others.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from tests.chaos.campaign import ENDING, Blow, Campaign
from tests.chaos.family import KINDS, MARK, OF_A_COMMAND, OF_A_SITE
from tests.chaos.songs import HUB, write_input, write_tracks
from tests.chaos.traces import BETWEEN, STAGES, STARTING
from tests.prefect_site import Site

KILLS_A_WORKSPACE = 10


def main() -> int:
    """0 where nothing was lost."""
    asked = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="waveband-chaos-") as folder:
        place = Path(folder)
        begun = time.monotonic()
        os.environ["HF_HUB_CACHE"] = str(place / HUB)
        asked_for = write_tracks(place) if asked.separated else write_input(place, asked.stems)
        with open_site(place) if asked.deployed else nullcontext() as site:
            campaign = Campaign(place, asked_for, random.Random(asked.seed), site)
            print(f"seed {asked.seed}; undisturbed, a run takes {campaign.seconds:.0f} s", flush=True)
            kinds = asked.kinds or (OF_A_SITE if asked.deployed else OF_A_COMMAND)
            blows = strike_all(campaign, kinds, asked.kills, asked.stages)
    print_table(blows, kinds)
    return print_verdict(blows, time.monotonic() - begun)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS)
    parser.add_argument("--deployed", action="store_true", help="on a server, a pool and a worker")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=[], help="kill in these alone")
    parser.add_argument("--stems", nargs="+", default=["drums", "bass"])
    parser.add_argument("--separated", action="store_true", help="finished tracks, which are separated")
    return parser.parse_args()


@contextmanager
def open_site(folder: Path) -> Iterator[Site]:
    """A server, a pool, the deployments and a worker, all with a mark."""
    threads = {"OMP_NUM_THREADS": "1", "WAVEBAND_DEVICES": str(folder / "devices")}
    site = Site(folder, {MARK: "site", **threads})
    try:
        site.start()
        yield site
    finally:
        site.end()


def strike_all(campaign: Campaign, kinds: Sequence[str], count: int, stages: Sequence[str]) -> list[Blow]:
    """So many kills, some in each workspace; where nobody was left to be killed, another in its place."""
    blows: list[Blow] = []
    while left := count - count_hits(blows):
        kills = campaign.choose(kinds, min(left, KILLS_A_WORKSPACE), stages)
        for blow in campaign.strike(f"workspace-{len(blows)}", kills):
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
