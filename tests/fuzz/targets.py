"""What is fuzzed: valid files made here, and what a command does with such a file."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from PIL import Image

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "volumes")]

from dicoms import write_enhanced  # noqa: E402
from dpcenet.volumes.dicom.read_series import read_series  # noqa: E402
from dpcenet.volumes.dicom.segment_descriptions import Algorithm  # noqa: E402
from dpcenet.volumes.intensities import check_intensities  # noqa: E402
from dpcenet.volumes.io import mask_suffix, read_volume  # noqa: E402
from dpcenet.volumes.mask_checks import check_mask  # noqa: E402
from dpcenet.volumes.masks import read_mask  # noqa: E402
from dpcenet.volumes.preprocess import Preprocessing, preprocess  # noqa: E402
from dpcenet.volumes.scan_file import Labels, ReadOptions, SourceGrid  # noqa: E402
from dpcenet.volumes.write_masks import write_labels, write_mask, write_somehow  # noqa: E402
from raw_layouts import made_case, write_dicom  # noqa: E402

OPTIONS = ReadOptions(spacing=(3.0, 1.0, 1.0))
ALGORITHM = Algorithm("0", "fuzz")
SMALL = (4, 24, 20)


@dataclass(frozen=True)
class Target:
    """What is fuzzed.

    Attributes:
        make: writes valid files into an empty folder; returns the ones that are mutated.
        use: reads what lies in the folder, as the commands do.
    """

    make: Callable[[Path], list[Path]]
    use: Callable[[Path, Path], None]


def as_scan(place: Path, out: Path) -> None:
    """Read, judge, prepare, and write a mask beside it."""
    scan = read_volume(place, options=OPTIONS)
    check_intensities(scan.volume, place)
    preprocess(scan, Preprocessing.for_mr(size=64))
    mask = np.zeros(scan.grid.shape, np.uint8)
    mask[0, 0, 0] = 1
    if scan.files:
        write_somehow(mask, out / "m.dcm", scan, {1: "liver"}, ALGORITHM)
    else:
        name = f"m{mask_suffix(place)}" if place.is_file() else "m.nii.gz"
        write_mask(mask, out / name, scan.grid, Labels({1: "liver"}))


def as_labels(place: Path, out: Path) -> None:
    """Read as a mask that lies on itself, and write it again with its names."""
    found = read_volume(place)
    labels = check_mask(found.volume, found.volume, place, found.grid)
    write_mask(labels, out / f"m{mask_suffix(place)}", found.grid, found.facts.labels)


def as_mask(place: Path, out: Path) -> None:
    """Read as the mask of the scan that lies beside it."""
    del out
    scan = read_series(place.parent / "scan")
    mask = read_mask(place, scan)
    check_mask(mask.volume, scan.volume, place, scan.grid)


def _image() -> tuple[np.ndarray, np.ndarray]:
    image, _ = made_case(shape=SMALL)
    return np.ascontiguousarray(image.data.T), image.affine[:, [2, 1, 0, 3]]


def _nib(name: str, kind: type = nib.Nifti1Image) -> Callable[[Path], list[Path]]:
    def make(folder: Path) -> list[Path]:
        nib.save(kind(*_image()), folder / name)
        return sorted(folder.iterdir())

    return make


def _named(folder: Path) -> list[Path]:
    _, labels = made_case(shape=SMALL)
    names = Labels({1: "liver", 2: "Niere groß"})
    write_mask(labels.data, folder / "a.nii.gz", SourceGrid.of(labels), names)
    return [folder / "a.nii.gz"]


def _slicer(folder: Path) -> list[Path]:
    _, labels = made_case(shape=SMALL)
    names = Labels({1: "liver", 2: "Niere groß"})
    write_mask(labels.data, folder / "a.seg.nrrd", SourceGrid.of(labels), names)
    return [folder / "a.seg.nrrd"]


def _itk(name: str, packed: bool) -> Callable[[Path], list[Path]]:
    def make(folder: Path) -> list[Path]:
        image = sitk.GetImageFromArray(made_case(shape=SMALL)[0].data)
        image.SetSpacing((1.6, 1.4, 6.0))
        sitk.WriteImage(image, str(folder / name), packed)
        return sorted(folder.iterdir())

    return make


def _pictures(suffix: str) -> Callable[[Path], list[Path]]:
    def make(folder: Path) -> list[Path]:
        (folder / "a").mkdir()
        data = made_case(shape=SMALL)[0].data
        for z, plane in enumerate(data):
            Image.fromarray((plane // 3).astype(np.uint8)).save(folder / f"a/{z}.{suffix}")
        return sorted((folder / "a").iterdir())

    return make


def _series(folder: Path) -> list[Path]:
    return write_dicom(made_case(shape=SMALL)[0], folder / "a")


def _enhanced(folder: Path) -> list[Path]:
    write_enhanced(made_case(shape=SMALL)[0], folder / "a" / "e.dcm", range(4), rescale=(2.0, 1.0))
    return [folder / "a" / "e.dcm"]


def _packed(folder: Path) -> list[Path]:
    from pydicom import dcmread
    from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

    files = _series(folder)
    for number, path in enumerate(files):
        file = dcmread(path)
        if number == 0:
            file.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
            file.save_as(path)
        else:
            file.compress(RLELossless)
            file.save_as(path)
    return files


def _seg(folder: Path) -> list[Path]:
    image, labels = made_case(shape=SMALL)
    write_dicom(image, folder / "scan")
    scan = read_series(folder / "scan")
    write_labels(labels.data, folder / "a.dcm", scan, {1: "liver"}, ALGORITHM)
    return [folder / "a.dcm"]


def _rtstruct(folder: Path) -> list[Path]:
    from test_rtstruct import outlines_of, write_rtstruct

    image, labels = made_case(shape=SMALL)
    write_dicom(image, folder / "scan")
    outlines = outlines_of(labels.data == 1, image.affine)
    return [write_rtstruct(folder / "a.dcm", {1: ("liver", outlines)})]


def _zip(folder: Path) -> list[Path]:
    files = write_dicom(made_case(shape=SMALL)[0], folder / "scan")
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            archive.write(path, f"ST/{path.name}")
    return [folder / "a.zip"]


READERS: dict[str, Target] = {
    "nifti": Target(_nib("a.nii"), as_scan),
    "nifti.gz": Target(_nib("a.nii.gz"), as_scan),
    "nifti2": Target(_nib("a.nii", nib.Nifti2Image), as_scan),
    "nifti names": Target(_named, as_labels),
    "nifti pair": Target(_nib("a.img", nib.Nifti1Pair), as_scan),
    "analyze": Target(_nib("a.img", nib.AnalyzeImage), as_scan),
    "mgz": Target(_nib("a.mgz", nib.MGHImage), as_scan),
    "nrrd": Target(_itk("a.nrrd", False), as_scan),
    "nrrd packed": Target(_itk("a.nrrd", True), as_scan),
    "nhdr": Target(_itk("a.nhdr", False), as_scan),
    "seg.nrrd": Target(_slicer, as_labels),
    "mha": Target(_itk("a.mha", False), as_scan),
    "mha packed": Target(_itk("a.mha", True), as_scan),
    "mhd": Target(_itk("a.mhd", True), as_scan),
    "png": Target(_pictures("png"), as_scan),
    "tiff": Target(_pictures("tif"), as_scan),
    "jpeg": Target(_pictures("jpg"), as_scan),
    "zip": Target(_zip, as_scan),
    "dicom": Target(_series, as_scan),
    "dicom packed": Target(_packed, as_scan),
    "dicom enhanced": Target(_enhanced, as_scan),
    "dicom seg": Target(_seg, as_mask),
    "rtstruct": Target(_rtstruct, as_mask),
}
STATE = ("yaml", "json", "task")
NAMES = (*READERS, *STATE)


def target_of(name: str) -> Target:
    """The target of a name; torch is imported for those of `STATE` only, as by the commands."""
    if name in READERS:
        return READERS[name]
    from tests.fuzz.state_targets import STATE_TARGETS

    return Target(*STATE_TARGETS[name])
