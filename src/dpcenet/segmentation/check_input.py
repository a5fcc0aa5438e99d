"""Checks of what a person names, before the network is loaded. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dpcenet.errors import ConfigError
from dpcenet.volumes.mask_files import MaskFile, OrganMasks, parse_masks, paths_of, together


def check_labelled(images: Sequence[Path], masks: Sequence[MaskFile], task: Path | None) -> None:
    """Refuse labelled scans that cannot work, whatever is in the files.

    Raises:
        ConfigError: no labelled scan, labelled scans and a task, a scan without its mask, or a
            path where there is nothing.
    """
    if task is not None and (images or masks):
        raise ConfigError("give --task, or --support-image with --support-mask, not both")
    if task is None and not images:
        raise ConfigError("no labelled scan: give --support-image and --support-mask, or --task")
    if len(images) != len(masks):
        raise ConfigError(
            f"{len(images)} --support-image and {len(masks)} --support-mask: give pairs"
        )
    _check_there("--support-image", images)
    _check_there("--support-mask", [path for mask in masks for path in paths_of(mask)])
    _check_there("--task", () if task is None else (task,))


def labelled_scans(
    images: Sequence[Path], masks: Sequence[str], task: Path | None = None
) -> tuple[tuple[Path, ...], tuple[MaskFile, ...]]:
    """Labelled scans and the masks of each, from words of the command line, checked.

    A scan that is named several times gets all its masks that have names (PATH=NAME).

    Raises:
        ConfigError: as `check_labelled`, or a mask is written wrongly.
    """
    if task is not None or not images or not masks:
        check_labelled(images, tuple(map(Path, masks)), task)
        return (), ()
    found = parse_masks(masks, len(images), "--support-mask")
    pairs: list[tuple[Path, MaskFile]] = []
    for image, mask in zip(images, found, strict=True):
        same = [n for n, (one, other) in enumerate(pairs) if one == image and _named(other)]
        if same and _named(mask):
            pairs[same[0]] = (image, together([pairs[same[0]][1], mask]))
        else:
            pairs.append((image, mask))
    scans, labels = tuple(image for image, _ in pairs), tuple(mask for _, mask in pairs)
    check_labelled(scans, labels, task)
    return scans, labels


def _named(mask: MaskFile) -> bool:
    """Whether the person said what a mask shows."""
    return isinstance(mask, OrganMasks) and all(mask.names)


def _check_there(flag: str, paths: Sequence[Path]) -> None:
    """Refuse a path where there is nothing.

    Raises:
        ConfigError: the message names the flag and the path.
    """
    for path in paths:
        if not path.exists():
            raise ConfigError(f"{flag} {path}: there is no such file or folder")
