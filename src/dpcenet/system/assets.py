"""Files that come with the package: presets, plans, templates, weights, published numbers."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable


def asset(name: str) -> Traversable:
    """A file or folder of the package.

    Args:
        name: its path below `assets`, with "/" between folders.
    """
    return resources.files("dpcenet").joinpath("assets", *name.split("/"))


def asset_names(folder: str, suffix: str) -> list[str]:
    """Files of a folder of the package that end in `suffix`: their names without it, sorted."""
    names = (file.name for file in asset(folder).iterdir())
    return sorted(name.removesuffix(suffix) for name in names if name.endswith(suffix))
