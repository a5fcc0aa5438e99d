"""What a machine runs out of: disk and memory, in the words of those who notice it first."""

from __future__ import annotations

import errno

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a disk, or of a person's share of it, that is full."""
_MEMORY = (
    "can't allocate memory",
    "could not create a primitive",
    "out of memory",
    "cannot allocate memory",
    "bad allocation",
)
"""What torch, ITK and the system's loader say, in lower case."""
_DISK = ("no space left on device", "file too large", "disk quota exceeded")
"""What libraries say that raise no OSError, such as safetensors and ITK, in lower case."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is not enough memory."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError | ImportError | OSError) and any(
        words in text for words in (*_MEMORY, "can't start new thread", "failed to map segment")
    )


def out_of_space(error: BaseException) -> bool:
    """Whether an error says that the disk is full."""
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return True
    text = str(error).lower()
    numpys = isinstance(error, OSError) and text.endswith(" written") and " requested and " in text
    return numpys or any(words in text for words in _DISK)
