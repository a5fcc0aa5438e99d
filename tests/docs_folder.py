"""What lies in a person's folder before the commands of a page are typed: all of it made up."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from tempfile import mkdtemp

import nibabel
import numpy as np
import torch
from safetensors.torch import save_file

from documents import ROOT
from dpcenet.data.datasets.chaost2 import SPEC as CHAOS
from dpcenet.data.datasets.sabs import SPEC as SABS
from dpcenet.data.phantom.phantom import PHANTOM_LABELS, write_phantoms
from dpcenet.data.prepare import prepare
from dpcenet.nn.resnet import ResNet
from dpcenet.volumes.io import read_volume
from made_scans import write_results
from raw_layouts import made_case, write_chaos, write_dicom, write_nifti

Maker = Callable[[Path], object]
"""Makes one file or folder at a path."""

COUNT = 14


@cache
def stock() -> Path:
    """Made-up scans image_01 … image_14 with their labels; made once, and copied from here."""
    folder = Path(mkdtemp(prefix="dpcenet-docs-"))
    write_phantoms(folder, COUNT, shape=(6, 48, 48), spacing=(14.0, 6.0, 6.0))
    return folder


def scans(count: int) -> Maker:
    """A folder of scans, each with its labels."""

    def make(place: Path) -> None:
        place.mkdir(parents=True)
        for number in range(1, count + 1):
            for name in (f"image_{number:02d}.nii.gz", f"label_{number:02d}.nii.gz"):
                shutil.copy(stock() / name, place)

    return make


def image(number: int) -> Maker:
    """One scan."""
    return partial(shutil.copy, stock() / f"image_{number:02d}.nii.gz")


def labels(number: int, values: tuple[int, ...] = (1, 2, 3, 4), every: int = 1) -> Maker:
    """The labels of a scan: these values, on every n-th slice of the stored first axis."""

    def make(place: Path) -> None:
        drawn = nibabel.load(stock() / f"label_{number:02d}.nii.gz")
        data = np.asarray(drawn.dataobj)
        kept = np.where(np.isin(data, values), data, 0)
        left_out = np.arange(data.shape[2]) % every != 0
        kept[:, :, left_out] = 0
        nibabel.save(nibabel.Nifti1Image(kept.astype(np.uint8), drawn.affine), place)

    return make


def cine(place: Path) -> None:
    """Two time points of one scan in one file."""
    scan = nibabel.load(stock() / "image_01.nii.gz")
    both = np.stack([np.asarray(scan.dataobj)] * 2, axis=3)
    nibabel.save(nibabel.Nifti1Image(both, scan.affine), place)


def series(place: Path) -> None:
    """Two patients' DICOM series, one folder each."""
    for number in (1, 2):
        volume = read_volume(stock() / f"image_{number:02d}.nii.gz").volume
        write_dicom(volume, place / f"patient{number}" / "T2")


def results(place: Path) -> None:
    """What `dpcenet segment scans --out …` leaves where every mask is accepted."""
    found = sorted(place.with_name("scans").glob("image_*"))
    pairs = [(path, path.with_name(path.name.replace("image", "label"))) for path in found]
    names = {str(value): name for value, name in PHANTOM_LABELS.items()}
    write_results(pairs, place, names, ["accept"] * len(pairs))


def prepared(count: int, size: int = 64) -> Maker:
    """A prepared data set of scans with small slices."""

    def make(place: Path) -> None:
        source = place.with_name(f"{place.name}-scans")
        scans(count)(source)
        prepare(source, place, labels=PHANTOM_LABELS, changes={"size": size}, quiet=True)

    return make


def chaos_as_downloaded(place: Path) -> None:
    """CHAOS: series in DICOM, labels as pictures."""
    for name in CHAOS.cases:
        write_chaos(place, int(name), *made_case(seed=int(name)))


def sabs_as_downloaded(place: Path) -> None:
    """SABS: scans and labels in two folders."""
    for name in SABS.cases:
        scan, drawn = made_case(int(name), (6, 150, 140), (6.0, 1.4, 1.6), values=(1, 2, 3, 6))
        write_nifti(scan, place / "img" / f"img{name}.nii.gz")
        write_nifti(drawn, place / "label" / f"label{name}.nii.gz")


def trunk(place: Path) -> None:
    """The file of a ResNet-50 that was never trained."""
    place.parent.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    state = ResNet(50, "os8", ("layer3", "layer4", "fc")).state_dict()
    if place.suffix == ".safetensors":
        save_file(state, place)
    else:
        torch.save(state, place)


def checkout(place: Path) -> None:
    """A copy of a folder of the repository, so that what commands write there is lost."""
    shutil.copytree(ROOT / place.name, place, ignore=shutil.ignore_patterns("__pycache__"))
