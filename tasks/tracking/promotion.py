"""Which version of a stem's model is the champion: of those that compare, the one with the fewest bits.

Pure. The invariants: bits are compared only where they are bits of the same held-out audio at the same rate,
levels and law; whatever is decided has a reason in words.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Version:
    """A registered model. facts: what its bits are bits of, by name."""

    number: int
    digest: str
    bits: float
    heldout_digest: str
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Verdict:
    """champion: the version that is to be it; before: the one that was. changed: whether that is another."""

    champion: Version | None
    before: Version | None
    reason: str
    refused: bool = False

    @property
    def changed(self) -> bool:
        return self.champion is not None and self.champion != self.before


def choose_champion(versions: Sequence[Version], before: Version | None, force: bool = False) -> Verdict:
    """The verdict on a stem's versions, among those that compare with the champion; without one, or where it
    is forced, with the newest."""
    if not versions:
        return Verdict(None, None, "no version is registered yet")
    newest = max(versions, key=lambda version: version.number)
    if before is None:
        return Verdict(_best(versions, newest), None, "the first champion")
    if newest.heldout_digest != before.heldout_digest:
        if not force:
            return _refuse(newest, before)
        best = _best(versions, newest)
        return Verdict(best, before, f"forced: {_difference(newest, before)}")
    best = _best(versions, before)
    if best.bits < before.bits:
        return Verdict(best, before, f"{before.bits - best.bits:.3f} bits fewer")
    return Verdict(before, before, "no version has fewer bits")


def _best(versions: Sequence[Version], like: Version) -> Version:
    """The fewest bits; of equals the older one."""
    comparable = [one for one in versions if one.heldout_digest == like.heldout_digest]
    return min(comparable, key=lambda one: (one.bits, one.number))


def _refuse(newest: Version, before: Version) -> Verdict:
    reason = (
        f"version {newest.number} cannot be compared with version {before.number}: "
        f"{_difference(newest, before)}; --force makes the best of its kind the champion"
    )
    return Verdict(before, before, reason, refused=True)


def _difference(newest: Version, before: Version) -> str:
    """Of two that do not compare, what differs."""
    facts, others = dict(newest.facts), dict(before.facts)
    told = [
        f"{name} is {facts[name]}, was {others.get(name)}"
        for name in facts
        if facts[name] != others.get(name)
    ]
    return ", ".join(told) or "its bits are of other held-out audio"
