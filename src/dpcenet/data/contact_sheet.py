"""A contact sheet of a prepared data set: what it looks like, and how much of each label it has.

OUT/contact.png   for each case a row of slices with labels, and below it one with supervoxels
OUT/index.html    the same with counts per case, label and fold; self-contained
"""

from __future__ import annotations

import base64
import io
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage.segmentation import find_boundaries

from dpcenet.data.splits import fold_numbers
from dpcenet.data.store import PreparedCase, PreparedDataset
from dpcenet.system.files import write_atomically, write_text

RgbArray = npt.NDArray[np.uint8]
TEMPLATE = "contact_sheet.html"
COLOURS = np.array(
    [
        *((255, 176, 0), (0, 194, 255), (255, 90, 140), (120, 220, 90), (190, 140, 255)),
        *((255, 255, 110), (0, 230, 190), (255, 130, 60), (150, 190, 255), (230, 120, 230)),
    ],
    dtype=np.float64,
)
"""Of label 1, 2, …; after the last one they start again."""


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
    sheet = Image.fromarray(np.concatenate(padded))
    write_atomically(out / "contact.png", lambda path: sheet.save(path, format="PNG"))
    write_text(out / "index.html", page(dataset, strips))
    return out / "index.html"


def case_strip(case: PreparedCase, slices: int) -> RgbArray:
    """Slices of a case side by side, RGB: labels above, supervoxels below; every second pixel."""
    rows: list[list[RgbArray]] = [[], []]
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


def with_labels(grey: npt.NDArray[np.floating], label: npt.NDArray[np.integer]) -> RgbArray:
    """(H, W, 3): grey values 0…255, tinted where there is a label.

    scikit-image's `label2rgb` would give a label another colour on each slice, by its rank among
    the labels shown.
    """
    tint = np.where(label[..., None] > 0, colour_of(label), grey[..., None])
    return (0.5 * grey[..., None] + 0.5 * tint).astype(np.uint8)


def with_edges(grey: npt.NDArray[np.floating], segments: npt.NDArray[np.integer]) -> RgbArray:
    """(H, W, 3): grey values 0…255, with the borders between segments, 2 pixels wide."""
    edge = find_boundaries(segments, mode="thick")  # type: ignore[no-untyped-call]
    return np.where(edge[..., None], COLOURS[0], grey[..., None]).astype(np.uint8)


def colour_of(label: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """RGB colours (..., 3) of label values (...)."""
    return np.asarray(COLOURS[(label.astype(int) - 1) % len(COLOURS)])


def count_labels(dataset: PreparedDataset) -> list[dict[str, Any]]:
    """For each case: its fold, slices, supervoxels, and slices and millilitres of each label."""
    folds = fold_numbers([case.name for case in dataset.cases], dataset.origin.folds)
    rows = []
    for case in dataset.cases:
        voxel_ml = float(np.prod(case.spacing)) / 1000
        label = np.asarray(case.label) if case.labelled else np.zeros(case.image.shape, np.uint8)
        masks = {value: label == value for value in dataset.labels}
        rows.append(
            {
                "case": case.name,
                "fold": folds.get(case.name),
                "slices": len(label),
                "supervoxels": len(np.unique(case.supervoxels[:])) - 1,
                "label_slices": {v: int(m.any(axis=(1, 2)).sum()) for v, m in masks.items()},
                "label_ml": {v: float(m.sum()) * voxel_ml for v, m in masks.items()},
            }
        )
    return rows


def page(dataset: PreparedDataset, strips: dict[str, RgbArray]) -> str:
    """The page as HTML."""
    origin = dataset.origin
    folder = resources.files("dpcenet") / "assets" / "templates"
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    return environment.from_string((folder / TEMPLATE).read_text("utf-8")).render(
        dataset=dataset,
        title=origin.title or f"prepared data set {dataset.folder.name}",
        terms="; ".join(filter(None, (origin.licence, origin.citation, origin.address))),
        cases=count_labels(dataset),
        legend=[
            (name, colour_of(np.array(value)).astype(int).tolist())
            for value, name in dataset.labels.items()
        ],
        pictures=[(name, _png(strip)) for name, strip in strips.items()],
    )


def _png(picture: RgbArray) -> str:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG")
    return base64.b64encode(stream.getvalue()).decode()
