"""Checks of what a person names, before the network is loaded. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dpcenet.errors import ConfigError
from dpcenet.volumes.mask_files import MaskFile, parse_masks, paths_of, together


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

    A scan that is named several times gets all its masks.

    Raises:
        ConfigError: as `check_labelled`, or a mask is written wrongly.
    """
    if task is not None or not images or not masks:
        check_labelled(images, tuple(map(Path, masks)), task)
        return (), ()
    if len(images) == 1:
        found = parse_masks(masks, 1, "--support-mask")
    else:
        each = parse_masks(masks, len(images), "--support-mask")
        distinct = list(dict.fromkeys(images))
        found = tuple(
            together([mask for image, mask in zip(images, each, strict=True) if image == one])
            for one in distinct
        )
        images = distinct
    check_labelled(images, found, task)
    return tuple(images), found


def _check_there(flag: str, paths: Sequence[Path]) -> None:
    """Refuse a path where there is nothing.

    Raises:
        ConfigError: the message names the flag and the path.
    """
    for path in paths:
        if not path.exists():
            raise ConfigError(f"{flag} {path}: there is no such file or folder")
