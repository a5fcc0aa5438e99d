"""Folders of scans: pairs of image and label files, or the raw layout of nnU-Net."""

from __future__ import annotations

from pathlib import Path

from dpcenet.data.datasets import nnunet
from dpcenet.data.datasets.nnunet import scans
from dpcenet.data.datasets.spec import DatasetSpec, SourceCase, SourceFolder
from dpcenet.errors import DatasetError
from dpcenet.volumes.io import SUFFIXES, stem
from dpcenet.volumes.mask_record import without_results

IMAGE, LABEL = "image_", "label_"


def find_cases(folder: Path, spec: DatasetSpec | None = None) -> SourceFolder:
    """Find the cases of a data set.

    Args:
        folder: where they lie.
        spec: the data set. By default the layout is recognised: nnU-Net's (dataset.json, imagesTr,
            labelsTr), or files `image_NAME` with `label_NAME` beside them where there is a label;
            any other scan is an unlabelled case, but for masks that `dpcenet segment` wrote.

    Raises:
        DatasetError: the folder is missing, or holds no scan.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder; give one that holds scans")
    source = (spec or SPEC).find(folder)
    if not source.cases:
        what = f"scan of {spec.title}" if spec is not None and spec is not SPEC else "scan"
        raise DatasetError(
            f"{folder}: no {what} found; expected files such as image_01.nii.gz and "
            f"label_01.nii.gz (or {', '.join(SUFFIXES)}), nnU-Net's dataset.json with imagesTr, or "
            "with --dataset a data set as downloaded"
        )
    names = [case.name for case in source.cases]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DatasetError(f"{folder}: several files for one case: {', '.join(twice)}")
    return source


def find(folder: Path) -> SourceFolder:
    """Cases of a folder whose layout is recognised; none if it holds no scan."""
    return nnunet.find(folder) if (folder / "dataset.json").is_file() else _pairs(folder)


def _pairs(folder: Path) -> SourceFolder:
    files = without_results(scans(folder))
    labels = {stem(path).removeprefix(LABEL): path for path in files if path.name.startswith(LABEL)}
    images = {
        stem(path).removeprefix(IMAGE): path for path in files if not path.name.startswith(LABEL)
    }
    stray = sorted(set(labels) - set(images))
    if stray:
        raise DatasetError(f"{folder}: label without image: {', '.join(stray)}")
    if len(images) + len(labels) < len(files):
        raise DatasetError(f"{folder}: one name with several endings; keep one file for each scan")
    cases = (SourceCase(name, path, labels.get(name)) for name, path in images.items())
    return SourceFolder(tuple(cases))


SPEC = DatasetSpec(name="folder", title="a folder of scans", find=find)
