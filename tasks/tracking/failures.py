"""What it means that MLflow was not told something, and when that is tried again.

Knows nothing of outboxes. The invariant: what is not known to be refused for good is tried again.
"""

import time
from dataclasses import dataclass

FIRST_WAIT, LONGEST_WAIT = 2.0, 300.0
REFUSED = {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"}
"""MLflow's codes of what will never be taken, however often it is tried."""
AWAY = {"TEMPORARILY_UNAVAILABLE", "DEADLINE_EXCEEDED"}
"""MLflow's codes of what a proxy says when there is no MLflow behind it."""


@dataclass
class Patience:
    """Waits longer after each failure. wait: seconds after the next one; next_try: by time.monotonic."""

    wait: float = FIRST_WAIT
    next_try: float = 0.0

    @property
    def is_over(self) -> bool:
        """Whether it is time to try."""
        return time.monotonic() >= self.next_try

    def fail(self) -> None:
        """Wait, and twice as long after the next failure."""
        self.next_try = time.monotonic() + self.wait
        self.wait = min(LONGEST_WAIT, 2 * self.wait)


def is_refused(error: Exception) -> bool:
    """Whether an entry would fail again; a file that is gone would, too."""
    return getattr(error, "error_code", None) in REFUSED or isinstance(error, FileNotFoundError)


def is_away(error: Exception) -> bool:
    """Whether MLflow itself did not answer, so that nothing else can be told either.

    Its client has one error for all, raised where that of its connection was caught. A store of artifacts
    which is not there has others.
    """
    from requests import RequestException  # what MLflow's client speaks by

    code = getattr(error, "error_code", None)
    return code in AWAY or (code is not None and isinstance(error.__context__, RequestException))
