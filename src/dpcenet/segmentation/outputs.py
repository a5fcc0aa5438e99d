"""What is written for a query: its mask and, if asked for, probabilities and surfaces."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dpcenet import __version__
from dpcenet.methods.base import Method
from dpcenet.segmentation.layout import Layout, label_path, label_words, probability_path
from dpcenet.segmentation.result import SegmentationResult
from dpcenet.system.large_arrays import blocks, changed, give_back, room_for
from dpcenet.types import Volume
from dpcenet.volumes.dicom.segment_descriptions import Algorithm
from dpcenet.volumes.label_names import name_for
from dpcenet.volumes.mesh import surface, write_stl
from dpcenet.volumes.nifti import write_nifti
from dpcenet.volumes.scan_file import Labels, ScanFile
from dpcenet.volumes.statistics import measure_labels
from dpcenet.volumes.write_masks import write_mask, write_somehow


@dataclass(frozen=True)
class OutputOptions:
    """What is written beside the mask, and in which format.

    Attributes:
        probability: of each label, float32 NIfTI on the query's own grid: NAME_prob_VALUE.nii.gz.
        mesh: of each label, binary STL in LPS+ mm: NAME_mesh_VALUE.stl.
        form: of the mask: "nifti", "dicom-seg", "seg.nrrd" or "mha"; None takes the scan's own.
        layout: where all of it lies, and how it is called.
    """

    probability: bool = False
    mesh: bool = False
    form: str | None = None
    layout: Layout = "default"


def made_by_network(method: Method, network: str, learnt: str = "") -> Algorithm:
    """Who made a mask: this version, and the first digits of the sha256 of the weights, also of
    those after learning."""
    after = f" learnt {learnt[:12]}" if learnt else ""
    return Algorithm(__version__, f"{type(method).__name__} {network[:12]}{after}")


def write_outputs(
    result: SegmentationResult,
    scan: ScanFile,
    mask: Path,
    name: str,
    outputs: OutputOptions,
    labels: Labels,
    algorithm: Algorithm,
) -> tuple[list[Path], str]:
    """Write each file whole or not at all.

    Args:
        result: in the query.
        scan: the query; its grid is the mask's.
        mask: path of the mask.
        name: of the query, for the other files in the mask's folder.
        outputs: which other files.
        labels: names and codes of label values, for formats that have a place for them.
        algorithm: what made the mask; it is written into a DICOM SEG.

    Returns:
        what was written, the mask first; and why it is no DICOM SEG, "" where that is no question.
    """
    known = {value: name_for(labels.names, value) for value in result.probability}
    written, note = write_somehow(
        result.mask.data, _cleared(mask), scan, known, algorithm, labels.codes
    )
    beside = paths_beside(mask, name, known, outputs)  # in the order in which they are made
    paths = [written]
    for value, probability in result.probability.items():
        if outputs.layout == "totalsegmentator":
            paths.append(_cleared(next(beside)))
            paths[-1].parent.mkdir(exist_ok=True)
            write_mask(_only(result.mask.data, value), paths[-1], scan.grid)
        if outputs.probability:
            paths.append(_cleared(next(beside)))
            write_nifti(result.record.restore_probability(probability), paths[-1], scan.grid)
        if outputs.mesh:
            paths.append(_cleared(next(beside)))
            write_stl(surface(result.mask, value), paths[-1])
    return paths, note


def paths_beside(
    mask: Path, name: str, names: Mapping[int, str], outputs: OutputOptions
) -> Iterator[Path]:
    """What `write_outputs` writes beside a mask.

    Args:
        mask, name: as there.
        names: label value → name.
        outputs: which files.
    """
    for value, word in label_words(names, outputs.layout).items():
        if outputs.layout == "totalsegmentator":
            yield label_path(mask, word)
        if outputs.probability:
            yield probability_path(mask, name, value, word, outputs.layout)
        if outputs.mesh:
            yield mask.with_name(f"{name}_mesh_{value}.stl")


def _only(labels: npt.NDArray[Any], value: int) -> npt.NDArray[np.uint8]:
    """1 where a label map (Z, Y, X) has a value, else 0."""
    found = room_for(labels.shape, np.uint8)
    for part in blocks(labels):
        found[part] = labels[part] == value
        give_back(found)
    return found


def _cleared(path: Path) -> Path:
    """The path; half-written files that a killed run left beside it are deleted."""
    for left in path.parent.glob(f".partial-????????{glob.escape(path.name)}"):
        left.unlink(missing_ok=True)
    return path


def statistics_of(image: Volume, mask: Volume, values: Iterable[int]) -> dict[str, dict[str, Any]]:
    """What is measured of each label, as JSON; of one that was not found, only that it is empty.

    Args:
        image: the scan.
        mask: label values on its grid.
        values: the labels that were asked for.
    """
    labels = changed(mask.data, np.uint8)
    found = measure_labels(image.data, labels, image.affine)
    empty = {"ml": 0.0, "voxels": 0}
    return {str(v): found[v].to_json() if v in found else empty for v in values}
