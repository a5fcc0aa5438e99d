"""What a machine runs out of: disk and memory, in the words of those who notice it first."""

from __future__ import annotations

import errno

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a disk, or of a person's share of it, that is full."""
_PLACE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
    *(errno.ENAMETOOLONG, errno.ELOOP),
)
"""Errors of a place where nothing can be written."""
_DRIVE = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENODEV, errno.ENXIO, errno.EHOSTDOWN)
"""Errors of a drive that does not answer, such as one of a network."""
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


def mendable(error: Exception) -> str:
    """What a person can do about a fault of the machine; "" where it is none."""
    # Of two names the second is where a file was to be moved.
    name = getattr(error, "filename2", None) or getattr(error, "filename", None)
    if out_of_memory(error):
        return "not enough memory; close other programs, take fewer --jobs, or smaller scans"
    if out_of_space(error):
        place = name or "the output"
        return f"{place}: no space is left on the disk; free some, and run the same command again"
    if isinstance(error, OSError) and name is not None:
        if error.errno in _PLACE:
            return f"{name}: {error.strerror}; choose another folder"
        if error.errno in _DRIVE:
            return f"{name}: {error.strerror}; see that the drive is there, and run it again"
    return ""
