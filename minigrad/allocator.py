"""How the C library treats memory that arrays gave back."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # glibc's numbers of mallopt's parameters
_MOST_TRIM = 2**31 - 1  # the largest value it takes


def keep_freed_memory() -> bool:
    """From now on memory that arrays give back stays with the process, for the arrays to come.

    A training step makes and frees the same hundreds of MB again and again. glibc returns such memory to the system and
    asks for it anew, and the system clears every page: about a tenth of a step in bfloat16. The most that the process
    occupies does not grow: threads share what is free, where each would keep some for itself. Arrays of more than 32 MB
    would be asked for one by one (mmap) whatever the threshold, so that way is closed. For programs, not for libraries:
    it concerns the whole process.

    Returns:
        Whether the C library has such a setting.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    settings = ((_TRIM_THRESHOLD, _MOST_TRIM), (_MMAP_MAX, 0), (_ARENA_MAX, 1))
    return all(mallopt(*setting) for setting in settings)
