"""Which slice matches which: how many of an organ's slices are found, how many others are filled.

    python experiments/slices.py PREPARED ...

Every scan is matched with the first scan of its fold (five folds, lineage form), blind to its
labels: by the network's descriptors, by relative position, and by giving every slice the support's
middle organ slice. Found: of the query's slices that show the organ, those whose matched slice
shows it in the support. Wrong: of its other slices, the same. Both in percent of all slices.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
import typer
from prepared import segmenter_for

from dpcenet.data.splits import make_fold
from dpcenet.data.store import PreparedCase, PreparedDataset, open_dataset
from dpcenet.inference.slice_matching import match_slices

FOLDS = 5
Rule = Callable[[PreparedCase, PreparedCase, int], npt.NDArray[np.bool_]]


def main(data: Annotated[list[Path], typer.Argument(help="Prepared data sets.")]) -> None:
    """Measure and print a table for each data set."""
    torch.set_num_threads(1)
    for folder in data:
        dataset = open_dataset(folder)
        names = [dataset.labels[value] for value in dataset.labels]
        typer.echo(f"\n| {folder.name}: found / wrong | {' | '.join(names)} | mean |")
        typer.echo("|" + " --- |" * (len(names) + 2))
        rules = {
            "descriptors of the network": matched_rule(dataset),
            "relative position": relative_position,
            "one slice for all": one_for_all,
        }
        for name, rule in rules.items():
            pairs = [measure(dataset, value, rule) for value in dataset.labels]
            pairs.append((fmean(p[0] for p in pairs), fmean(p[1] for p in pairs)))
            cells = (f"{found:.1f} / {wrong:.1f}" for found, wrong in pairs)
            typer.echo(f"| {name} | {' | '.join(cells)} |")


def measure(dataset: PreparedDataset, value: int, rule: Rule) -> tuple[float, float]:
    """Found and wrong, in percent, of one label over all folds."""
    filled: list[npt.NDArray[np.bool_]] = []
    truth: list[npt.NDArray[np.bool_]] = []
    for fold in range(FOLDS):
        members = make_fold([case.name for case in dataset.cases], fold, "lineage")
        ((support, queries),) = members.pairs("first")
        for query in queries:
            filled.append(rule(dataset.case(support), dataset.case(query), value))
            truth.append(shows(dataset.case(query), value))
    there, said = np.concatenate(truth), np.concatenate(filled)
    return 100 * float(said[there].mean()), 100 * float(said[~there].mean())


def shows(case: PreparedCase, value: int) -> npt.NDArray[np.bool_]:
    """(Z,), whether a slice shows the label."""
    return np.asarray((case.label == value).any(axis=(1, 2)))


def matched_rule(dataset: PreparedDataset) -> Rule:
    """The rule of `dpcenet segment`; each scan is encoded once."""
    predictor = segmenter_for(dataset).predictor
    encoded = {case.name: predictor.encode(case.image, case.spacing) for case in dataset.cases}

    def rule(support: PreparedCase, query: PreparedCase, value: int) -> npt.NDArray[np.bool_]:
        matches = match_slices(predictor.method, encoded[support.name], encoded[query.name])
        return shows(support, value)[matches]

    return rule


def relative_position(
    support: PreparedCase, query: PreparedCase, value: int
) -> npt.NDArray[np.bool_]:
    """A slice matches the one at the same share of the scan's length."""
    there, count = shows(support, value), len(query.image)
    return there[((np.arange(count) + 0.5) / count * len(there)).astype(int)]


def one_for_all(support: PreparedCase, query: PreparedCase, value: int) -> npt.NDArray[np.bool_]:
    """Every slice is given the support's middle organ slice (EP2)."""
    return np.full(len(query.image), bool(shows(support, value).any()))


if __name__ == "__main__":
    typer.run(main)
