"""The in-context network: what each part of its making is worth.

    python experiments/incontext.py score WEIGHTS --data PREPARED ... [--size 96]
    python experiments/incontext.py train OUT --data PREPARED ... [--steps 400] [--seeds 0,1,2]
        [--rows 0,12,13] [--jobs 2]
    python experiments/incontext.py table OUT

`score` prints the mean Dice in percent of weights (a file of `dpcenet pretrain`, or "shipped") on
prepared scans: organ slices, three chunks, five folds, first scan of each fold as support, once
for each number of neighbouring support slices and with the second look or without. `train` makes
one short training for each row of `ROWS` (or those numbered) and each seed, and scores it; what
is done already is left out, so it can be stopped. `table` prints means and deviations over seeds.
"""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, stdev
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
from dpcenet.system.device import choose_precision
from dpcenet.training.config import load_options
from dpcenet.training.incontext_trainer import PretrainConfig
from dpcenet.training.log import LOG
from dpcenet.training.pretrain import WEIGHTS, pretrain
from dpcenet.training.training_run import Pace
from dpcenet.volumes.metrics import dice

FOLDS, SIZE = 5, 64
PRECISION = choose_precision("auto", torch.device("cpu"))
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
    "cohorts of patients in place of pairs": ("source=cohorts",),
    "cohorts and pairs in turn": ("source=both",),
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
def train(
    out: Path, data: Data, steps: int = 400, jobs: int = 2, seeds: str = "0", rows: str = ""
) -> None:
    """Train and score every row that is not there yet."""
    names = list(ROWS)
    chosen = [names[int(row)] for row in rows.split(",")] if rows else names
    todo = [
        (out, name, tuple(data), steps, int(seed)) for seed in seeds.split(",") for name in chosen
    ]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for task, found in zip(todo, pool.map(_row, todo), strict=True):
            typer.echo(f"{task[1]}, seed {task[-1]}: {json.dumps(found)}")


@app.command()
def table(out: Path) -> None:
    """Print the table of what `train` left."""
    seeds = {name: _seeds(out, name) for name in ROWS}
    columns = [key for key in next(each[0] for each in seeds.values() if each) if key != "steps"]
    typer.echo(f"| | seeds | {' | '.join(columns)} |\n|{' --- |' * (len(columns) + 2)}")
    for name, found in seeds.items():
        if found:
            cells = [_mean([each[column] for each in found]) for column in columns]
            typer.echo(f"| {name} | {len(found)} | {' | '.join(cells)} |")


def _seeds(out: Path, name: str) -> list[dict[str, float]]:
    """What was found for a row with each seed."""
    pattern = _file(out, name, 0).name.replace("-0.json", "-*.json")
    return [json.loads(path.read_text()) for path in sorted(out.glob(pattern))]


def _mean(values: list[float]) -> str:
    spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    return f"{fmean(values):.1f}{spread}"


def _row(task: tuple[Path, str, tuple[Path, ...], int, int]) -> dict[str, float]:
    out, name, data, steps, seed = task
    file = _file(out, name, seed)
    if file.exists():
        done: dict[str, float] = json.loads(file.read_text())
        return done
    torch.set_num_threads(1)
    folder = file.with_suffix("")
    changes = [f"{part}.size={SIZE}" for part in ("pairs", "cohorts", "network")]
    changes += [f"steps={steps}", f"seed={seed}", f"bfloat16={PRECISION == 'bfloat16'}".lower()]
    config = load_options(PretrainConfig, None, (*changes, *ROWS[name]))
    pretrain(config, folder, Pace(save_every=steps))
    network = shipped.load_network(folder / WEIGHTS, replace(config.network, size=96))
    last = json.loads((folder / LOG).read_text().splitlines()[-1])
    found = {"steps": float(steps), "made-up": 100 * last["dice"]}
    for one in data:
        ((_, mean),) = scores(network, open_dataset(one), {"": WAYS["second look"]}, FOLDS)
        found[one.name] = mean
    file.write_text(json.dumps(found))
    return found


def _file(out: Path, name: str, seed: int) -> Path:
    return out / f"{''.join(c if c.isalnum() else '-' for c in name)}-{seed}.json"


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
            predictor = Predictor(network, PRECISION, as_volume=False, **way)
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
    slices = Predictor(network, PRECISION).encode(case.image, case.spacing)
    return LabelledScan(case.name, slices, case.label)


if __name__ == "__main__":
    app()
