"""How fast to learn at each step, and when to stop: what is decided from steps and held-out bits.

Knows nothing of networks. The invariant: all of its memory is in `Watch`, which a checkpoint keeps, so a
resumed training decides as the uninterrupted one.
"""

import math
from dataclasses import dataclass, replace

from wavenet.config import TrainingConfig

LEAST_GAIN = 1e-4
"""Bits: less than this is no gain."""


@dataclass(frozen=True)
class Watch:
    """What has been seen on held-out audio. best_bits: None before the first look."""

    best_bits: float | None = None
    best_step: int = 0
    looks_since_gain: int = 0
    looks_since_cut: int = 0
    rate_factor: float = 1.0

    def look(self, step: int, bits: float, config: TrainingConfig) -> "Watch":
        """After one more look; on a plateau the rate halves after `plateau_looks` looks without gain."""
        if self.best_bits is None or bits < self.best_bits - LEAST_GAIN:
            return Watch(bits, step, 0, 0, self.rate_factor)
        seen = replace(
            self,
            looks_since_gain=self.looks_since_gain + 1,
            looks_since_cut=self.looks_since_cut + 1,
        )
        if config.schedule == "plateau" and seen.looks_since_cut >= config.plateau_looks:
            factor = max(config.final_rate_share, self.rate_factor / 2)
            return replace(seen, looks_since_cut=0, rate_factor=factor)
        return seen

    def says_stop(self, config: TrainingConfig) -> bool:
        """Whether held-out audio has been without gain for too long."""
        return config.stop_after is not None and self.looks_since_gain >= config.stop_after


def learning_rate_at(step: int, config: TrainingConfig, watch: Watch = Watch()) -> float:
    """Linear warm-up, then a cosine down to final_rate_share of the peak, or what the watch says."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if config.schedule != "cosine":
        return config.learning_rate * watch.rate_factor
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    floor = config.final_rate_share
    return config.learning_rate * (floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2)
