"""Checks of what a person names, before the network is loaded. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dpcenet.errors import ConfigError


def check_labelled(images: Sequence[Path], masks: Sequence[Path], task: Path | None) -> None:
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
    for flag, paths in (
        ("--support-image", images),
        ("--support-mask", masks),
        ("--task", () if task is None else (task,)),
    ):
        for path in paths:
            if not path.exists():
                raise ConfigError(f"{flag} {path}: there is no such file or folder")
