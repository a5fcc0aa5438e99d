"""What finding the body first is worth: Dice with slices known, matched, and aligned.

    python experiments/alignment.py PREPARED --pairs folds|ring|first-half|second-half|all-by-first
        [--labels 6,2,3,1] [--ways known,matched,aligned] [--every 3] [--as-volume]

Which scan serves which: `folds`, the first scan of each of five folds (lineage form) its others;
`ring`, each scan in turn the next three; `first-half` and `second-half`, the same within half of
the scans; `all-by-first`, the first scan all others. `--every 3` scores every third slice only.
With `--as-volume` the answers for slices are seen as one volume, as `segment` does it; they are
not with `--every`.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
import typer
from prepared import segmenter_for

from dpcenet.data.splits import make_fold
from dpcenet.data.store import open_dataset
from dpcenet.evaluation.protocols import EACH_SLICE, OrganChunks
from dpcenet.inference.aligned_slices import AlignedSlices
from dpcenet.inference.slice_plans import MatchedSlices, SlicePlan, Thinned
from dpcenet.inference.support import LabelledScan
from dpcenet.volumes.metrics import dice


def main(
    data: Path,
    pairs: Annotated[str, typer.Option(help="Which scan serves which.")],
    labels: str = "",
    ways: str = "known,matched,aligned",
    every: int = 1,
    margin: float = 20.0,
    as_volume: bool = False,
) -> None:
    """Measure and print a line for each pair, and the means."""
    torch.set_num_threads(1)
    dataset = open_dataset(data)
    predictor = replace(segmenter_for(dataset).predictor, as_volume=as_volume)
    values = [int(v) for v in labels.split(",")] if labels else list(dataset.labels)
    encoded = {case.name: predictor.encode(case.image, case.spacing) for case in dataset.cases}
    table: dict[str, list[list[float]]] = {way: [] for way in ways.split(",")}
    for support, query in served_pairs([case.name for case in dataset.cases], pairs):
        scan = LabelledScan(support, encoded[support], np.asarray(dataset.case(support).label))
        truth = np.asarray(dataset.case(query).label)
        scored = slice(every // 2, None, every)
        line = f"{support} {query}"
        for way in table:
            start = time.perf_counter()
            plan = plan_of(way, truth, margin)
            if every > 1:
                plan = Thinned(plan, dict.fromkeys(values, every))
            masks = predictor.segment([scan], encoded[query], plan, values).masks
            scores = [100 * dice(masks[v][scored], truth[scored] == v) for v in values]
            table[way].append(scores)
            seconds = time.perf_counter() - start
            so_far = np.mean(table[way])
            line += f" | {way} {np.round(scores).astype(int)} {so_far:.1f} {seconds:.1f}s"
        print(line, flush=True)  # noqa: T201
    for way, rows in table.items():
        means = " ".join(f"{one:.1f}" for one in np.mean(rows, axis=0))
        typer.echo(f"{dataset.folder.name} {pairs} {way}: {means} | mean {np.mean(rows):.2f}")


def served_pairs(names: list[str], kind: str) -> list[tuple[str, str]]:
    """Support and query of each task."""
    if kind == "folds":
        folds = [make_fold(names, index, "lineage").pairs("first")[0] for index in range(5)]
        return [(support, query) for support, queries in folds for query in queries]
    if kind == "all-by-first":
        return [(names[0], query) for query in names[1:]]
    middle = len(names) // 2
    ring = {"ring": names, "first-half": names[:middle], "second-half": names[middle:]}[kind]
    return [(ring[i], ring[(i + k) % len(ring)]) for i in range(len(ring)) for k in (1, 2, 3)]


def plan_of(way: str, truth: npt.NDArray[np.uint8], margin: float) -> SlicePlan:
    """The plan called `way`."""
    if way == "known":
        return OrganChunks(truth, EACH_SLICE)
    return MatchedSlices() if way == "matched" else AlignedSlices("coarse", margin)


if __name__ == "__main__":
    typer.run(main)
