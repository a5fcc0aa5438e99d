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
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import torch
import typer

from dpcenet.data.splits import make_fold
from dpcenet.data.store import PreparedCase, PreparedDataset, open_dataset
from dpcenet.evaluation.protocols import OrganChunks
from dpcenet.inference.predictor import Predictor
from dpcenet.inference.support import LabelledScan
from dpcenet.methods.incontext import weights as shipped
from dpcenet.methods.incontext.model import InContext, NetworkOptions
from dpcenet.training.config import load_options
from dpcenet.training.incontext_trainer import PretrainConfig
from dpcenet.training.log import LOG
from dpcenet.training.pretrain import WEIGHTS, pretrain
from dpcenet.training.training_run import Pace
from dpcenet.volumes.metrics import dice

FOLDS, SIZE = 5, 64
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


WAYS = {  # how scans are segmented: fields of `Predictor`
    "first look": {"neighbours": 0, "align": False, "second_look": False},
    "second look": {"neighbours": 0, "align": False},
    "1 neighbour": {"neighbours": 1, "align": False},
    "2 neighbours": {"neighbours": 2, "align": False},
    "posed": {"neighbours": 1},
}


@app.command()
def score(weights: str, data: Data, size: int = 96, ways: str = "", folds: int = FOLDS) -> None:
    """Print the mean Dice of weights, by the ways that are named with commas, by default all."""
    torch.set_num_threads(1)
    network = _network(weights, NetworkOptions(size=size))
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
    network = shipped.load_network(folder / WEIGHTS, replace(config.network, size=96))
    last = json.loads((folder / LOG).read_text().splitlines()[-1])
    found = {"steps": float(steps), "made-up": 100 * last["dice"]}
    for one in data:
        ((_, mean),) = scores(network, open_dataset(one), {"": WAYS["second look"]}, FOLDS)
        found[one.name] = mean
    _file(out, name).write_text(json.dumps(found))
    return found


def _file(out: Path, name: str) -> Path:
    return out / ("".join(c if c.isalnum() else "-" for c in name) + ".json")


def _network(weights: str, options: NetworkOptions) -> InContext:
    if weights == "shipped":
        return shipped.build(shipped.Options(size=options.size)).eval()
    return shipped.load_network(Path(weights), options)


def scores(
    network: InContext, dataset: PreparedDataset, ways: dict[str, dict[str, Any]], folds: int
) -> list[tuple[str, float]]:
    """The mean Dice in percent of each way."""
    means: dict[str, list[float]] = {name: [] for name in ways}
    for index in range(folds):
        fold = make_fold([case.name for case in dataset.cases], index, "lineage")
        ((name, queries),) = fold.pairs("first")
        support, *others = (_encoded(network, dataset.case(case)) for case in (name, *queries))
        for key, way in ways.items():
            predictor = Predictor(network, "bfloat16", as_volume=False, **way)
            dices = [_dices(predictor, support, query, list(dataset.labels)) for query in others]
            means[key].append(100 * fmean(one for each in dices for one in each))
    return [(key, fmean(found)) for key, found in means.items()]


def _dices(
    predictor: Predictor, support: LabelledScan, query: LabelledScan, values: list[int]
) -> list[float]:
    """Dice of each label that both scans show."""
    found = predictor.segment([support], query.slices, OrganChunks(query.label), values)
    return [
        dice(mask, query.label == value)
        for value, mask in found.masks.items()
        if found.slices.tasks[value]
    ]


def _encoded(network: InContext, case: PreparedCase) -> LabelledScan:
    slices = Predictor(network, "bfloat16").encode(case.image, case.spacing)
    return LabelledScan(case.name, slices, case.label)


if __name__ == "__main__":
    app()
