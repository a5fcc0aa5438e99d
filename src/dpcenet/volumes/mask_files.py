"""Which files hold the labels of a scan: one file, a folder, or a file for each organ.

Nothing heavy is imported here: a command checks what it is given before it loads anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dpcenet.errors import ConfigError
from dpcenet.system.words import counted


@dataclass(frozen=True)
class OrganMasks:
    """Several masks of one scan, such as one file for each organ.

    Attributes:
        files: the masks.
        names: what each shows; "" takes the names in the file, else the file's own name.
        values: the label value of each; empty numbers the labels from 1, in their order.
    """

    files: tuple[Path, ...]
    names: tuple[str, ...]
    values: tuple[int, ...] = ()

    def __str__(self) -> str:
        rest = len(self.files) - 1
        return f"{self.files[0]} and {rest} more" if rest else str(self.files[0])


MaskFile = Path | OrganMasks
"""The labels of one scan."""


def paths_of(mask: MaskFile) -> tuple[Path, ...]:
    """What was named: files, or a folder."""
    return mask.files if isinstance(mask, OrganMasks) else (mask,)


def all_files(mask: MaskFile) -> tuple[Path, ...]:
    """What was named and, of a folder, the files in it."""
    inside = [file for path in paths_of(mask) if path.is_dir() for file in path.iterdir()]
    return (*paths_of(mask), *inside)


def together(masks: Sequence[MaskFile]) -> MaskFile:
    """All masks of one scan, at least one, as one."""
    if len(masks) == 1:
        return masks[0]
    parts = [m if isinstance(m, OrganMasks) else OrganMasks((m,), ("",)) for m in masks]
    return OrganMasks(
        tuple(file for part in parts for file in part.files),
        tuple(name for part in parts for name in part.names),
    )


def absolute(mask: MaskFile) -> MaskFile:
    """The same with absolute paths."""
    if isinstance(mask, OrganMasks):
        return OrganMasks(tuple(path.absolute() for path in mask.files), mask.names, mask.values)
    return mask.absolute()


def parse_masks(texts: Sequence[str], scans: int, flag: str) -> tuple[MaskFile, ...]:
    """The masks of each scan, from words of the command line.

    Args:
        texts: each a path, or PATH=NAME for the mask of one organ.
        scans: how many labelled scans there are.
        flag: for the message.

    Returns:
        one for each scan. All of them are the one scan's where there is one.

    Raises:
        ConfigError: there are several scans, and not one mask for each.
    """
    masks = [_mask(text) for text in texts]
    if scans == 1 and masks:
        return (together(masks),)
    if len(masks) != scans:
        raise ConfigError(
            f"{counted(scans, 'labelled scan')} and {len(masks)} {flag}: give one for each scan; "
            "put several masks of one scan into a folder, and give the folder"
        )
    return tuple(masks)


def _mask(text: str) -> MaskFile:
    """A path, or PATH=NAME; a path that is there may have a "=" of its own."""
    path, equals, name = text.rpartition("=")
    if not equals or Path(text).exists():
        return Path(text)
    if not path or not name.strip():
        raise ConfigError(f"{text}: write it as PATH=NAME, such as liver.nii.gz=liver")
    return OrganMasks((Path(path),), (name.strip(),))
