"""BTCV / SABS: 30 abdominal CT scans with 13 organs; "Abd-CT" of the papers.

As downloaded: img/img0001.nii.gz … and label/label0001.nii.gz …. The lineage cuts 32 pixels off
each side (512 → 448) and then takes every 1.75th pixel. Its rule of lengths makes 257 pixels of
them; the last row and column are dropped here, as SSL-ALPNet does when it loads the scan. `prepare
--size 257` keeps them, as the lineage of ADNet does.
"""

from __future__ import annotations

from pathlib import Path

from dpcenet.data.datasets.spec import (
    DatasetSpec,
    RawCase,
    SourceCase,
    SourceFolder,
    find_files,
    read_pair,
)
from dpcenet.errors import VolumeError
from dpcenet.types import Volume
from dpcenet.volumes.preprocess import Preprocessing
from dpcenet.volumes.scan_file import ScanFile, SourceGrid

BORDER = 32  # pixels cut off each side of a slice
LABELS = {
    1: "spleen",
    2: "right kidney",
    3: "left kidney",
    4: "gallbladder",
    5: "esophagus",
    6: "liver",
    7: "stomach",
    8: "aorta",
    9: "inferior vena cava",
    10: "portal and splenic vein",
    11: "pancreas",
    12: "right adrenal gland",
    13: "left adrenal gland",
}


def find(folder: Path) -> SourceFolder:
    """Pairs img0001, label0001 below a folder.

    Raises:
        DatasetError: a case has two files, or a label no image.
    """
    ending = r"(\d+)\.nii(?:\.gz)?"
    return SourceFolder(
        find_files(folder, "img" + ending, "label" + ending, lambda n: f"{int(n):04d}")
    )


def read(case: SourceCase) -> RawCase:
    """Read a pair, without the border.

    Raises:
        VolumeError: a file cannot be used.
    """
    raw = read_pair(case)
    scan = cut_border(raw.scan.volume, BORDER, str(case.image))
    labels = None if raw.labels is None else cut_border(raw.labels, BORDER, str(case.label))
    return RawCase(ScanFile(scan, SourceGrid.of(scan)), labels)


def cut_border(volume: Volume, pixels: int, path: Path | str) -> Volume:
    """The volume (Z, Y, X) without `pixels` at each side of its slices.

    Raises:
        VolumeError: nothing would be left.
    """
    if min(volume.data.shape[1:]) <= 2 * pixels:
        found = f"slices of {volume.data.shape[1]} x {volume.data.shape[2]} pixels"
        raise VolumeError(path, found, f"more than {2 * pixels}", "Use the scans as downloaded.")
    affine = volume.affine.copy()
    affine[:3, 3] += volume.affine[:3, 1:3].sum(axis=1) * pixels
    return Volume(volume.data[:, pixels:-pixels, pixels:-pixels], affine)


_IDS = tuple(f"{n:04d}" for n in (*range(1, 11), *range(21, 41)))

SPEC = DatasetSpec(
    name="sabs",
    title="BTCV / SABS (Abd-CT)",
    find=find,
    read=read,
    labels=LABELS,
    preprocessing=Preprocessing.for_ct(overflow="crop"),
    supervoxel_size=5000,
    pixel_step=1.75,
    folds=tuple(_IDS[start : start + 6] for start in range(0, 30, 6)),
    groups={"upper": (1, 6), "lower": (2, 3)},
    licence="Synapse terms of use; registration is needed, not to be passed on",
    citation="Landman et al., MICCAI Multi-Atlas Labeling Beyond the Cranial Vault, 2015",
    address="https://www.synapse.org/Synapse:syn3193805",
)
