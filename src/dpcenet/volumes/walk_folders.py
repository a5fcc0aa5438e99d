"""Every folder below a folder, once, with its files; what cannot be opened is left aside and named.

Links to folders are followed after everything else, so a scan keeps the path at which it lies. A
link to a folder that holds the link, such as one to /, is never followed: it leads to everything
else on the disk. Where links out are not wanted, no file is opened that lies elsewhere.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from dpcenet.volumes.io import suffix_of

MOST_NAME_BYTES = 200
"""Of a scan's file name: file systems end at 255, and what is made of it has longer names."""

MOST_DEPTH = 64
"""Folders in folders: nobody sorts scans deeper, and a path may have 4096 bytes."""


LEADS_OUT = "a link that leads out of the folder"
HOLDS_IT = "a link to a folder that holds the link"


class LeftAside(NamedTuple):
    """What was found and is not used, and why."""

    path: Path
    why: str


class Folder(NamedTuple):
    """A folder with its regular files; `outside` are its links to files elsewhere, where those are
    not wanted."""

    path: Path
    files: list[Path]
    outside: list[Path]


def folders_below(
    root: Path, skip: Path | None, aside: list[LeftAside], links_out: bool = True
) -> Iterator[Folder]:
    """Folders with their regular files, each by name; a folder comes before its subfolders.

    Args:
        root: where to begin.
        skip: a folder that is not searched.
        aside: what cannot be used is added to it. Hidden files and folders are no news.
        links_out: whether links that lead out of `root` are followed.
    """
    home = root.resolve()
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
            if _holds(folder, home):
                aside.append(LeftAside(folder, HOLDS_IT))
                continue
            seen.add(identity)
            children = sorted(each for each in folder.iterdir() if not each.name.startswith("."))
        except OSError as error:
            aside.append(LeftAside(folder, f"the folder cannot be opened ({error.strerror})"))
            continue
        files, below, outside = list[Path](), list[Path](), list[Path]()
        for child in children:
            if not links_out and child.is_symlink() and not lies_in(child, home):
                outside.append(child)
                why = LEADS_OUT
            else:
                why = _sort(child, files, below, links)
            if why:
                aside.append(LeftAside(child, why))
        yield Folder(folder, files, outside)
        if below and len(folder.parts) >= deepest:
            aside.append(LeftAside(below[0], f"more than {MOST_DEPTH} folders deep"))
        else:
            waiting += reversed(below)


def lies_in(path: Path, home: Path) -> bool:
    """Whether a path leads to something in `home`, a resolved path, once all links are followed."""
    try:
        return path.resolve().is_relative_to(home)
    except (OSError, RuntimeError):  # a link to itself leads nowhere: opening it says so
        return True


def _holds(folder: Path, home: Path) -> bool:
    """Whether a folder is a link, and what it leads to holds the link or all that is searched."""
    if not folder.is_symlink():
        return False
    target = folder.resolve()
    return home.is_relative_to(target) or folder.parent.resolve().is_relative_to(target)


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


def by_reason(aside: Sequence[LeftAside], root: Path | None = None) -> dict[str, list[str]]:
    """Why something is left aside → the names, as they are shown.

    Args:
        aside: what is left aside.
        root: a folder that names are told relative to.
    """
    kinds: dict[str, list[str]] = {}
    for path, why in aside:
        if root is not None and path != root and path.is_relative_to(root):
            path = path.relative_to(root)
        kinds.setdefault(why, []).append(shown(path))
    return kinds


def shown(path: Path) -> str:
    """A path in a message: of a very long one, its beginning and its end."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    text = "".join(c if c.isprintable() else " " for c in text)
    return text if len(text) <= 160 else f"{text[:80]}…{text[-70:]}"
