"""What other packages offer: entry points, found by name and loaded when they are asked for.

A package whose entry point cannot be loaded costs a line of warning, and nothing else.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

from dpcenet.errors import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Offered = TypeVar("Offered")

METHODS, DATASETS = "dpcenet.methods", "dpcenet.datasets"
"""Groups of entry points."""


def offered(group: str) -> dict[str, EntryPoint]:
    """Name → entry point of a group, without importing anything; of two, the first one found."""
    from importlib.metadata import entry_points  # `dpcenet --help` does not wait for it

    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        found.setdefault(entry.name, entry)
    return found


def package_of(entry: EntryPoint) -> str:
    """The package that offers an entry point, and its version."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value


def load(entry: EntryPoint, kind: type[Offered]) -> Offered:
    """What an entry point names.

    Raises:
        ConfigError: it cannot be imported, or is of another kind; the message names the package.
    """
    place = f"{entry.name} of the package {package_of(entry)}"
    try:
        found = entry.load()
    except Exception as error:  # anything may go wrong in code that is not ours
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{place}: cannot be loaded ({type(error).__name__}: {reason}); update or uninstall it"
        ) from error
    if not isinstance(found, kind):
        raise ConfigError(
            f"{place}: {entry.value} is of kind {type(found).__name__}, not {kind.__name__}; "
            "update or uninstall it"
        )
    return found


def load_all(group: str, kind: type[Offered]) -> dict[str, Offered]:
    """Everything of a group that can be loaded; a line of warning for each that cannot."""
    found = {}
    for name, entry in offered(group).items():
        try:
            found[name] = load(entry, kind)
        except ConfigError as error:
            logging.getLogger("dpcenet").warning("dpcenet: left out: %s", error)
    return found
