"""The in-context network: what each part of its making is worth.

    python experiments/incontext.py score WEIGHTS --data PREPARED ... [--size 96]
    python experiments/incontext.py train OUT --data PREPARED ... [--steps 400] [--jobs 2]
    python experiments/incontext.py table OUT

`score` prints the mean Dice in percent of weights (a file of `dpcenet pretrain`, or "shipped") on
prepared scans: organ slices, three chunks, five folds, first scan of each fold as support, once
for each number of neighbouring support slices and with the second look or without. `train` makes
one short training for each row of `ROWS` and scores it; what is done already is left out, so it
can be stopped. `table` prints the table.
"""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
import typer

from dpcenet.data.splits import make_fold
from dpcenet.data.store import PreparedCase, PreparedDataset, open_dataset
from dpcenet.evaluation.protocols import organ_tasks
from dpcenet.inference.batched import encode_scan
from dpcenet.inference.encoded import Encoded
from dpcenet.inference.pose_search import bring, pairs_of
from dpcenet.inference.predictor import segment_labels
from dpcenet.inference.slice_tasks import with_neighbours
from dpcenet.methods.incontext import weights as shipped
from dpcenet.methods.incontext.model import InContext, Options, load_weights
from dpcenet.training.config import load_options
from dpcenet.training.incontext_trainer import PretrainConfig
from dpcenet.training.pretrain import LOG, WEIGHTS, Pace, pretrain
from dpcenet.volumes.metrics import dice

FOLDS, SIZE = 5, 64
CPU = torch.device("cpu")
SMALL = "network.widths=[16, 24, 48, 96]"
ROWS: dict[str, tuple[str, ...]] = {
    "all parts": (),
    "no texture": ("pairs.texture=0",),
    "no bias field, ghosts, stripes, gamma": ("pairs.artefacts=false",),
    "free organs only (no partners, cores, vessels)": ("pairs.simple=true",),
    "no shared hosts, no filled organs": ("pairs.chambers=0", "pairs.whole=0"),
    "nobody lies elsewhere": ("pairs.astray=0",),
    "everything in the query": ("pairs.absent=0", "pairs.missing=0"),
    "one contrast for both": ("pairs.changed=0",),
    "organs only as targets": ("pairs.ground=0",),
    "one target a pair": ("pairs.targets=1",),
    "no correspondence loss": ("correspondence=0",),
    "a quarter of the parameters": (SMALL,),
}
app = typer.Typer(add_completion=False)
Data = Annotated[list[Path], typer.Option(help="Prepared data set; repeat.")]


@dataclass(frozen=True)
class Way:
    """How scans are segmented: neighbours of the support slice that help, a second look, and
    whether the support is brought into the query's pose."""

    neighbours: int
    second_look: bool
    posed: bool = False


WAYS = {
    "first look": Way(0, second_look=False),
    "second look": Way(0, second_look=True),
    "1 neighbour": Way(1, second_look=True),
    "2 neighbours": Way(2, second_look=True),
    "posed": Way(1, second_look=True, posed=True),
}


@app.command()
def score(weights: str, data: Data, size: int = 96, ways: str = "", folds: int = FOLDS) -> None:
    """Print the mean Dice of weights, by the ways that are named with commas, by default all."""
    torch.set_num_threads(1)
    network = _network(weights, Options(size=size))
    for folder in data:
        chosen = {k: w for k, w in WAYS.items() if not ways or k in ways.split(",")}
        found = scores(network, open_dataset(folder), chosen, folds)
        typer.echo(f"{folder.name}, {size} pixels: " + ", ".join(f"{k} {v:.1f}" for k, v in found))


@app.command()
def train(out: Path, data: Data, steps: int = 400, jobs: int = 2, seed: int = 0) -> None:
    """Train and score every row that is not there yet."""
    todo = [(out, name, tuple(data), steps, seed) for name in ROWS]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for name, found in zip(ROWS, pool.map(_row, todo), strict=True):
            typer.echo(f"{name}: {json.dumps(found)}")


@app.command()
def table(out: Path) -> None:
    """Print the table of what `train` left."""
    rows = {
        name: json.loads(path.read_text()) for name in ROWS if (path := _file(out, name)).exists()
    }
    columns = [key for key in next(iter(rows.values())) if key != "steps"]
    typer.echo(f"| | {' | '.join(columns)} |\n|{' --- |' * (len(columns) + 1)}")
    for name, row in rows.items():
        typer.echo(f"| {name} | {' | '.join(f'{row[c]:.1f}' for c in columns)} |")


def _row(task: tuple[Path, str, tuple[Path, ...], int, int]) -> dict[str, float]:
    out, name, data, steps, seed = task
    if _file(out, name).exists():
        done: dict[str, float] = json.loads(_file(out, name).read_text())
        return done
    torch.set_num_threads(1)
    folder = _file(out, name).with_suffix("")
    size = (f"pairs.size={SIZE}", f"network.size={SIZE}")
    config = load_options(
        PretrainConfig, None, (f"steps={steps}", f"seed={seed}", *size, *ROWS[name])
    )
    pretrain(config, folder, Pace(save_every=steps))
    network = load_weights(folder / WEIGHTS, replace(config.network, size=96))
    last = json.loads((folder / LOG).read_text().splitlines()[-1])
    found = {"steps": float(steps), "made-up": 100 * last["dice"]}
    for one in data:
        ((_, mean),) = scores(network, open_dataset(one), {"": WAYS["second look"]})
        found[one.name] = mean
    _file(out, name).write_text(json.dumps(found))
    return found


def _file(out: Path, name: str) -> Path:
    return out / ("".join(c if c.isalnum() else "-" for c in name) + ".json")


def _network(weights: str, options: Options) -> InContext:
    if weights == "shipped":
        return shipped.build(shipped.Options(size=options.size)).eval()
    return load_weights(Path(weights), options)


def scores(
    network: InContext, dataset: PreparedDataset, ways: dict[str, Way], folds: int = FOLDS
) -> list[tuple[str, float]]:
    """The mean Dice in percent of each way."""
    means: dict[str, list[float]] = {name: [] for name in ways}
    for index in range(folds):
        fold = make_fold([case.name for case in dataset.cases], index, "lineage")
        ((name, queries),) = fold.pairs("first")
        support = dataset.case(name)
        encoded = _encode(network, support)
        pairs = [(dataset.case(q), _encode(network, dataset.case(q))) for q in queries]
        for key, way in ways.items():
            dices = [_dices(network, support, encoded, *pair, dataset, way) for pair in pairs]
            means[key].append(100 * fmean(one for each in dices for one in each))
    return [(key, fmean(found)) for key, found in means.items()]


def _dices(
    network: InContext,
    support: PreparedCase,
    encoded: Encoded,
    query: PreparedCase,
    slices: Encoded,
    dataset: PreparedDataset,
    way: Way,
) -> list[float]:
    """Dice of each label that both scans show."""
    chosen = {value: organ_tasks([support.label], query.label, value) for value in dataset.labels}
    label: npt.NDArray[np.uint8] = support.label
    if way.posed:
        pairs = pairs_of([task for of_label in chosen.values() for task in of_label])
        encoded, label = bring(
            network, encoded, label, list(dataset.labels), slices, pairs, "bfloat16"
        )
    tasks = {
        value: with_neighbours(of_label, [label], value, way.neighbours)
        for value, of_label in chosen.items()
    }
    found = segment_labels(network, encoded, label, slices, tasks, "bfloat16", way.second_look)
    return [dice(found[v] > 0.5, query.label == v) for v, of_label in tasks.items() if of_label]


def _encode(network: InContext, case: PreparedCase) -> Encoded:
    return encode_scan(network, case.image, case.spacing, CPU, "bfloat16")


if __name__ == "__main__":
    app()
