"""Memory that one training step gives back stays with the process for the next one.

Knows nothing of tensors. The invariant: nothing is computed otherwise, only where from memory comes.
"""

import ctypes

# mallopt's numbers of glibc's malloc.h
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
NEVER_TRIM = -1
LARGEST = 2**31 - 1


def keep_memory() -> bool:
    """Tell glibc to give no memory back to the system; True if it took that. No effect elsewhere.

    Buffers above 32 MiB are mapped by each step anew otherwise, and their pages faulted in one by one. For
    the whole process, from now on, mallopt(3); what is resident is then what it was at its peak.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or none that can be asked
        return False
    answers = mallopt(MMAP_THRESHOLD, LARGEST), mallopt(TRIM_THRESHOLD, NEVER_TRIM)
    return answers == (1, 1)
