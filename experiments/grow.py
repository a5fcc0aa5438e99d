"""Does the suggested case help more than any other? True labels stand for the correction.

    python experiments/grow.py PREPARED --out OUT [--starts 2] [--orders 3] [--tests 5]

Half of the scans may be labelled, and some of the other half are tested. From one labelled scan,
further ones are added as the review suggests, each time after segmenting what is left, or in random
orders. OUT/grow.csv holds the mean Dice of the tested scans with 1, 2 and 3 labelled ones.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated

import numpy as np
import torch
import typer
from prepared import label_of, scan_of, segmenter_for

from dpcenet.data.store import PreparedDataset, open_dataset
from dpcenet.inference.support import Support
from dpcenet.segmentation.review.quality import assess
from dpcenet.segmentation.review.signals import label_map_of
from dpcenet.segmentation.review.suggest import (
    Candidate,
    signature_of,
    suggest_order,
    support_signatures,
)
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.volumes.metrics import dice

MOST = 3  # labelled scans
Choice = Callable[[Support, Sequence[str]], str]


@dataclass(frozen=True)
class Trial:
    """A network and the scans that it is tried on."""

    segmenter: Segmenter
    dataset: PreparedDataset
    tests: tuple[str, ...]

    def support(self, names: Sequence[str]) -> Support:
        """Labelled scans, encoded."""
        cases = [self.dataset.case(name) for name in names]
        return self.segmenter.support([scan_of(c) for c in cases], [label_of(c) for c in cases])

    def score(self, support: Support) -> float:
        """Mean Dice over tested scans and labels."""
        dices = []
        for name in self.tests:
            case = self.dataset.case(name)
            answer = self.segmenter.find(scan_of(case), support).mask.data
            dices += [dice(answer == v, np.asarray(case.label == v)) for v in support.values]
        return fmean(dices)

    def suggested(self, support: Support, left: Sequence[str]) -> str:
        """What the review would suggest."""
        candidates = []
        for name in left:
            found = self.segmenter.find(scan_of(self.dataset.case(name)), support)
            qualities = assess(self.segmenter.predictor, found).values()
            signature = signature_of(
                self.segmenter.predictor.method, found.query, label_map_of(found) > 0
            )
            candidates.append(Candidate(name, fmean(q.dice for q in qualities), signature))
        order = suggest_order(
            candidates, support_signatures(self.segmenter.predictor.method, support)
        )
        return order[0].name

    def grow(self, start: str, pool: Sequence[str], choose: Choice) -> list[tuple[str, float]]:
        """Labelled scans and score, from two labelled scans on."""
        labelled, rows = [start], []
        while len(labelled) < MOST:
            left = [name for name in pool if name not in labelled]
            labelled.append(choose(self.support(labelled), left))
            rows.append(("+".join(labelled), self.score(self.support(labelled))))
        return rows


def at_random(seed: int) -> Choice:
    """A random order."""
    random = np.random.default_rng(seed)
    return lambda _, left: str(random.choice(left))


def main(
    data: Annotated[Path, typer.Argument(help="Prepared data set.")],
    out: Annotated[Path, typer.Option(help="Folder for grow.csv.")],
    starts: Annotated[int, typer.Option(help="First labelled scans that are tried.")] = 2,
    orders: Annotated[int, typer.Option(help="Random orders of each.")] = 3,
    tests: Annotated[int, typer.Option(help="Tested scans.")] = 5,
) -> None:
    """Grow the support by suggestion and by chance."""
    torch.set_num_threads(1)
    dataset = open_dataset(data)
    names = [case.name for case in dataset.cases]
    pool, others = names[0::2], names[1::2]
    trial = Trial(segmenter_for(dataset), dataset, tuple(others[:: max(1, len(others) // tests)]))
    out.mkdir(parents=True, exist_ok=True)
    with (out / "grow.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["order", "labelled", "scans", "dice"])

        def tell(order: str, scans: str, score: float) -> None:
            row = [order, scans.count("+") + 1, scans, f"{score:.4f}"]
            writer.writerow(row)
            stream.flush()
            typer.echo("  ".join(map(str, row)))

        for start in pool[:: max(1, len(pool) // starts)][:starts]:
            tell("start", start, trial.score(trial.support([start])))
            for scans, score in trial.grow(start, pool, trial.suggested):
                tell("suggested", scans, score)
            for number in range(orders):
                for scans, score in trial.grow(start, pool, at_random(number)):
                    tell(f"random {number}", scans, score)


if __name__ == "__main__":
    typer.run(main)
