"""MS-CMRSeg 2019, bSSFP (C0): 35 labelled cardiac MR scans; "Card-MRI" of the papers.

As downloaded: patient1_C0.nii.gz … and patient1_C0_manual.nii.gz …; labels are 200, 500 and 600.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from dpcenet.data.datasets.spec import DatasetSpec, SourceFolder, find_files, read_pair
from dpcenet.volumes.preprocess import Preprocessing

LABELS = {1: "LV-MYO", 2: "LV-BP", 3: "RV"}
VALUES = {200: 1, 500: 2, 600: 3}
"""Raw value → label: left ventricle's myocardium, its blood pool, right ventricle."""

NO_GROUPS = (
    "slices of the heart show its structures together, so that leaving out the slices of one "
    "leaves no training data of the others; the papers test cardiac data in Setting 1 only"
)


def find(folder: Path) -> SourceFolder:
    """Pairs patient1_C0, patient1_C0_manual below a folder; T2 and LGE are ignored.

    Raises:
        DatasetError: a case has two files, or a label no image.
    """
    start, ending = r"patient_?(\d+)_C0", r"\.nii(?:\.gz)?"
    cases = find_files(
        folder, start + ending, start + "_manual" + ending, lambda n: f"{int(n):02d}"
    )
    return SourceFolder(cases)


_IDS = tuple(f"{n:02d}" for n in range(1, 36))

SPEC = DatasetSpec(
    name="cmr",
    title="MS-CMRSeg bSSFP (Card-MRI)",
    find=find,
    read=partial(read_pair, values=VALUES),
    labels=LABELS,
    preprocessing=Preprocessing.for_mr(spacing_mm=1.25, slice_spacing_mm=7.99, overflow="crop"),
    supervoxel_size=1000,
    folds=tuple(_IDS[start : start + 7] for start in range(0, 35, 7)),
    no_groups=NO_GROUPS,
    licence="data use agreement of the challenge; not to be passed on",
    citation="Zhuang, Multivariate mixture model for cardiac segmentation, IEEE TPAMI 41 (2019)",
    address="https://zmiclab.github.io/zxh/0/mscmrseg19",
)
