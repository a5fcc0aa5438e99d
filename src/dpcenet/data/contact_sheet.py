"""A contact sheet of a prepared data set: what it looks like, and how much of what it holds.

OUT/contact.png   for each case a row of slices with labels, and below it one with supervoxels
OUT/index.html    the same with counts per case, label and fold; self-contained
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from dpcenet.data.splits import divide
from dpcenet.data.store import PreparedCase, PreparedDataset
from dpcenet.errors import ConfigError, DatasetError
from dpcenet.system.files import write_atomically, write_text

Picture = npt.NDArray[np.uint8]
FOLDS = 5

COLOURS = np.array(
    [
        *((255, 176, 0), (0, 194, 255), (255, 90, 140), (120, 220, 90), (190, 140, 255)),
        *((255, 255, 110), (0, 230, 190), (255, 130, 60), (150, 190, 255), (230, 120, 230)),
    ],
    dtype=np.float64,
)
"""Of label 1, 2, …, from the start again after the last."""

STYLE = """body{font-family:system-ui,sans-serif;margin:2rem;color:#1d2733}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .7rem;text-align:right}
td:first-child,th:first-child{text-align:left}tr:nth-child(even){background:#f2f5f8}
img{max-width:100%;display:block;image-rendering:pixelated}.swatch{font-weight:bold}"""


def write_contact_sheet(dataset: PreparedDataset, out: Path, slices: int = 5) -> Path:
    """Write the sheet as a picture and as a page; returns the page.

    Args:
        dataset: to be shown.
        out: folder.
        slices: of each case, evenly spaced.
    """
    strips = {case.name: case_strip(case, slices) for case in dataset.cases}
    width = max(strip.shape[1] for strip in strips.values())
    padded = [
        np.pad(strip, ((0, 4), (0, width - strip.shape[1]), (0, 0))) for strip in strips.values()
    ]
    write_atomically(out / "contact.png", lambda path: _save(np.concatenate(padded), path))
    write_text(out / "index.html", page(dataset, strips))
    return out / "index.html"


def case_strip(case: PreparedCase, slices: int) -> Picture:
    """Slices of a case side by side, RGB: labels above, supervoxels below; a pixel out of two."""
    rows: list[list[Picture]] = [[], []]
    low, high = np.percentile(case.image, (1, 99.5))
    for z in evenly_spaced(len(case.image), slices):
        grey = np.clip((case.image[z] - low) / max(high - low, 1e-6), 0, 1) * 255
        label = case.label[z] if case.labelled else np.zeros(grey.shape, np.uint8)
        rows[0].append(with_labels(grey, label)[::2, ::2])
        rows[1].append(with_edges(grey, case.supervoxels[z])[::2, ::2])
    return np.concatenate([np.concatenate(row, axis=1) for row in rows])


def evenly_spaced(count: int, wanted: int) -> list[int]:
    """Up to `wanted` of 0 … count − 1, at equal distances from each other and from the ends."""
    places = np.linspace(0, count - 1, min(count, wanted) + 2)[1:-1]
    return sorted({round(place) for place in places.tolist()})


def with_labels(grey: npt.NDArray[np.floating], label: npt.NDArray[np.integer]) -> Picture:
    """(H, W, 3): grey values 0…255, tinted where there is a label."""
    colour = COLOURS[(label.astype(int) - 1) % len(COLOURS)]
    picture = np.repeat(grey[..., None], 3, axis=-1)
    return np.where(label[..., None] > 0, 0.5 * picture + 0.5 * colour, picture).astype(np.uint8)


def with_edges(grey: npt.NDArray[np.floating], segments: npt.NDArray[np.integer]) -> Picture:
    """(H, W, 3): grey values 0…255, with the borders between segments, 2 pixels wide."""
    edge = np.zeros(segments.shape, dtype=bool)
    across, down = segments[:, 1:] != segments[:, :-1], segments[1:] != segments[:-1]
    for part, different in (
        (np.s_[:, 1:], across),
        (np.s_[:, :-1], across),
        (np.s_[1:], down),
        (np.s_[:-1], down),
    ):
        edge[part] |= different
    picture = np.repeat(grey[..., None], 3, axis=-1)
    return np.where(edge[..., None], COLOURS[0], picture).astype(np.uint8)


def count_labels(dataset: PreparedDataset) -> list[dict[str, Any]]:
    """For each case: its fold, slices, supervoxels, and slices and millilitres of each label."""
    folds = fold_numbers(dataset)
    rows = []
    for case in dataset.cases:
        voxel_ml = float(np.prod(case.spacing)) / 1000
        label = np.asarray(case.label) if case.labelled else np.zeros(case.image.shape, np.uint8)
        shown = {value: label == value for value in dataset.labels}
        rows.append(
            {
                "case": case.name,
                "fold": folds.get(case.name),
                "slices": len(label),
                "supervoxels": len(np.unique(case.supervoxels[:])) - 1,
                "label_slices": {v: int(m.any(axis=(1, 2)).sum()) for v, m in shown.items()},
                "label_ml": {v: float(m.sum()) * voxel_ml for v, m in shown.items()},
            }
        )
    return rows


def fold_numbers(dataset: PreparedDataset) -> dict[str, int]:
    """Case → the fold in which it is a query; empty where there are too few cases for folds."""
    names = [case.name for case in dataset.cases]
    written = dataset.origin.folds
    try:
        blocks = divide(names, len(written) or FOLDS, written)
    except (ConfigError, DatasetError):
        return {}
    return {name: number for number, block in enumerate(blocks) for name in block}


def page(dataset: PreparedDataset, strips: dict[str, Picture]) -> str:
    """The page as HTML."""
    rows = count_labels(dataset)
    origin = dataset.origin
    title = escape(origin.title or f"prepared data set {dataset.folder.name}")
    legend = " ".join(
        f'<span class="swatch" style="color:rgb{_rgb(value)}">■</span> {escape(name)}'
        for value, name in dataset.labels.items()
    )
    terms = escape("; ".join(filter(None, (origin.licence, origin.citation, origin.address))))
    pictures = "".join(
        f"<h3>{escape(name)}</h3><img alt='slices of {escape(name, quote=True)}' "
        f"src='data:image/png;base64,{_png(strip)}'>"
        for name, strip in strips.items()
    )
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title>"
        f"<style>{STYLE}</style><h1>{title}</h1><p>{len(rows)} cases, {dataset.modality}; "
        f"hash {dataset.hash[:12]}. For research only.</p><p>{terms}</p><p>{legend}</p>"
        f"<h2>By fold</h2>{_fold_table(dataset, rows)}<h2>By case</h2>{_case_table(dataset, rows)}"
        f"<h2>Slices</h2><p>Above: labels. Below: supervoxels.</p>{pictures}</html>\n"
    )


def _fold_table(dataset: PreparedDataset, rows: Sequence[dict[str, Any]]) -> str:
    heads = ["fold", "cases", "slices", *(f"{name}, slices" for name in dataset.labels.values())]
    lines = []
    for fold in sorted({row["fold"] for row in rows if row["fold"] is not None}):
        mine = [row for row in rows if row["fold"] == fold]
        counts = [sum(row["label_slices"][value] for row in mine) for value in dataset.labels]
        lines.append([fold, len(mine), sum(row["slices"] for row in mine), *counts])
    return _table(heads, lines)


def _case_table(dataset: PreparedDataset, rows: Sequence[dict[str, Any]]) -> str:
    names = dataset.labels.values()
    heads = ["case", "fold", "slices", "supervoxels", *(f"{name}, slices / ml" for name in names)]
    lines = [
        [
            row["case"],
            "–" if row["fold"] is None else row["fold"],
            row["slices"],
            row["supervoxels"],
            *(f"{row['label_slices'][v]} / {row['label_ml'][v]:.0f}" for v in dataset.labels),
        ]
        for row in rows
    ]
    return _table(heads, lines)


def _table(heads: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in line) + "</tr>"
        for line in lines
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _rgb(value: int) -> str:
    red, green, blue = COLOURS[(value - 1) % len(COLOURS)].astype(int).tolist()
    return f"({red},{green},{blue})"


def _png(picture: Picture) -> str:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG")
    return base64.b64encode(stream.getvalue()).decode()


def _save(picture: Picture, path: Path) -> None:
    Image.fromarray(picture).save(path, format="PNG")
