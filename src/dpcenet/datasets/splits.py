"""Folds, the support scan of a fold, and the two settings of the literature.

`cases` are in their written order. With n cases and 5 folds, block b holds the cases
[b·n/5, (b+1)·n/5). Three written forms:

- lineage: the block plus the first case of the next one (the last block wraps around); support
  and boundary scans are then queries of two folds. This is what the official code does.
- official: as lineage, but the fold is sorted, so that the wrapped first case of the last fold
  comes first and is a query there (ADNet, Q-Net, RPT, GMRD).
- disjoint: the block is queried whole, each scan exactly once; its support is the next block's
  first case, which is kept out of training too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from dpcenet.errors import ConfigError, DatasetError

Scheme = Literal["lineage", "official", "disjoint"]


@dataclass(frozen=True)
class Fold:
    """Who trains, and who is tested.

    Attributes:
        index: number of the fold.
        train: cases for training; they share nothing with `test`.
        test: cases of the fold in their written order.
        supports: those of `test` that may be the labelled one.
        scheme: the rule that made it.
    """

    index: int
    train: tuple[str, ...]
    test: tuple[str, ...]
    supports: tuple[str, ...]
    scheme: Scheme

    def pairs(self, rule: str) -> list[tuple[str, tuple[str, ...]]]:
        """Support case and its queries, for a rule "first", "last", "all" or an index.

        Raises:
            ConfigError: the rule is none of these, or the index is out of range.
        """
        if rule == "all":
            chosen = self.supports
        else:
            position = {"first": 0, "last": len(self.supports) - 1}.get(rule)
            if position is None and rule.isdecimal():
                position = int(rule)
            if position is None or position >= len(self.supports):
                raise ConfigError(
                    f"support {rule!r}: choose first, last, all or 0…{len(self.supports) - 1}"
                )
            chosen = (self.supports[position],)
        return [(s, tuple(case for case in self.test if case != s)) for s in chosen]


def make_fold(
    cases: Sequence[str], index: int, scheme: Scheme = "disjoint", count: int = 5
) -> Fold:
    """Fold `index` of `count`.

    Raises:
        ConfigError: no such fold.
        DatasetError: too few cases.
    """
    if not 0 <= index < count:
        raise ConfigError(f"fold {index}: choose 0…{count - 1}")
    if len(cases) < count + 1:
        raise DatasetError(f"{len(cases)} cases: {count} folds need at least {count + 1}")
    start, stop = index * len(cases) // count, (index + 1) * len(cases) // count
    block, following = tuple(cases[start:stop]), cases[stop % len(cases)]
    members = (*block, following)
    if scheme == "official":
        members = tuple(case for case in cases if case in members)
    train = tuple(case for case in cases if case not in members)
    supports = (following,) if scheme == "disjoint" else members
    return Fold(index, train, members, supports, scheme)


def admissible_slices(
    label: npt.NDArray[np.uint8], excluded: Sequence[int], rule: Literal["any", "all"] = "any"
) -> npt.NDArray[np.bool_]:
    """Which slices of (Z, H, W) may be trained on in Setting 2: (Z,) bool.

    "any" drops a slice that shows any excluded label, as the papers say; "all" drops only those
    that show all of them at once, as most of the code does. Without excluded labels (Setting 1)
    every slice may be used.
    """
    if not excluded:
        return np.ones(len(label), dtype=bool)
    shown = np.stack([(label == value).any(axis=(1, 2)) for value in excluded])
    dropped = shown.any(axis=0) if rule == "any" else shown.all(axis=0)
    return np.asarray(~dropped)
