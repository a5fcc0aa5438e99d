"""`dpcenet complete`: a partly labelled scan gets the slices that nobody drew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

import dpcenet
from dpcenet.errors import ConfigError
from dpcenet.inference.completion import complete
from dpcenet.nn.weights import hash_of_state
from dpcenet.segmentation.labelled_files import LabelledFiles, read_labelled
from dpcenet.segmentation.outputs import made_by_network
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.system.files import file_hash, read_or_set_aside, write_json
from dpcenet.volumes.geometry import on_grid
from dpcenet.volumes.label_names import CommonLabels, name_for
from dpcenet.volumes.mask_files import MaskFile, paths_of
from dpcenet.volumes.mask_record import record_path
from dpcenet.volumes.scan_file import AS_IT_IS, ReadOptions
from dpcenet.volumes.write_masks import check_suffix, in_format, paths_for, write_somehow

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
        path: of the file that was written; None where none was.
        note: why that is not the format that was asked for; "" where it is.
    """

    mask: npt.NDArray[np.uint8]
    axis: int
    drawn: dict[int, list[int]]
    filled: dict[int, list[int]]
    path: Path | None = None
    note: str = ""


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
    mask: MaskFile,
    out: Path,
    labels: Sequence[int] = (),
    open_ended: bool = False,
    form: str | None = None,
    options: ReadOptions = AS_IT_IS,
) -> Completion:
    """Complete a mask file; a record beside the result says which slices a person drew.

    Args:
        segmenter: with a trained network.
        image: the scan.
        mask: its labels, drawn on some slices.
        out: of the completed mask; the suffix chooses the format, or `form` does. Where no DICOM
            SEG can be made it is .nii.gz.
        labels: values to complete; by default all.
        open_ended: also go on beyond an organ's first and last labelled slice.
        form: a key of `SUFFIX_OF`.
        options: how the scan is read where its files leave a choice.

    Raises:
        VolumeError: the scan or the mask cannot be used.
        ConfigError: a label is not in the mask, or `out` is a file that is not ours.
    """
    out = in_format(out, form)
    check_suffix(out)
    for path in paths_for(out):
        if path.exists() and not _is_ours(path):
            raise ConfigError(
                f"{path}: is there already, and dpcenet did not write it; choose another"
            )
    opened = read_labelled(
        segmenter.predictor, segmenter.rules, image, mask, CommonLabels(), options=options
    )
    done = complete_scan(segmenter, opened, labels, open_ended)
    network = hash_of_state(segmenter.predictor.method)
    names = {value: name_for(opened.labels.names, value) for value in opened.values}
    made_by = made_by_network(segmenter.predictor.method, network)
    path, note = write_somehow(done.mask, out, opened.file, names, made_by, opened.labels.codes)
    done = replace(done, path=path, note=note)
    facts = {
        "format": FORMAT,
        "scan": image.name,
        "drawn mask": " ".join(each.name for each in paths_of(mask)),
        "open ended": open_ended,
        "slice axis": done.axis,
        "labels": {
            str(value): {"name": names[value], "drawn": drawn, "filled": done.filled[value]}
            for value, drawn in done.drawn.items()
        },
        "dpcenet": dpcenet.__version__,
        "network": network,
        "sha256": file_hash(path),
    }
    write_json(record_path(path), facts)
    return done


def _slices(mask: npt.NDArray[np.bool_], axis: int) -> list[int]:
    """Which slices along an axis show a label."""
    others = tuple(i for i in range(3) if i != axis)
    return [int(z) for z in np.flatnonzero(mask.any(axis=others))]


def _is_ours(out: Path) -> bool:
    """Whether `complete` wrote a file, and nobody changed it since."""
    record = read_or_set_aside(record_path(out)) or {}
    return record.get("format") == FORMAT and record.get("sha256") == file_hash(out)
