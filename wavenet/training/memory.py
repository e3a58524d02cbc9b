"""Memory of this process: what one training step gives back stays for the next one, how much it was, whether
it has ended.

Knows nothing of tensors. The invariant: nothing is computed otherwise, only where from memory comes.
"""

import ctypes
import platform
from pathlib import Path

# mallopt's numbers of glibc's malloc.h
TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8
NEVER_TRIM = -1
LARGEST = 2**31 - 1


def keep_memory() -> bool:
    """Tell glibc to give no memory back to the system; True if it took that. No effect elsewhere.

    Buffers above 32 MiB are mapped by each step anew otherwise, and their pages faulted in one by one; and
    each thread has an arena of its own, in heaps of 64 MiB whose ends are too short for the next buffer. For
    the whole process, from now on, mallopt(3); what is resident is then what it was at its peak.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or none that can be asked
        return False
    answers = [mallopt(MMAP_THRESHOLD, LARGEST), mallopt(TRIM_THRESHOLD, NEVER_TRIM), mallopt(ARENA_MAX, 1)]
    return all(answer == 1 for answer in answers)


def peak_memory() -> int:
    """The most bytes that were resident in this process so far."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return _peak_with_ancestors()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is that memory has ended, this process's or a card's."""
    import torch  # seconds, which the others here need not wait for

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return "can't allocate memory" in str(error) or "not enough memory" in str(error)


def _peak_with_ancestors() -> int:
    """As the system counts for a process, which may begin with what its parent had."""
    import resource  # not on every system

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024
