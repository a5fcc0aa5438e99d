"""Folds, the support scan of a fold, and the two settings of the literature.

`cases` are in their written order. A data set may name the cases of each block; else, with n cases
and 5 folds, block b holds the cases [b·n/5, (b+1)·n/5). Three written forms:

- lineage: the block plus the first case of the next one (the last block wraps around); support
  and boundary scans are then queries of two folds. This is what the official code does.
- official: as lineage, but the fold is sorted, so that the wrapped first case of the last fold
  comes first and is a query there (ADNet, Q-Net, RPT, GMRD).
- disjoint: the block is queried whole, each scan exactly once; its support is the next block's
  first case, which is kept out of training too.

Where a patient has several scans, none of them is trained on while another is tested.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from dpcenet.errors import ConfigError, DatasetError
from dpcenet.system.words import counted

Scheme = Literal["lineage", "official", "disjoint"]
FOLDS = 5  # of a data set that has none written down


@dataclass(frozen=True)
class Fold:
    """Which cases are trained on, and which are tested.

    Attributes:
        index: number of the fold.
        train: cases for training; they share nothing with `test`.
        test: cases of the fold in their written order.
        supports: those of `test` that may be the labelled one.
        scheme: the rule that made it.
        further: cases added to the support in the form "disjoint" when there are several shots;
            they were trained on, without their labels.
    """

    index: int
    train: tuple[str, ...]
    test: tuple[str, ...]
    supports: tuple[str, ...]
    scheme: Scheme
    further: tuple[str, ...] = ()

    def pairs(self, rule: str) -> list[tuple[str, tuple[str, ...]]]:
        """Support case and its queries, for a rule "first", "last", "all" or an index.

        Raises:
            ConfigError: the rule is none of these, or the index is out of range.
        """
        return [(supports[0], queries) for supports, queries in self.support_sets(rule, 1)]

    def support_sets(self, rule: str, shots: int) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
        """Support cases and their queries.

        Args:
            rule: "first", "last", "all" or an index: the first support scan of the set.
            shots: scans in the set. The others follow it in `supports`, which wrap around, or are
                taken from `further`.

        Raises:
            ConfigError: the rule is none of these, or there are too few scans.
        """
        count = len(self.supports)
        wraps = self.scheme != "disjoint"
        ring = self.supports * 2 if wraps else (*self.supports, *self.further)
        if not 1 <= shots <= (count - 1 if wraps else len(ring)):
            raise ConfigError(f"--shots {shots}: this fold has too few scans for it")
        position = {"first": 0, "last": count - 1}.get(rule)
        if position is None and rule.isdecimal():
            position = int(rule)
        if rule != "all" and (position is None or position >= count):
            raise ConfigError(f"support {rule!r}: choose first, last, all or 0…{count - 1}")
        starts = range(count) if position is None else (position,)
        sets = [ring[start : start + shots] for start in starts]
        return [(s, tuple(case for case in self.test if case not in s)) for s in sets]


def make_fold(
    cases: Sequence[str],
    index: int,
    scheme: Scheme = "disjoint",
    count: int = FOLDS,
    blocks: Sequence[Sequence[str]] = (),
    subjects: Mapping[str, str] | None = None,
) -> Fold:
    """Fold `index` of `count`.

    Args:
        cases: that there are.
        index: of the fold.
        scheme: its written form.
        count: of folds.
        blocks: the cases of each fold, where the data set names them.
        subjects: case → patient, where a patient has several scans.

    Raises:
        ConfigError: no such fold, or not as many as the data set has written down.
        DatasetError: too few cases.
    """
    if not 0 <= index < count:
        raise ConfigError(f"fold {index}: choose 0…{count - 1}")
    divided = divide(cases, count, blocks)
    block, following = divided[index], divided[(index + 1) % count][0]
    members = (*block, following)
    if scheme == "official":
        members = tuple(sorted(members, key=list(cases).index))
    patient = dict(subjects or {})
    tested = {patient.get(case, case) for case in members}
    order = [case for part in (*divided[index + 1 :], *divided[:index]) for case in part]
    train = tuple(case for case in cases if patient.get(case, case) not in tested)
    if scheme != "disjoint":
        return Fold(index, train, members, members, scheme)
    further = tuple(case for case in order if case in train)
    return Fold(index, train, members, (following,), scheme, further)


def divide(
    cases: Sequence[str], count: int, blocks: Sequence[Sequence[str]] = ()
) -> list[tuple[str, ...]]:
    """The cases block by block, as written down, or evenly in their order.

    Raises:
        ConfigError: the data set has another number of blocks.
        DatasetError: a block has no case.
    """
    if len(cases) < count + 1:
        fewer = f"; take --folds {len(cases) - 1}" if len(cases) > 2 else ""
        found = counted(len(cases), "case")
        raise DatasetError(f"{found}: {count} folds need at least {count + 1}{fewer}")
    if not blocks:
        bounds = [b * len(cases) // count for b in range(count + 1)]
        return [tuple(cases[low:high]) for low, high in pairwise(bounds)]
    if len(blocks) != count:
        raise ConfigError(f"{count} folds: this data set has {len(blocks)} written down")
    divided = [tuple(case for case in block if case in cases) for block in blocks]
    for number, part in enumerate(divided):
        if not part:
            raise DatasetError(f"fold {number}: none of its cases was prepared")
    return divided


def fold_numbers(cases: Sequence[str], blocks: Sequence[Sequence[str]]) -> dict[str, int]:
    """Case → the fold in which it is a query; empty where there are too few cases for folds."""
    try:
        divided = divide(cases, len(blocks) or FOLDS, blocks)
    except (ConfigError, DatasetError):
        return {}
    return {case: number for number, block in enumerate(divided) for case in block}


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


@dataclass(frozen=True)
class ExclusionCount:
    """How many slices Setting 2 costs, by either rule.

    Attributes:
        slices: of all cases.
        any_removed: slices that show any excluded label.
        all_removed: slices that show all of them at once.
    """

    slices: int
    any_removed: int
    all_removed: int


def count_excluded(
    labels: Iterable[npt.NDArray[np.uint8]], excluded: Sequence[int]
) -> ExclusionCount:
    """Count over label maps (Z, H, W) what each rule of Setting 2 removes."""
    slices = any_removed = all_removed = 0
    for label in labels:
        slices += len(label)
        any_removed += int((~admissible_slices(label, excluded, "any")).sum())
        all_removed += int((~admissible_slices(label, excluded, "all")).sum())
    return ExclusionCount(slices, any_removed, all_removed)
