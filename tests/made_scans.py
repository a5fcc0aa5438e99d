"""Phantoms and a quick segmenter for the tests of segmenting."""

from __future__ import annotations

from pathlib import Path

from dpcenet.data.phantom.phantom import write_phantoms
from dpcenet.inference.predictor import Predictor
from dpcenet.methods.copy import Copy, Options
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.volumes.preprocess import Preprocessing

SHAPE, SPACING = (8, 48, 48), (11.0, 6.0, 6.0)


def quick_segmenter(size: int = 64) -> Segmenter:
    """`copy` needs no weights; it pastes the mask of the support."""
    rules = Preprocessing.for_mr(size=size)
    return Segmenter(Predictor(Copy(Options()).eval()), rules)


def write_scans(folder: Path, count: int) -> list[tuple[Path, Path]]:
    """Pairs image_NN.nii.gz and label_NN.nii.gz."""
    return write_phantoms(folder, count, shape=SHAPE, spacing=SPACING)
