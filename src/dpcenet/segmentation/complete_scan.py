"""`dpcenet complete`: a partly labelled scan gets the slices that nobody drew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

import dpcenet
from dpcenet.errors import ConfigError
from dpcenet.inference.completion import complete
from dpcenet.nn.weights import hash_of_state
from dpcenet.segmentation.labelled_files import LabelledFiles, read_labelled
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.system.files import file_hash, read_or_set_aside, write_json
from dpcenet.volumes.geometry import on_grid
from dpcenet.volumes.label_names import CommonLabels
from dpcenet.volumes.mask_record import record_path
from dpcenet.volumes.write_masks import write_mask

FORMAT = "dpcenet completion 1"


@dataclass(frozen=True)
class Completion:
    """A completed mask.

    Attributes:
        mask: (Z, Y, X) uint8 in the array order of the scan's file: what was drawn, and what was
            filled.
        axis: of the array (Z, Y, X) that runs through the slices; NIfTI counts axes from behind.
        drawn, filled: label value → slices along that axis that a person drew, or the network
            filled.
    """

    mask: npt.NDArray[np.uint8]
    axis: int
    drawn: dict[int, list[int]]
    filled: dict[int, list[int]]


def complete_scan(
    segmenter: Segmenter, opened: LabelledFiles, labels: Sequence[int], open_ended: bool = False
) -> Completion:
    """Fill the slices between labelled ones. What a person drew is never changed.

    Args:
        segmenter: with a trained network.
        opened: the partly labelled scan.
        labels: values to complete; by default all.
        open_ended: also go on beyond an organ's first and last labelled slice.

    Raises:
        ConfigError: a label is not in the mask.
    """
    if missing := sorted(set(labels) - set(opened.values)):
        raise ConfigError(f"--label {missing[0]}: the mask has {list(opened.values)}")
    values = tuple(labels) or opened.values
    found = opened.record.restore_labels(
        complete(segmenter.predictor, opened.scan, values, open_ended)
    )
    placed = on_grid(opened.truth, opened.file.volume, "the labels")
    drawn = np.round(placed.data.astype(np.float64)).astype(np.uint8)
    mask = np.where(drawn > 0, drawn, found)
    axis = opened.record.orientation.permutation[0]
    before, after = ({v: _slices(each == v, axis) for v in values} for each in (drawn, mask))
    filled = {v: sorted(set(after[v]) - set(before[v])) for v in values}
    return Completion(mask, axis, before, filled)


def complete_file(
    segmenter: Segmenter,
    image: Path,
    mask: Path,
    out: Path,
    labels: Sequence[int] = (),
    open_ended: bool = False,
) -> Completion:
    """Complete a mask file; OUT.json beside the result says which slices a person drew.

    Raises:
        VolumeError: the scan or the mask cannot be used.
        ConfigError: a label is not in the mask, or `out` is a file that is not ours.
    """
    if out.exists() and not _is_ours(out):
        raise ConfigError(f"{out}: is there already, and dpcenet did not write it; choose another")
    opened = read_labelled(segmenter.predictor, segmenter.rules, image, mask, CommonLabels())
    completion = complete_scan(segmenter, opened, labels, open_ended)
    write_mask(completion.mask, out, opened.file.grid)
    slices = {
        str(value): {"drawn": completion.drawn[value], "filled": completion.filled[value]}
        for value in completion.drawn
    }
    facts = {
        "format": FORMAT,
        "scan": image.name,
        "drawn mask": mask.name,
        "open ended": open_ended,
        "slice axis": completion.axis,
        "labels": slices,
        "dpcenet": dpcenet.__version__,
        "network": hash_of_state(segmenter.predictor.method),
        "sha256": file_hash(out),
    }
    write_json(record_path(out), facts)
    return completion


def _slices(mask: npt.NDArray[np.bool_], axis: int) -> list[int]:
    """Which slices along an axis show a label."""
    others = tuple(i for i in range(3) if i != axis)
    return [int(z) for z in np.flatnonzero(mask.any(axis=others))]


def _is_ours(out: Path) -> bool:
    """Whether `complete` wrote a file, and nobody changed it since."""
    record = read_or_set_aside(record_path(out)) or {}
    return record.get("format") == FORMAT and record.get("sha256") == file_hash(out)
