"""Every folder below a folder, once, with its files; what cannot be opened is left aside and named.

Links to folders are followed after everything else, so a scan keeps the path at which it lies.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dpcenet.volumes.io import suffix_of

MOST_NAME_BYTES = 200
"""Of a scan's file name: file systems end at 255, and what is made of it has longer names."""

MOST_DEPTH = 64
"""Folders in folders: nobody sorts scans deeper, and a path may have 4096 bytes."""


class LeftAside(NamedTuple):
    """What was found and is not used, and why."""

    path: Path
    why: str


def folders_below(
    root: Path, skip: Path | None, aside: list[LeftAside]
) -> Iterator[tuple[Path, list[Path]]]:
    """Folders with their regular files, each by name; a folder comes before its subfolders.

    Args:
        root: where to begin.
        skip: a folder that is not searched.
        aside: what cannot be used is added to it. Hidden files and folders are no news.
    """
    waiting, links = [root], list[Path]()
    seen: set[tuple[int, int]] = set()
    if skip is not None and skip.is_dir() and not skip.samefile(root):
        seen.add(_identity(skip))
    deepest = len(root.parts) + MOST_DEPTH
    while waiting or links:
        folder = waiting.pop() if waiting else links.pop()
        try:
            if (identity := _identity(folder)) in seen:
                continue
            seen.add(identity)
            children = sorted(each for each in folder.iterdir() if not each.name.startswith("."))
        except OSError as error:
            aside.append(LeftAside(folder, f"the folder cannot be opened ({error.strerror})"))
            continue
        files, below = list[Path](), list[Path]()
        for child in children:
            why = _sort(child, files, below, links)
            if why:
                aside.append(LeftAside(child, why))
        yield folder, files
        if below and len(folder.parts) >= deepest:
            aside.append(LeftAside(below[0], f"more than {MOST_DEPTH} folders deep"))
        else:
            waiting += reversed(below)


def _identity(folder: Path) -> tuple[int, int]:
    """By which a folder is known under any path."""
    status = folder.stat()
    return status.st_dev, status.st_ino


def why_unusable(name: str) -> str:
    """Why a file of that name cannot have results; "" where it can."""
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        return "its name is not UTF-8; rename it"
    if size > MOST_NAME_BYTES:
        return f"its name has {size} bytes, more than {MOST_NAME_BYTES}; rename it"
    return ""


def _sort(child: Path, files: list[Path], below: list[Path], links: list[Path]) -> str:
    """Put a child where it belongs; why it belongs nowhere, else ""."""
    try:
        mode = child.stat().st_mode
    except OSError as error:
        lost = error.errno in (errno.ENOENT, errno.ELOOP)
        return f"{'a link that leads nowhere' if lost else 'cannot be reached'} ({error.strerror})"
    if why := why_unusable(child.name):
        return why if suffix_of(child) or stat.S_ISDIR(mode) else ""
    if stat.S_ISREG(mode):
        files.append(child)
        return ""
    if stat.S_ISDIR(mode):
        (links if child.is_symlink() else below).append(child)
        return (
            "a folder that is named like a file; searched as a folder" if suffix_of(child) else ""
        )
    return "not a regular file"


def shown(path: Path) -> str:
    """A path in a message: of a very long one, its beginning and its end."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    text = "".join(c if c.isprintable() else " " for c in text)
    return text if len(text) <= 160 else f"{text[:80]}…{text[-70:]}"
