"""A disk that is full: told from other errors, whoever met it, and put in words.

Knows nothing of what was to be written. The invariant: what it makes of an error says where there is no room,
how much there is, and that nothing finished is lost.
"""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wavenet.errors import DiskFullError

NUMBERS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
WORDS = ("No space left on device", "database or disk is full", "quota exceeded", "File too large")
"""Of libraries whose errors have no number."""


@contextmanager
def full_disk_told(place: Path) -> Iterator[None]:
    """Raise DiskFullError in the place of whatever a full disk has led to. place: where things are written."""
    try:
        yield
    except DiskFullError:
        raise
    except Exception as error:
        if is_of_full_disk(error):
            raise DiskFullError(explain_full_disk(place, error)) from error
        raise


def is_of_full_disk(error: BaseException | None) -> bool:
    """Whether an error, or one that it was raised from or amid, is that there is no room."""
    while error is not None:
        if (isinstance(error, OSError) and error.errno in NUMBERS) or any(
            word in str(error) for word in WORDS
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


def explain_full_disk(place: Path, error: BaseException) -> str:
    """What to tell a person."""
    there = next((path for path in (place, *place.parents) if path.exists()), Path("/"))
    free = shutil.disk_usage(there).free / 1e6
    return (
        f"{place}: the disk is full ({free:,.1f} MB free; {str(error) or type(error).__name__}); nothing that "
        "was finished is lost: make room there, and run the same command again, it goes on from there"
    )
