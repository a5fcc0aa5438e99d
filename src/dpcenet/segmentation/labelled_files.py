"""Labelled scans from files or images: read, prepared and encoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dpcenet.errors import ConfigError
from dpcenet.inference.predictor import Predictor
from dpcenet.inference.support import LabelledScan
from dpcenet.segmentation.mismatch import unlike
from dpcenet.types import Volume
from dpcenet.volumes.adapters import Scan, name_of, open_labelled, open_scan
from dpcenet.volumes.boxes_and_values import values_in
from dpcenet.volumes.dicom.find_series import Series
from dpcenet.volumes.intensities import check_intensities
from dpcenet.volumes.label_names import CommonLabels, renumbered
from dpcenet.volumes.mask_checks import (
    background_doubts,
    check_mask,
    check_whole,
    empty_doubts,
)
from dpcenet.volumes.mask_files import OrganMasks
from dpcenet.volumes.modality import rules_for
from dpcenet.volumes.preprocess import Preprocessing, preprocess, preprocess_labels
from dpcenet.volumes.record import Record
from dpcenet.volumes.same_scan import ScanIdentity
from dpcenet.volumes.scan_file import AS_IT_IS, NO_LABELS, Labels, ReadOptions, ScanFile


@dataclass(frozen=True)
class LabelledFiles:
    """A labelled scan as it was read, and as the network knows it.

    Attributes:
        file: the scan.
        truth: its labels as they were drawn, in the place of the scan.
        values: the labels' values.
        scan: prepared and encoded.
        record: the way back to the scan's own grid.
        affine: (4, 4) of the prepared scan, in RAS+ mm.
        labels: names and codes of its label values.
        notes: what reading did beyond reading, a line each.
    """

    file: ScanFile
    truth: Volume
    values: tuple[int, ...]
    scan: LabelledScan
    record: Record
    affine: npt.NDArray[np.float64]
    labels: Labels = NO_LABELS
    notes: tuple[str, ...] = ()


def read_labelled(
    predictor: Predictor,
    rules: Preprocessing | None,
    image: Scan,
    mask: Scan | OrganMasks,
    common: CommonLabels,
    first: LabelledFiles | None = None,
    options: ReadOptions = AS_IT_IS,
) -> LabelledFiles:
    """Read, prepare and encode one labelled scan; its labels are as they were drawn.

    Args:
        predictor: encodes the scan.
        rules: of preprocessing; None chooses them by what the scan is.
        image, mask: of any kind that `volumes.adapters` opens; several masks become one label map.
        common: what label values mean over several masks; it learns this mask's names.
        first: another labelled scan, whose spacing and orientation this one gets.
        options: how the scan is read where its files leave a choice.

    Raises:
        VolumeError: the scan or the mask cannot be used.
    """
    scan = open_scan(image, options)
    stored = open_labelled(mask, scan)
    check_whole(stored.volume.data, name_of(mask))  # before values are counted and renumbered
    table = common.table_for(stored, name_of(mask))
    truth = Volume(renumbered(stored.volume.data, table), stored.volume.affine)
    check_intensities(scan.volume, name_of(image))
    drawn = check_mask(truth, scan.volume, name_of(mask), scan.grid)
    rules = first.record.rules if first else rules or rules_for(scan)
    like = first.affine if first else None
    prepared, record = preprocess(scan, rules, like=like)
    # All scans get the spacing of the first, not one that fits their own field of view.
    spacing = record.rules.spacing_mm or prepared.spacing[1]
    record = replace(record, rules=replace(record.rules, spacing_mm=spacing))
    slices = predictor.encode(prepared.image, prepared.spacing)
    label = preprocess_labels(truth, record)
    labelled = LabelledScan.of(name_of(image), prepared.image, slices, label, prepared.affine)
    values = tuple(int(value) for value in values_in(drawn) if value)
    notes = [
        f"{name_of(each)}: {note}"
        for each, file in ((image, scan), (mask, stored))
        for note in file.facts.notes
    ]
    if names := stored.facts.labels.names:
        known = ", ".join(f"{table[v]} = {name}" for v, name in names.items() if v in table)
        notes.append(f"{name_of(mask)}: labels {known}")
    if first:
        notes += [
            f"{name_of(image)}: {each}" for each in unlike(scan, rules.modality, first.affine)
        ]
    doubts = (
        *background_doubts(drawn),
        *empty_doubts(drawn, scan.volume.data, values),
        *lost_labels(values, label),
    )
    notes += [f"{name_of(mask)}: {doubt}" for doubt in doubts]
    return LabelledFiles(
        scan, truth, values, labelled, record, prepared.affine, common.labels, tuple(notes)
    )


def lost_labels(values: Sequence[int], label: npt.NDArray[np.uint8]) -> list[str]:
    """A note for each label that is in the mask and no more on the prepared slices.

    Args:
        values: of the mask.
        label: (Z, H, W), prepared.
    """
    left = set(values_in(label))
    return [
        f"label {value} is too small: nothing of it is left on the prepared slices, so nothing "
        "can be found for it; are there stray voxels?"
        for value in values
        if value not in left
    ]


def check_meanings(opened: Sequence[LabelledFiles]) -> None:
    """Refuse one value for two organs, in two masks of a scan that is given twice.

    Raises:
        ConfigError: a label's voxels in one mask are all elsewhere in the other.
    """
    for number, one in enumerate(opened):
        for other in opened[:number]:
            if not _same_scan(one, other):
                continue
            for value in set(one.values) & set(other.values):
                if not ((one.scan.label == value) & (other.scan.label == value)).any():
                    raise ConfigError(
                        f"{one.scan.name}: label {value} is one thing in one of its masks and "
                        "another in the next; name them: --support-mask liver.nii.gz=liver"
                    )


def _same_scan(one: LabelledFiles, other: LabelledFiles) -> bool:
    if one.scan.name != other.scan.name:
        return False
    return np.array_equal(one.file.volume.data, other.file.volume.data)


def identities(
    images: Sequence[Scan], opened: Sequence[LabelledFiles], options: ReadOptions
) -> tuple[ScanIdentity, ...]:
    """What copies of labelled scans are known by; of scans that are files, which have copies."""
    return tuple(
        ScanIdentity.of(each.scan.name, each.file.volume, partial(_read_again, image, options))
        for image, each in zip(images, opened, strict=True)
        if isinstance(image, Path | str | Series)
    )


def _read_again(scan: Path | str | Series, options: ReadOptions) -> Volume:
    return open_scan(scan, options).volume


def gap_note(name: str, counts: Mapping[int, int], names: Mapping[int, str]) -> str:
    """What was filled in a partly labelled scan."""
    each = ", ".join(f"{names.get(v, f'label {v}')} on {count}" for v, count in counts.items())
    return (
        f"{name}: slices between labelled ones count as not labelled, and the network filled them "
        f"({each})"
    )
