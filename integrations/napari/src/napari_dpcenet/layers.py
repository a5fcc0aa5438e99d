"""Scans and masks as layers of napari. Nothing here needs napari or Qt.

A layer is (data (Z, Y, X), its settings, its kind), as napari's plugins hand layers over. Its scale
is the spacing in mm; a scan and its mask have the same grid, so they lie on each other.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dpcenet.errors import ConfigError, DpcenetError
from dpcenet.segmentation.accepted import FoundMask, masks_in
from dpcenet.segmentation.labelled_input import LabelledInput
from dpcenet.segmentation.queries import find_queries
from dpcenet.segmentation.segment_folder import segment_folder
from dpcenet.segmentation.segment_options import SegmentOptions
from dpcenet.volumes.adapters import open_mask
from dpcenet.volumes.scan_file import ScanFile
from dpcenet.volumes.write_masks import write_mask

Layer = tuple[npt.NDArray[Any], dict[str, Any], str]
DRAWN = "labelled"  # folder in that of the results: the labels that were drawn in napari


def reader_of(path: str | list[str]) -> Callable[[str | list[str]], list[Layer]] | None:
    """napari's reader for scans that dpcenet reads; None for anything else."""
    paths = [path] if isinstance(path, str) else path
    try:
        queries = find_queries(paths)
    except (DpcenetError, OSError):
        return None
    return lambda _: [scan_layer(query.read(), str(query.files[0])) for query in queries]


def scan_layer(scan: ScanFile, source: str, **settings: Any) -> Layer:
    """A scan as an image layer; its metadata say where it came from."""
    known = {"name": Path(source).name.partition(".")[0], "scale": scan.volume.spacing}
    place = {"scan": source, "affine": scan.volume.affine.tolist()}
    low, high = (float(v) for v in np.percentile(scan.volume.data, (1, 99.5)))
    shown = {"contrast_limits": (low, max(high, low + 1e-6)), "metadata": {"dpcenet": place}}
    return np.asarray(scan.volume.data), {**known, **shown, **settings}, "image"


def segmented_layers(
    source: str | None,
    labels: npt.NDArray[Any],
    folder: Path,
    results: Path,
    fast: bool = False,
) -> list[Layer]:
    """Segment a folder from a labelled scan, and show the results.

    Args:
        source: file of the labelled scan.
        labels: (Z, Y, X), drawn in napari.
        folder: of the scans to segment.
        results: folder of the masks and of the review.
        fast: the first look only.

    Raises:
        DpcenetError: something cannot be used; the message says what to do.
    """
    if not source:
        raise ConfigError("the labelled scan has no file; open it with dpcenet's reader")
    (query, *_) = find_queries([source])
    scan = query.read()
    if labels.shape != scan.volume.data.shape:
        raise ConfigError(
            f"the labels are {labels.shape} and {source} is {scan.volume.data.shape}; draw them on "
            "this scan"
        )
    mask = results / DRAWN / f"{query.name.name}.nii.gz"
    mask.parent.mkdir(parents=True, exist_ok=True)
    write_mask(np.asarray(labels), mask, scan.grid)
    labelled = LabelledInput((Path(source),), (mask,), fast=fast)
    segment_folder([folder], labelled, SegmentOptions(results, check=True), quiet=True)
    return review_layers(results)


def review_layers(results: Path, most: int = 10) -> list[Layer]:
    """The results as pairs of layers, the most doubtful one first; only the first is visible.

    Args:
        results: the --out of `dpcenet segment`.
        most: how many cases at most, as each is held in memory.
    """
    layers: list[Layer] = []
    for number, found in enumerate(sorted(masks_in(results), key=_doubt)[:most]):
        query = found.scan()
        scan = query.read()
        image, settings, kind = scan_layer(scan, str(query.files[0]), visible=number == 0)
        layers.append((image, {**settings, "name": found.name}, kind))
        mask = open_mask(found.mask, scan)
        place = {"mask": str(found.mask), "scan": str(query.files[0]), **_expected(found)}
        facts = {
            "name": f"{_headline(found)} {found.name}",
            "scale": scan.volume.spacing,
            "visible": number == 0,
            "metadata": {"dpcenet": place},
        }
        layers.append((np.asarray(mask.data).astype(np.uint8), facts, "labels"))
    return layers


def _doubt(found: FoundMask) -> float:
    """Lowest predicted Dice; a mask that was not reviewed comes last."""
    return found.review.lowest_dice if found.review else 2.0


def _headline(found: FoundMask) -> str:
    """What the review says of the worst label, such as "look 0.62"."""
    if found.review is None:
        return "not reviewed"
    worst = min(found.review.labels.values(), key=lambda quality: quality.dice)
    return f"{worst.flag} {worst.dice:.2f}"


def _expected(found: FoundMask) -> dict[str, Any]:
    """Label → predicted Dice, its interval, flag and reasons, for the layer's metadata."""
    if found.review is None:
        return {}
    return {
        "review": {
            label: {
                "dice": quality.dice,
                "interval": (quality.low, quality.high),
                "flag": quality.flag,
                "reasons": list(quality.reasons),
            }
            for label, quality in found.review.labels.items()
        }
    }
