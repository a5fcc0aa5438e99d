"""What learning from the labelled scan is worth: Dice before and after `segment --learn`.

    python experiments/learning.py PREPARED --pairs folds|ring|first-half|second-half|all-by-first
        [--labels 6,2,3,1] [--way aligned] [--minutes 10] [--steps 200] [--every 4]

Pairs and ways are those of `experiments/alignment.py`. `--supports 1` takes the first labelled scan
only, `--supports 1 --first 2` the third. What is kept is what the reverse check keeps, as in
`segment --learn`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby, islice
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from alignment import Thinned, plan_of, served_pairs
from prepared import segmenter_for

from dpcenet.data.store import PreparedCase, open_dataset
from dpcenet.inference.predictor import Predictor
from dpcenet.inference.support import LabelledScan
from dpcenet.training.learn import STEPS, learn, learn_options
from dpcenet.volumes.metrics import dice


def main(
    data: Path,
    pairs: Annotated[str, typer.Option(help="Which scan serves which.")],
    labels: str = "",
    way: str = "aligned",
    minutes: float = 10.0,
    steps: int = STEPS,
    learning_rate: float = 2e-4,
    seed: int = 0,
    every: int = 1,
    supports: Annotated[int, typer.Option(help="Only so many labelled scans.")] = 1000,
    first: Annotated[int, typer.Option(help="The number of the first of them.")] = 0,
) -> None:
    """Measure and print a line for each labelled scan, and the means."""
    torch.set_num_threads(1)
    dataset = open_dataset(data)
    values = [int(v) for v in labels.split(",")] if labels else list(dataset.labels)
    options = replace(learn_options(minutes, seed), steps=steps, learning_rate=learning_rate)
    served = served_pairs([case.name for case in dataset.cases], pairs)
    means = []
    for support, group in islice(groupby(served, lambda pair: pair[0]), first, first + supports):
        case, queries = dataset.case(support), [dataset.case(query) for _, query in group]
        predictor = segmenter_for(dataset).predictor
        before = scores_of(predictor, case, queries, values, way, every)
        scan = LabelledScan(
            support, predictor.encode(case.image, case.spacing), np.asarray(case.label)
        )
        learnt = learn(predictor, [scan], values, queries, options, quiet=True)
        after = before
        if learnt.network is not None:
            predictor = replace(predictor, method=learnt.network)
            after = scores_of(predictor, case, queries, values, way, every)
        means.append((np.mean(before), np.mean(after)))
        line = f"{support}: {np.round(before, 1)} → {np.round(after, 1)}"
        print(line, f"| {means[-1][0]:.1f} → {means[-1][1]:.1f} | {learnt}", flush=True)  # noqa: T201
    first, second = np.mean(means, axis=0)
    typer.echo(f"{dataset.folder.name} {pairs} {way}: {first:.2f} → {second:.2f}")


def scores_of(
    predictor: Predictor,
    case: PreparedCase,
    queries: Sequence[PreparedCase],
    values: Sequence[int],
    way: str,
    every: int,
) -> list[float]:
    """Mean Dice in percent of each label over the queries."""
    label = np.asarray(case.label)
    scan = LabelledScan(case.name, predictor.encode(case.image, case.spacing), label)
    scored, rows = slice(every // 2, None, every), []
    for query in queries:
        truth, slices = np.asarray(query.label), predictor.encode(query.image, query.spacing)
        plan = plan_of(way, truth, 20.0)
        if every > 1:  # no volume, so its rules are not applied
            plan = Thinned(plan, dict.fromkeys(values, every))
        masks = predictor.segment([scan], slices, plan, values).masks
        rows.append([100 * dice(masks[v][scored], truth[scored] == v) for v in values])
    return [float(mean) for mean in np.mean(rows, axis=0)]


if __name__ == "__main__":
    typer.run(main)
