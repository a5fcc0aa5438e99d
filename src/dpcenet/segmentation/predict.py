"""Segment one scan from Python, and say how good the result probably is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np

from dpcenet.inference.support import Support
from dpcenet.segmentation.mismatch import mismatches
from dpcenet.segmentation.result import SegmentationResult
from dpcenet.segmentation.review.quality import ACCEPT_DICE, Quality, assess
from dpcenet.segmentation.segmenter import Segmenter, ShippedMethod
from dpcenet.types import Volume
from dpcenet.volumes.adapters import ImageT, Native, Scan, open_scan, same_kind
from dpcenet.volumes.label_names import name_for
from dpcenet.volumes.modality import intensity_doubts
from dpcenet.volumes.statistics import LabelStatistics, measure_labels


@dataclass(frozen=True, repr=False)
class Result:
    """A segmented scan. For research only; not a medical device.

    Attributes:
        mask: uint8 label values on the scan's own grid, an image of the same kind as the scan, or
            a Volume where the scan was a path or a Volume; 0 is background.
        labels: label value → name.
        statistics: label value → volume, intensities, size and place; none where nothing was found.
        quality: label value → predicted Dice, its interval, and a flag: accept, look or reject.
            Empty where no check was asked for.
        notes: what is unusual about the scan, a line each.
    """

    mask: Any
    labels: Mapping[int, str]
    statistics: Mapping[int, LabelStatistics]
    quality: Mapping[int, Quality]
    notes: tuple[str, ...]
    _scan: Scan = field(compare=False)
    _found: SegmentationResult = field(compare=False)

    @property
    def volumes_ml(self) -> dict[int, float]:
        """Label value → millilitres; 0 where nothing was found."""
        return {v: self.statistics[v].ml if v in self.statistics else 0.0 for v in self.labels}

    @cached_property
    def probabilities(self) -> dict[int, Any]:
        """Label value → probability (float32, 0…1) on the scan's own grid, of the mask's kind."""
        record, affine = self._found.record, self._found.mask.affine
        return {
            value: same_kind(Volume(record.restore_probability(each), affine), self._scan)
            for value, each in self._found.probability.items()
        }

    def __repr__(self) -> str:
        parts = []
        for value, name in self.labels.items():
            judged = f", {self.quality[value].flag}" if value in self.quality else ""
            parts.append(f"{name} {self.volumes_ml[value]:.1f} ml{judged}")
        return f"Result({'; '.join(parts)})"


def predict_with(
    segmenter: Segmenter,
    support: Support,
    query: Scan,
    check: bool = True,
    accept_dice: float = ACCEPT_DICE,
) -> Result:
    """Segment a scan and predict how good the mask of each label is.

        segmenter = dpcenet.Segmenter.shipped()
        support = segmenter.support("labelled.nii.gz", "labels.nii.gz")
        results = [dpcenet.predict_with(segmenter, support, scan) for scan in scans]

    Args:
        segmenter: a network.
        support: labelled scans, from `segmenter.support`.
        query: of any kind that `dpcenet.segment` takes.
        check: predict the Dice of each label, in up to the same time again.
        accept_dice: the Dice that a mask must have to be accepted.

    Raises:
        VolumeError: the scan cannot be used.
    """
    scan = open_scan(query)
    found, unlike = segmenter.find(scan, support), mismatches(scan, support)
    return Result(
        mask=same_kind(found.mask, query),
        labels={value: name_for(support.names, value) for value in support.values},
        statistics=measure_labels(
            scan.volume.data, np.asarray(found.mask.data, np.uint8), found.mask.affine
        ),
        quality=assess(segmenter.predictor, found, None, accept_dice, unlike) if check else {},
        notes=(*scan.facts.notes, *unlike, *intensity_doubts(scan, support.rules.modality)),
        _scan=query,
        _found=found,
    )


def predict(
    query: Scan,
    support_image: Scan,
    support_mask: Scan,
    *,
    run: Path | str | None = None,
    method: ShippedMethod = "incontext",
    labels: Sequence[int] = (),
    device: str = "auto",
    check: bool = True,
    accept_dice: float = ACCEPT_DICE,
) -> Result:
    """Segment one scan from one labelled scan, and predict how good the result is.

    Args:
        query, support_image, support_mask, run, method, labels, device: as in `dpcenet.segment`.
        check, accept_dice: as in `predict_with`.

    Raises:
        InputError, RunError: the message says what to do.
    """
    segmenter = Segmenter.of(run, method, device)
    support = segmenter.support(support_image, support_mask, labels)
    return predict_with(segmenter, support, query, check, accept_dice)


@overload
def segment(
    query: Native,
    support_image: Scan,
    support_mask: Scan,
    *,
    run: Path | str | None = None,
    method: ShippedMethod = "incontext",
    labels: Sequence[int] = (),
    device: str = "auto",
) -> Volume: ...


@overload
def segment(
    query: ImageT,
    support_image: Scan,
    support_mask: Scan,
    *,
    run: Path | str | None = None,
    method: ShippedMethod = "incontext",
    labels: Sequence[int] = (),
    device: str = "auto",
) -> ImageT: ...


def segment(
    query: Scan,
    support_image: Scan,
    support_mask: Scan,
    *,
    run: Path | str | None = None,
    method: ShippedMethod = "incontext",
    labels: Sequence[int] = (),
    device: str = "auto",
) -> Any:
    """Segment one scan from one labelled scan.

    Args:
        query, support_image, support_mask: paths (of a file, or of a folder with one DICOM
            series), `dpcenet.Volume(data (Z, Y, X), affine)`, pairs (array, affine), images of
            nibabel, SimpleITK, MONAI or TorchIO, or TorchIO subjects; the three may differ in kind.
        run: folder of a trained run; by default a network of the package.
        method: which network of the package: "incontext" or "dpcenet".
        labels: values to segment; by default every value of the mask.
        device: "auto", "cpu", "cuda", …

    Returns:
        uint8 label values on the query's own grid: an image of the same kind as the query, or a
        Volume if the query is a path or a Volume.

    Raises:
        InputError, RunError: the message says what to do.
    """
    segmenter = Segmenter.of(run, method, device)
    return segmenter.segment(query, segmenter.support(support_image, support_mask, labels))
