"""Memory that the C library keeps for later instead of giving it back to the system."""

from __future__ import annotations

import ctypes
import sys

# Parameters of glibc's mallopt(3) and what they are set to: the free memory on top above which it
# is given back, how much more is asked for at once, and the size from which blocks are the
# system's own.
SETTINGS = ((-1, 2**31 - 1), (-2, 2**26), (-3, 2**30))


def keep_freed_memory() -> None:
    """Keep the memory of freed tensors, for a program that needs the same sizes again and again.

    Pages that come anew from the system are zeroed when they are first touched, which took as long
    as making the pairs themselves. Nothing happens where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in SETTINGS:
            mallopt(parameter, value)
