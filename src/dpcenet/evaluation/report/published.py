"""Numbers in print, beside which ours may be shown; they stand in `assets/published.yaml`.

What arithmetic shows to be wrong in them is found here and marked in the tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from statistics import fmean
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dpcenet.evaluation.report.run_labels import DataKey
from dpcenet.system.assets import asset
from dpcenet.system.structured import parse_yaml
from dpcenet.system.texts import Saying, saying
from dpcenet.system.validated import validated

ROUNDING = 0.011  # a mean of printed columns may differ from the printed mean by this much
Percent = Annotated[float, Field(ge=0, le=100)]


@dataclass(frozen=True)
class PublishedRow:
    """One method's line of a printed table.

    Attributes:
        source: short name of the paper.
        reference: where the line can be read.
        labels: of the columns.
        cells: percent Dice of each label.
        mean: as printed.
    """

    source: str
    reference: str
    labels: tuple[str, ...]
    cells: tuple[float, ...]
    mean: float

    @property
    def mean_is_wrong(self) -> bool:
        """Whether the printed mean is not the mean of the columns."""
        return abs(fmean(self.cells) - self.mean) > ROUNDING

    @property
    def repeated(self) -> tuple[tuple[str, str], ...]:
        """Neighbouring labels that have the same value to the last digit."""
        columns = pairwise(zip(self.labels, self.cells, strict=True))
        return tuple((one, two) for (one, left), (two, right) in columns if left == right)

    @property
    def faults(self) -> tuple[Saying, ...]:
        """What arithmetic shows to be wrong, in words."""
        values = dict(zip(self.labels, self.cells, strict=True))
        found = [
            saying("fault.repeated", one=one, two=two, value=f"{values[one]:.2f}")
            for one, two in self.repeated
        ]
        if self.mean_is_wrong:
            mean, printed = f"{fmean(self.cells):.2f}", f"{self.mean:.2f}"
            found.insert(0, saying("fault.mean", mean=mean, printed=printed))
        return tuple(found)


@dataclass(frozen=True)
class PublishedTable:
    """A table of a paper: method → a value for each label, then the printed mean."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    dataset: str
    setting: Literal[1, 2]
    labels: str
    rows: dict[str, tuple[Percent, ...]]


@dataclass(frozen=True)
class Paper:
    """A source of printed numbers."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str
    reference: str
    tables: tuple[PublishedTable, ...]


@dataclass(frozen=True)
class Published:
    """What `published.yaml` holds: groups of labels, and papers that print numbers for them."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    labels: dict[str, tuple[str, ...]]
    papers: tuple[Paper, ...]


@cache
def published() -> Published:
    """Read and check the file of the package."""
    data = parse_yaml(asset("published.yaml").read_text("utf-8"), "published.yaml")
    return validated(Published, data, "published.yaml")


def published_rows(key: DataKey, method: str) -> list[PublishedRow]:
    """What each paper prints for a method; empty where nothing is printed."""
    return [
        _row(paper, table, method)
        for paper in published().papers
        for table in paper.tables
        if DataKey(table.dataset, table.setting) == key and method in table.rows
    ]


def _row(paper: Paper, table: PublishedTable, method: str) -> PublishedRow:
    *cells, mean = table.rows[method]
    labels = published().labels[table.labels]
    return PublishedRow(paper.name, paper.reference, labels, tuple(cells), mean)
