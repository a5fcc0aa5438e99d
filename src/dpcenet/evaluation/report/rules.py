"""The rules by which the numbers of a table were made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dpcenet.evaluation.protocols import EACH_SLICE
from dpcenet.system.texts import Saying, saying


def rules_of(summary: Mapping[str, Any]) -> tuple[Saying, ...]:
    """A line for a table.

    Args:
        summary: what summary-<protocol>.json holds.
    """
    return (*_of_protocol(summary), *_of_data(summary), *_unusual(summary))


def _of_protocol(summary: Mapping[str, Any]) -> Iterator[Saying]:
    yield Saying(f"rules.{summary['protocol']}")
    if summary["chunks"] == EACH_SLICE:
        yield Saying("rules.chunks.each")
    elif summary["chunks"]:
        kind = summary.get("bounds", "number")
        yield saying(f"rules.chunks.{kind}", chunks=summary["chunks"])


def _of_data(summary: Mapping[str, Any]) -> Iterator[Saying]:
    shots = summary.get("shots", 1)
    several = ".shots" if shots > 1 else ""
    yield saying(f"rules.support{several}", support=summary["support"], shots=shots)
    yield saying("rules.folds", scheme=summary["scheme"])
    yield saying("rules.setting", setting=summary["setting"])


def _unusual(summary: Mapping[str, Any]) -> Iterator[Saying]:
    """What is not as in most tables."""
    if without := summary.get("without"):
        yield saying("rules.without", parts=" + ".join(without))
    if summary.get("cut", 0.5) != 0.5:
        yield Saying("rules.cut")
    if (count := summary.get("neighbours")) is not None:
        yield saying("rules.neighbours", count=count) if count else Saying("rules.alone")
    if summary.get("as_volume"):
        yield Saying("rules.volume")
    if seen := summary.get("supports_trained_on"):
        yield saying("rules.seen", cases=", ".join(seen))
    if removed := summary.get("exclusion"):
        yield saying(
            "rules.exclusion",
            rule=removed["rule"],
            slices=removed["training_slices"],
            any=removed["removed_by_any"],
            all=removed["removed_by_all"],
        )
