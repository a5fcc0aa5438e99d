"""What the experiments share: a segmenter that takes prepared scans as they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dpcenet.data.store import PreparedCase, PreparedDataset
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.types import Volume
from dpcenet.volumes.preprocess import Preprocessing


def segmenter_for(dataset: PreparedDataset) -> Segmenter:
    """The shipped network; what is clipped already is not clipped again.

    As `segment` does, scans get the pixel size of the labelled one, and nothing of them is cut off.
    """
    as_segment = {"clip_percentile": None, "spacing_mm": None, "overflow": "fit"}
    rules = Preprocessing(**{**dataset.preprocessing, **as_segment})
    return replace(Segmenter.shipped("cpu"), rules=rules)


def scan_of(case: PreparedCase) -> Volume:
    """The prepared scan with its place in the patient."""
    return Volume(np.asarray(case.image), case.record.affine)


def label_of(case: PreparedCase) -> Volume:
    """Its true labels."""
    return Volume(np.asarray(case.label), case.record.affine)
