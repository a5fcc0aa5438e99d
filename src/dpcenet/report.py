"""`dpcenet report`: one self-contained HTML page of one or more runs.

Every number comes from the runs' scores files; nothing is typed.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import numpy as np
import numpy.typing as npt
import yaml
from matplotlib.figure import Figure

from dpcenet.config import config_to_dict
from dpcenet.datasets.store import PreparedDataset, open_dataset
from dpcenet.errors import DatasetError, RunError
from dpcenet.files import write_text
from dpcenet.runs import Run, open_run
from dpcenet.tables import as_markdown, evaluations, table_of, tables_of
from dpcenet.types import Score

PICTURES = ("best", "median", "worst")


def report(folders: Sequence[Path], out: Path) -> Path:
    """Write OUT/report.html, and its tables as OUT/tables.md.

    Args:
        folders: runs; those that were evaluated are shown with tables and pictures.
        out: folder of the page.

    Returns:
        the path of the page.

    Raises:
        RunError: a folder is not a run.
    """
    matplotlib.rcParams["svg.hashsalt"] = "dpcenet"  # the same page for the same runs
    runs = [open_run(folder) for folder in folders]
    tables = tables_of(runs)
    page = [_describe(run) for run in runs]
    template = (resources.files("dpcenet") / "templates" / "report.html").read_text()
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    html = environment.from_string(template).render(
        runs=page, tables=tables if len(runs) > 1 else []
    )
    write_text(out / "report.html", html)
    write_text(out / "tables.md", as_markdown(tables))
    return out / "report.html"


def _describe(run: Run) -> dict[str, Any]:
    """Everything the template shows of one run."""
    tables, pictures = [], []
    for tag, scores, rules in evaluations(run):
        tables.append(table_of(rules, scores))
        pictures += _pictures(run, scores, tag)
    return {
        "name": run.folder.name,
        "preset": run.config.preset,
        "tables": tables,
        "pictures": pictures,
        "curve": _curve(run.folder / "log.jsonl"),
        "config": yaml.safe_dump(_plain(config_to_dict(run.config)), sort_keys=False),
        "facts": {
            **{k: v for k, v in run.facts["flags"].items() if k != "data"},
            "precision": run.precision,
            "data hash": run.facts["data_hash"][:12],
            **run.facts["versions"],
        },
    }


def _plain(value: Any) -> Any:
    """Tuples as lists, for YAML."""
    plain: Any = json.loads(json.dumps(value))
    return plain


def _curve(path: Path) -> str:
    """The training loss as an inline SVG; empty where nothing was logged."""
    if not path.exists():
        return ""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    if not rows:
        return ""
    steps = np.array([row["step"] for row in rows])
    losses = np.array([row["loss"] for row in rows])
    figure = Figure(figsize=(7, 2.4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(steps, losses, color="#c9d3dc", linewidth=0.8, label="each logged step")
    window = max(1, len(losses) // 40)
    smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
    axes.plot(steps[window - 1 :], smooth, color="#1f5f8b", label=f"mean of {window}")
    axes.set(xlabel="step", ylabel="loss")
    axes.legend(frameon=False)
    return _svg(figure)


def _pictures(run: Run, scores: Sequence[Score], protocol: str) -> list[dict[str, str]]:
    """For each label the best, the median and the worst case of the run, by Dice."""
    try:
        dataset = open_dataset(run.flags.data)
    except DatasetError:
        return []  # the scans have been moved or deleted; the tables stand without them
    pictures = []
    mine = [score for score in scores if score.method == run.config.preset]
    for label in dict.fromkeys(score.label for score in mine):
        ranked = sorted((s for s in mine if s.label == label), key=lambda s: -s.dice)
        ranks: dict[int, list[str]] = {}
        for name, rank in zip(PICTURES, (0, len(ranked) // 2, len(ranked) - 1), strict=True):
            ranks.setdefault(rank, []).append(name)
        for rank, names in ranks.items():
            score = ranked[rank]
            title = f"{label}, {' and '.join(names)} of {len(ranked)} ({protocol})"
            caption = f"{title}: case {score.case}, Dice {100 * score.dice:.1f} %"
            pictures.append({"caption": caption, "data": _overlay(run, dataset, score)})
    return pictures


def _overlay(run: Run, dataset: PreparedDataset, score: Score) -> str:
    """Support, query, prediction and truth on the slice that shows most of the organ."""
    value = next(k for k, name in dataset.labels.items() if name == score.label)
    query = dataset.case(score.case)
    supports = [dataset.case(name) for name in score.support.split("+")]
    name = f"{score.case}-by-{score.support}.npz"
    path = run.folder / f"predictions-{score.protocol}" / name
    if not path.is_file():
        raise RunError(f"{path}: missing; run `dpcenet evaluate` again")
    with np.load(path) as arrays:
        mask = arrays[f"mask {score.label}"]
        served = arrays[f"support slice {score.label}"]
    truth = np.asarray(query.label == value)
    z = int(truth.sum(axis=(1, 2)).argmax())
    z_support, support = int(served[z]), supports[0]
    for case in supports:  # slices are numbered through all supports
        if z_support < len(case.image):
            support = case
            break
        z_support -= len(case.image)
    if z_support < 0:  # no support slice was matched here: show the organ's largest
        z_support = int((support.label == value).sum(axis=(1, 2)).argmax())
    panels = {
        f"support {support.name}": (support.image[z_support], support.label[z_support] == value),
        f"query {query.name}, slice {z}": (query.image[z], None),
        "prediction": (query.image[z], mask[z]),
        "truth": (query.image[z], truth[z]),
    }
    return _png(_panels(panels))


def _panels(
    panels: dict[str, tuple[npt.NDArray[np.floating], npt.NDArray[np.bool_] | None]],
) -> Figure:
    """Slices side by side, masks as coloured areas with an outline."""
    figure = Figure(figsize=(2.6 * len(panels), 2.9), layout="constrained")
    for index, (title, (image, mask)) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), index + 1)
        low, high = np.percentile(image, (1, 99.5))
        axes.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        if mask is not None and mask.any():
            colour = "#ffb000" if title == "truth" or "support" in title else "#00c2ff"
            axes.contourf(mask, levels=[0.5, 1.5], colors=[colour], alpha=0.3)
            axes.contour(mask, levels=[0.5], colors=[colour], linewidths=1.0)
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    return figure


def _png(figure: Figure) -> str:
    """The figure as a data address that an <img> shows."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=80, metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _svg(figure: Figure) -> str:
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue().encode()).decode()
