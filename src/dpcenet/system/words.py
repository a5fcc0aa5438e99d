"""Numbers in sentences for people."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun, as people say it: "1 mask", "2 masks", "12,000 voxels".

    Args:
        number: how many.
        noun: of one of them.
        plural: of several; by default the noun with an s.
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
