"""Read a scan or a mask of any supported format, and write a mask beside the scan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dpcenet.errors import VolumeError
from dpcenet.system.words import counted
from dpcenet.volumes import pictures
from dpcenet.volumes.analyze import pair_of, read_analyze
from dpcenet.volumes.archive import unpacked
from dpcenet.volumes.dicom.find_series import find_series
from dpcenet.volumes.dicom.headers import is_dicom, is_segmentation
from dpcenet.volumes.dicom.read_seg import read_seg
from dpcenet.volumes.dicom.read_series import read_series
from dpcenet.volumes.itk_header import voxels_of
from dpcenet.volumes.mgh import read_mgh
from dpcenet.volumes.nifti import read_nifti, volumes_in_nifti, write_nifti
from dpcenet.volumes.pictures import pictures_in, read_pictures
from dpcenet.volumes.scan_file import AS_IT_IS, Labels, ReadOptions, ScanFile, SourceGrid, choose
from dpcenet.volumes.size_guards import MAX_BYTES, check_file

Reader = Callable[[Path, int, ReadOptions], ScanFile]
Writer = Callable[[npt.NDArray[np.generic], Path, SourceGrid, Labels], None]


@dataclass(frozen=True)
class Format:
    """How files of one suffix are read and written.

    Attributes:
        read: path, cap in bytes, options → scan.
        write: labels, path, grid, names; None where masks are written in another format.
    """

    read: Reader
    write: Writer | None = None


def _read_itk(path: Path, max_bytes: int, options: ReadOptions) -> ScanFile:
    from dpcenet.volumes.itk import read_itk  # SimpleITK takes long to import; most files are NIfTI

    return read_itk(path, max_bytes, options)


def _write_itk(data: npt.NDArray[np.generic], path: Path, grid: SourceGrid, labels: Labels) -> None:
    from dpcenet.volumes.itk import write_itk

    write_itk(data, path, grid, labels)


FORMATS: Mapping[str, Format] = {  # the longest suffix that fits decides
    ".nii.gz": Format(read_nifti, write_nifti),
    ".nii": Format(read_nifti, write_nifti),
    ".seg.nrrd": Format(_read_itk, _write_itk),
    ".nrrd": Format(_read_itk, _write_itk),
    ".nhdr": Format(_read_itk, _write_itk),
    ".mha": Format(_read_itk, _write_itk),
    ".mhd": Format(_read_itk, _write_itk),
    ".mgz": Format(read_mgh),
    ".mgh": Format(read_mgh),
    ".hdr": Format(read_analyze),
    ".img": Format(read_analyze),
    **{suffix: Format(read_pictures) for suffix in pictures.SUFFIXES},
}


_ASIDE = (".img", *pictures.SUFFIXES)
"""Not found by walking a folder: a half of a pair, and pictures, which are a scan as a folder."""
SUFFIXES = tuple(suffix for suffix in FORMATS if suffix not in _ASIDE)
"""Of files that are scans by themselves, as a folder is searched for them."""
WRITABLE = tuple(suffix for suffix, form in FORMATS.items() if form.write is not None)
DICOM_SUFFIX = ".dcm"
ZIP_SUFFIX = ".zip"
DEFAULT_SUFFIX = ".nii.gz"
"""Of the mask of a scan whose own format is not written."""


def suffix_of(path: Path) -> str:
    """The suffix by which the format is chosen, in lower case; "" if it is none of SUFFIXES."""
    name = path.name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")


def stem(path: Path) -> str:
    """File name without .nii.gz or another suffix that is read."""
    name = path.name.lower()
    suffix = next((suffix for suffix in (*FORMATS, ZIP_SUFFIX) if name.endswith(suffix)), "")
    return path.name[: len(path.name) - len(suffix)]


def mask_suffix(path: Path) -> str:
    """The suffix of a file's mask: its own where that format is written, as the person wrote it."""
    suffix = path.name[len(stem(path)) :]
    return suffix if suffix.lower() in WRITABLE else DEFAULT_SUFFIX


def files_of(path: Path) -> tuple[Path, ...]:
    """Every file that is read for a volume: a header's voxels may lie beside it.

    Raises:
        VolumeError: the header cannot be read.
    """
    if suffix_of(path) in (".nrrd", ".seg.nrrd", ".nhdr", ".mha", ".mhd"):
        return voxels_of(path)
    if path.suffix.lower() in (".hdr", ".img"):
        return pair_of(path)
    if path.is_dir():
        return tuple(pictures_in(path))
    return (path,)


def volumes_in(path: Path) -> int:
    """How many volumes a file holds, by its header; 1 for what is not 4-D.

    Raises:
        VolumeError: its header cannot be read.
    """
    return volumes_in_nifti(path) if suffix_of(path) in (".nii", ".nii.gz") else 1


def read_volume(
    path: Path, max_bytes: int = MAX_BYTES, options: ReadOptions = AS_IT_IS
) -> ScanFile:
    """Read a scan or a mask; the suffix chooses the reader.

    Args:
        path: the file. A folder that holds one DICOM series, or a file of it, is the series; a
            DICOM segmentation is a mask. DICOM files need no suffix. A folder of pictures is a
            stack, and a zip is what it holds.
        max_bytes: cap on the voxels, after decompression.
        options: what the person chose where a file or folder leaves a choice.

    Returns:
        the volume (Z, Y, X) and its grid, for writing a mask back.

    Raises:
        VolumeError: the file cannot be used; the message says why.
    """
    try:
        return _read(path, max_bytes, options)
    except OSError as error:  # a disk, a permission or a name that fails after all the checks
        found = f"cannot be read ({error.strerror or error})"
        raise VolumeError(path, found, "a scan", "Check the path and its permissions.") from error


def _read(path: Path, max_bytes: int, options: ReadOptions) -> ScanFile:
    if path.is_dir():
        if find_series(path) or not pictures_in(path):
            return read_series(path, max_bytes, options)
        return read_pictures(path, max_bytes, options)
    check_file(path)
    name = path.name.lower()
    for suffix, form in FORMATS.items():
        if name.endswith(suffix):
            return form.read(path, max_bytes, options)
    if name.endswith(ZIP_SUFFIX):
        return _read_zip(path, max_bytes, options)
    if path.suffix.lower() != DICOM_SUFFIX and not is_dicom(path):
        raise VolumeError(
            path,
            f"the suffix {path.suffix!r} is unknown",
            f"{' or '.join(SUFFIXES)}, or DICOM",
            "Convert the scan, for instance to .nii.gz.",
        )
    if not is_segmentation(path):
        return read_series(path, max_bytes, options)
    return read_seg(path, max_bytes, options)


def _read_zip(path: Path, max_bytes: int, options: ReadOptions) -> ScanFile:
    """The one series, the one volume or the one stack of pictures in a zip."""
    with unpacked(path, max_bytes) as root:
        folders = sorted(each for each in root.iterdir())
        series = [each for folder in folders for each in find_series(folder)]
        files = [each for folder in folders for each in sorted(folder.iterdir())]
        volumes = [each for each in files if suffix_of(each)]
        stacks = [folder for folder in folders if pictures_in(folder)]
        try:
            if series:
                names = [f"{each.name} ({counted(len(each.files), 'file')})" for each in series]
                found = read_series(
                    series[choose(options.series, names, path, "Choose with --series.")],
                    max_bytes,
                    options,
                )
            elif len(volumes) == 1:
                found = read_volume(volumes[0], max_bytes, options)
            elif len(stacks) == 1 and not volumes:
                found = read_pictures(stacks[0], max_bytes, options)
            else:
                seen = f"{counted(len(volumes), 'volume file')} and no DICOM series in it"
                raise VolumeError(path, seen, "one scan", "Unpack it, and give the folder.")
        except VolumeError as error:
            inside = "" if error.path == path else f"{Path(error.path).name} in it: "
            raise VolumeError(path, inside + error.found, error.expected, error.remedy) from error
        # The files are gone in a moment: no SEG can refer to them.
        return ScanFile(found.volume, found.grid, facts=found.facts)
