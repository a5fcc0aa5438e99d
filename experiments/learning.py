"""What learning from the labelled scan is worth: Dice before and after `segment --learn`, blind.

    python experiments/learning.py PREPARED --pairs folds|ring|first-half|second-half|all-by-first
        [--labels 6,2,3,1] [--seed 0] [--first 0] [--supports 5] [--out ROWS.json]
        [--weights FOLDER] [--minutes 60]

Pairs are those of `experiments/alignment.py`; scans are segmented as `segment` does it.
`--supports 1` takes the first labelled scan only, `--supports 1 --first 2` the third. With --out
the Dice of every mask is kept, and labelled scans that are there already are left out; with
--weights what was learnt is kept, and taken again.

The table: before learning, and what `segment --learn` writes: the best answer for each label by its
predicted Dice. Means over the scans that a labelled one serves. Below it, how many of the accepted
masks have a Dice of 0.7.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from statistics import fmean
from typing import Annotated

import numpy as np
import torch
import typer
from alignment import served_pairs
from prepared import label_of, scan_of, segmenter_for
from pydantic import TypeAdapter

from dpcenet.data.store import PreparedCase, PreparedDataset, open_dataset
from dpcenet.inference.support import Support
from dpcenet.nn.tensor_files import save_tensors
from dpcenet.segmentation.better_answers import Answer, best_of
from dpcenet.segmentation.learning import learn, with_answers, with_weights
from dpcenet.segmentation.review.quality import ACCEPT_DICE, assess
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.system.files import write_json
from dpcenet.volumes.metrics import dice


@dataclass(frozen=True)
class Row:
    """One label of one scan: Dice of its answers, and what was said of the best one.

    Attributes:
        before, after: Dice before learning, and of the mask that `segment --learn` writes.
        predicted_before, predicted_after: predicted Dice before, and the best after learning.
        by: whose answer was taken; see `Answer`.
        flag: of the mask.
    """

    support: str
    case: str
    label: str
    before: float
    after: float
    predicted_before: float
    predicted_after: float
    by: str
    flag: str


def main(
    data: Path,
    pairs: Annotated[str, typer.Option(help="Which scan serves which.")],
    labels: str = "",
    minutes: float = 60.0,
    seed: int = 0,
    supports: Annotated[int, typer.Option(help="Only so many labelled scans.")] = 1000,
    first: Annotated[int, typer.Option(help="The number of the first of them.")] = 0,
    out: Annotated[Path | None, typer.Option(help="JSON file of the Dice of every mask.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Folder of what was learnt.")] = None,
) -> None:
    """Measure, and print a row for each labelled scan."""
    torch.set_num_threads(1)
    dataset = open_dataset(data)
    values = [int(v) for v in labels.split(",")] if labels else list(dataset.labels)
    rows_type = TypeAdapter(list[Row])
    rows = rows_type.validate_json(out.read_text()) if out and out.is_file() else []
    served = served_pairs([case.name for case in dataset.cases], pairs)
    for name, group in islice(groupby(served, lambda pair: pair[0]), first, first + supports):
        if any(row.support == name for row in rows):
            continue
        case, queries = dataset.case(name), [dataset.case(query) for _, query in group]
        segmenter = segmenter_for(dataset)
        support = segmenter.support(scan_of(case), label_of(case), values)
        kept = weights and weights / f"{dataset.folder.name}-{name}-{seed}.safetensors"
        learnt = _learnt(segmenter, support, queries, minutes, seed, kept)
        rows += _rows(dataset, learnt, support, name, queries)
        if out:
            out.parent.mkdir(parents=True, exist_ok=True)
            write_json(out, rows_type.dump_python(rows))
        typer.echo(f"{data.name}: {name} is done", err=True)
    for name in dict.fromkeys(row.support for row in rows):
        typer.echo(_line(name, [row for row in rows if row.support == name]))
    typer.echo(_line("all", rows))
    typer.echo(_accepted(rows))


def _learnt(
    segmenter: Segmenter,
    support: Support,
    queries: Sequence[PreparedCase],
    minutes: float,
    seed: int,
    kept: Path | None,
) -> Segmenter:
    """The segmenter after learning; with weights from before where they were kept."""
    if kept and kept.is_file():
        learnt = with_weights(segmenter, support, kept)
    else:
        learnt = learn(segmenter, support, (), minutes, seed, quiet=True)
    if kept and not kept.is_file():
        assert learnt.learnt is not None
        kept.parent.mkdir(parents=True, exist_ok=True)
        save_tensors(kept, learnt.learnt.predictor.method.state_dict(), {})
    found = ((query.name, learnt.find(scan_of(query), support)) for query in queries)
    return with_answers(learnt, found)


def _rows(
    dataset: PreparedDataset,
    segmenter: Segmenter,
    support: Support,
    name: str,
    queries: Sequence[PreparedCase],
) -> Iterator[Row]:
    """A row for each label of each scan."""
    plain = Segmenter(segmenter.predictor, segmenter.rules)
    for query in queries:
        first = plain.find(scan_of(query), support)
        before_learning = Answer("", first, assess(plain.predictor, first))
        best = best_of([before_learning, *segmenter.later_answers(first, support)])
        found = (first, best)
        flags = assess(segmenter.predictor, found[1])
        for value in support.values:
            true = np.asarray(query.label) == value
            before, after = (dice(each.mask.data == value, true) for each in found)
            choice = found[1].choices[value]
            by = choice.by if choice.learnt else ""
            label, flag = dataset.labels[value], flags[value].flag
            numbers = (round(n, 4) for n in (before, after, choice.before, choice.after))
            yield Row(name, query.name, label, *numbers, by, flag)


def _line(name: str, rows: Sequence[Row]) -> str:
    """Means in percent, over labels and of each label: before, after."""
    labels = list(dict.fromkeys(row.label for row in rows))
    cells = [name]
    for way in ("before", "after"):
        each = [fmean(getattr(r, way) for r in rows if r.label == label) for label in labels]
        parts = ", ".join(f"{100 * one:.1f}" for one in each)
        cells.append(f"{100 * fmean(each):.1f} ({parts})")
    return f"| {' | '.join(cells)} |"


def _accepted(rows: Sequence[Row]) -> str:
    """How many masks are accepted, and how many of these have the Dice asked for."""
    parts = []
    for words, taken in (("as before learning", False), ("taken after learning", True)):
        some = [row for row in rows if (row.predicted_after > row.predicted_before) == taken]
        accepted = [row for row in some if row.flag == "accept"]
        good = sum(row.after >= ACCEPT_DICE for row in accepted)
        parts.append(f"{words} {len(some)} masks, {len(accepted)} accepted, {good} with that Dice")
    return f"asked {ACCEPT_DICE}: {'; '.join(parts)}"


if __name__ == "__main__":
    typer.run(main)
