"""`dots`: files scan_NN.nii.gz with dots_NN.nii.gz beside them."""

from __future__ import annotations

from pathlib import Path

from dpcenet.data.datasets.spec import DatasetSpec, SourceFolder, find_files
from dpcenet.volumes.preprocess import Preprocessing


def find(folder: Path) -> SourceFolder:
    """The pairs anywhere below a folder."""
    cases = find_files(folder, r"scan_(\d+)\.nii\.gz", r"dots_(\d+)\.nii\.gz", "case{}".format)
    return SourceFolder(cases, {1: "one", 2: "two", 3: "three", 4: "four"})


SPEC = DatasetSpec(
    name="dots",
    title="made scans with four organs",
    find=find,
    labels={1: "one", 2: "two", 3: "three", 4: "four"},
    preprocessing=Preprocessing.for_mr(size=64),
    supervoxel_size=200,
    licence="CC0",
    citation="Example, Dots for Everybody, 2026",
)
