"""Takes played block by block and watched: what is in trouble is played again before anybody has heard it.

Knows nothing of files. What is not yet judged good is held back, so what is yielded is final. The
invariants: at any yield a `Take` is all that decides how it goes on, so one that is taken up again, today or
in another process, ends as if it had not been; and what becomes of a take depends neither on the size
of blocks nor on the takes beside it.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from wavenet.audio.mulaw import Codes
from wavenet.generation.engine import BLOCK, PLAYER, Player, generate_blocks
from wavenet.generation.guards import FRAMES_A_SECOND, GOOD_FRAMES, Guard, Trouble, Watch
from wavenet.model.conditioning import Condition
from wavenet.model.wavenet import WaveNet

Tell = Callable[[int, int], Condition | None]
"""What one stream is told: from the first code of a window, counted from the take's first sample (before it:
below 0), and the number of its codes, to the condition of those codes; None if there is nothing to tell."""

STRETCH = 1 << 19
"""Samples of which a condition is made at once: longer takes need no more memory. They begin at multiples of
this, wherever a take is taken up, so that the same frames are encoded together to the last bit."""


def tell_nothing(first: int, num_codes: int) -> Condition | None:
    """A `Tell` of no condition."""
    return None


@dataclass(frozen=True)
class Incident:
    """Trouble, and which of the restarts in a row it led to. second: of the take, where it had begun.

    restarted: not where there had been as many restarts as are allowed: then it goes on, unwatched.
    """

    kind: str
    second: float
    attempt: int
    restarted: bool

    def __str__(self) -> str:
        then = f"begun again, attempt {self.attempt}" if self.restarted else "goes on as it is, unwatched"
        return f"{self.kind} at {self.second:.1f} s, {then}"


@dataclass
class Take:
    """One stream on its way, up to its last final sample.

    number: of the seed's streams. recent: its last final codes, those that it began with before its own.
    final: samples that are final; draws: uniforms used up to there. place: where the present row
    of restarts began, attempt: how many it has. held: codes after the final ones, not judged yet; no part of
    the state.
    """

    number: int
    recent: Codes
    final: int = 0
    draws: int = 0
    place: int = 0
    attempt: int = 0
    watched: bool = True
    incidents: list[Incident] = field(default_factory=list)
    held: Codes = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        self.held = self.recent[:0]

    @property
    def position(self) -> int:
        """Samples that it has, final or not."""
        return self.final + len(self.held)


def play_takes(
    model: WaveNet,
    takes: Sequence[Take],
    num_samples: int,
    *,
    guard: Guard | None,
    tell: Tell = tell_nothing,
    seed: int = 0,
    player: Player = PLAYER,
    block: int = BLOCK,
    least_kept: int = 0,
) -> Iterator[tuple[Take, Codes]]:
    """Yield each take and the codes that have become final of it, until all have num_samples.

    takes: changed as they go on; recent holds receptive_field codes or more at first, and after, if
    there are so many, least_kept at least. guard: watches over them; None: everything is final at once. After
    each block each take is yielded with no codes. Raises as `generate_blocks`, before the first.
    """
    kept = max(model.receptive_field, least_kept)
    streams = [_Stream(take, guard, kept, num_samples) for take in takes]
    stretches = _Stretches(tell, model.receptive_field)
    while playing := [stream for stream in streams if stream.take.position < num_samples]:
        yield from _play_lap(model, playing, num_samples, stretches, seed, player, block)


def _play_lap(
    model: WaveNet,
    playing: Sequence["_Stream"],
    num_samples: int,
    stretches: "_Stretches",
    seed: int,
    player: Player,
    block: int,
) -> Iterator[tuple[Take, Codes]]:
    """All streams side by side, until one has to be played again, ends, or needs its next condition."""
    takes = [stream.take for stream in playing]
    places = [take.position for take in takes]
    length = min(num_samples - max(places), *(stretches.left(place) for place in places))
    blocks = generate_blocks(
        model,
        np.stack([stream.context(model.receptive_field) for stream in playing]),
        length,
        condition=stretches.condition(places, length),
        seed=seed,
        player=player,
        block=block,
        passed=[take.draws + len(take.held) for take in takes],
        numbers=[take.number for take in takes],
    )
    for codes in blocks:
        restarted = False
        for stream, mine in zip(playing, codes, strict=True):
            before = len(stream.take.incidents)
            for final in stream.take_in(mine):
                yield stream.take, final
            yield stream.take, stream.take.recent[:0]
            restarted |= any(incident.restarted for incident in stream.take.incidents[before:])
        if restarted:
            return


class _Stream:
    """A take and who watches it."""

    def __init__(self, take: Take, guard: Guard | None, kept: int, num_samples: int) -> None:
        self.take, self.guard, self.kept, self.num_samples = take, guard, kept, num_samples
        self._watch_anew()

    def _watch_anew(self) -> None:
        """From here on: what is final was judged, and is not held against what follows.

        No window that trouble could still be found in begins before it, so one who takes this up elsewhere
        sees the same.
        """
        guard, take = self.guard, self.take
        take.held = take.recent[:0]
        self.watch = Watch(guard) if guard and take.watched else None
        self.num_judged = take.final // guard.hop if guard else 0

    def context(self, length: int) -> Codes:
        """The last codes that there are."""
        return np.concatenate([self.take.recent, self.take.held])[-length:]

    def take_in(self, codes: Codes) -> Iterator[Codes]:
        """What becomes final with these codes, and after trouble nothing of them any more."""
        take, guard = self.take, self.guard
        take.held = np.concatenate([take.held, codes])
        if not guard or not self.watch:
            yield self._release(take.position)
            return
        while (self.num_judged + 1) * guard.hop <= take.position:
            first = self.num_judged * guard.hop - take.final
            self.watch.hear(take.held[first : first + guard.hop])
            self.num_judged += 1
            if trouble := self.watch.trouble():
                yield self._meet(trouble, guard)
                return
            if (good := (self.num_judged - guard.held) * guard.hop) > take.final:
                yield self._release(good)
        if take.position == self.num_samples:
            yield self._release(take.position)

    def _meet(self, trouble: Trouble, guard: Guard) -> Codes:
        """Begin again before it, or let it be, where that was tried often enough."""
        take = self.take
        began = self.num_judged - trouble.num_frames
        place = max(take.final, (began - trouble.led) * guard.hop)
        if place > take.place + GOOD_FRAMES * guard.hop:  # it has got on
            take.place, take.attempt = place, 0
        take.attempt += 1
        restarted = take.attempt <= guard.restarts
        second = began / FRAMES_A_SECOND
        take.incidents.append(Incident(trouble.kind, second, take.attempt, restarted))
        if not restarted:
            take.watched, self.watch = False, None
            return self._release(take.position)
        used = take.draws + self.num_judged * guard.hop - take.final
        final = self._release(place)
        take.draws = used
        self._watch_anew()
        return final

    def _release(self, end: int) -> Codes:
        """The held codes up to sample `end`, which are final now."""
        take = self.take
        codes, take.held = np.split(take.held, [end - take.final])
        take.recent = np.concatenate([take.recent, codes])[-self.kept :]
        take.final, take.draws = end, take.draws + len(codes)
        return codes


class _Stretches:
    """Conditions of whole stretches, and of what streams need of them."""

    def __init__(self, tell: Tell, receptive_field: int) -> None:
        self.tell, self.receptive_field = tell, receptive_field
        self.made: OrderedDict[int, Condition | None] = OrderedDict()

    def left(self, place: int) -> int:
        """Samples from a place to the end of its stretch."""
        return STRETCH - place % STRETCH

    def condition(self, places: Sequence[int], length: int) -> Condition | None:
        """Of streams at those places that play so many samples. None if they are told nothing."""
        parts = [self._part(place, length) for place in places]
        told = [part for part in parts if part is not None]
        return Condition.join(told) if told else None

    def _part(self, place: int, length: int) -> Condition | None:
        number, first = divmod(place, STRETCH)
        whole = self._whole(number)
        if whole is None:
            return None
        columns = slice(first, first + self.receptive_field + length - 1)
        return replace(whole, frame_index=whole.frame_index[:, columns])

    def _whole(self, number: int) -> Condition | None:
        if number not in self.made:
            first = number * STRETCH - self.receptive_field
            self.made[number] = self.tell(first, self.receptive_field + STRETCH - 1)
            while len(self.made) > 2:  # streams may lie on both sides of a border
                self.made.popitem(last=False)
        return self.made[number]
