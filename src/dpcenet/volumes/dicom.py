"""A DICOM series in a folder, one file for each slice, as one volume.

Needs pydicom: the extra `dicom`. DICOM's millimetres are LPS+; ours are RAS+.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dpcenet.errors import VolumeError
from dpcenet.types import Volume
from dpcenet.volumes.geometry import check_affine
from dpcenet.volumes.grid import ScanFile, SourceGrid
from dpcenet.volumes.payload import MAX_BYTES

if TYPE_CHECKING:
    from pydicom import FileDataset

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_ANGLE = 1e-3
"""Cosines of the same direction may differ this much from file to file; headers round."""
_GAP = 0.02
"""Gaps between slices may differ from the usual one by this part of it."""
_REQUIRED = (
    *("Rows", "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"),
    *("SeriesInstanceUID", "PixelData"),
)
_EXPORT_AGAIN = "Export the series again, one folder for each series."


@dataclass(frozen=True)
class DicomSeries:
    """A series that has been read.

    Attributes:
        scan: (Z, Y, X); rows and columns as in the files.
        files: the file of each slice, in the order of the slices.
    """

    scan: ScanFile
    files: tuple[Path, ...]


def read_series(folder: Path, max_bytes: int = MAX_BYTES) -> DicomSeries:
    """Read the one series of a folder; slices are sorted by their place in the patient.

    Args:
        folder: holds the files of one series; other files, hidden ones too, are left aside.
        max_bytes: cap on the voxels.

    Returns:
        float32 intensities after the files' slope and intercept, or the stored type where a file
        names none, and the file of each slice.

    Raises:
        VolumeError: pydicom is missing, or the files make no regular volume; the message says why.
    """
    found = _read_files(folder)
    _check_alike(found, folder)
    first = next(iter(found.values()))
    bytes_claimed = int(first.Rows) * int(first.Columns) * len(found) * 4
    if bytes_claimed > max_bytes:
        raise VolumeError(
            folder, f"{bytes_claimed:,} bytes of voxels", f"at most {max_bytes:,}", "Crop the scan."
        )
    normal = np.cross(*_directions(first))
    heights = {path: float(normal @ _position(file)) for path, file in found.items()}
    order = sorted(found, key=lambda path: heights[path])
    _check_gaps([heights[path] for path in order], order, folder)
    volume = Volume(
        np.stack([_pixels(found[path], path) for path in order]),
        _affine([found[path] for path in order]),
    )
    check_affine(volume.affine, folder)
    return DicomSeries(ScanFile(volume, SourceGrid.of(volume)), tuple(order))


def _read_files(folder: Path) -> dict[Path, FileDataset]:
    """The DICOM files of a folder that hold a slice."""
    try:
        import pydicom
        from pydicom.errors import InvalidDicomError
    except ImportError as error:
        raise VolumeError(
            folder, "pydicom is not installed", "it, to read DICOM", "pip install 'dpcenet[dicom]'"
        ) from error
    found: dict[Path, FileDataset] = {}
    for path in sorted(folder.iterdir() if folder.is_dir() else ()):
        if path.name.startswith(".") or not path.is_file():
            continue
        try:
            file = pydicom.dcmread(path)
        except InvalidDicomError:
            continue
        except (OSError, EOFError, ValueError, KeyError) as error:
            raise _bad(path, f"cannot be read ({error})", "a whole DICOM file") from error
        missing = [name for name in _REQUIRED if name not in file]
        if missing:
            raise _bad(path, f"no {', '.join(missing)}", "an image with its place in the patient")
        if int(getattr(file, "NumberOfFrames", 1)) > 1 or int(file.SamplesPerPixel) != 1:
            raise _bad(path, "several frames or colours", "one grey slice in each file")
        found[path] = file
    if len(found) < 2:
        raise _bad(folder, f"{len(found)} DICOM slices", "a series of two or more")
    return found


def _check_alike(found: dict[Path, FileDataset], folder: Path) -> None:
    """Refuse slices of several series, sizes, spacings or directions."""
    series = {str(file.SeriesInstanceUID) for file in found.values()}
    if len(series) > 1:
        raise _bad(folder, f"{len(series)} series in one folder", "one")
    first_path, first = next(iter(found.items()))
    for path, file in found.items():
        same = (file.Rows, file.Columns) == (first.Rows, first.Columns) and np.allclose(
            np.array(file.PixelSpacing, float), np.array(first.PixelSpacing, float), rtol=1e-3
        )
        if not same:
            raise _bad(path, f"another size or spacing than {first_path.name}", "the same")
        if np.abs(np.subtract(_directions(file), _directions(first))).max() > _ANGLE:
            raise _bad(path, f"another direction than {first_path.name}", "parallel slices")


def _check_gaps(heights: list[float], order: list[Path], folder: Path) -> None:
    """Refuse a slice that is missing or there twice."""
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    if usual <= 0:
        raise _bad(folder, "slices at the same place", "one slice at each place")
    wrong = np.flatnonzero(np.abs(gaps - usual) > _GAP * usual)
    if len(wrong):
        at = int(wrong[0])
        raise _bad(
            folder,
            f"{gaps[at]:.2f} mm between {order[at].name} and {order[at + 1].name}, "
            f"else {usual:.2f} mm",
            "one gap between all slices: a slice is missing or there twice",
        )


def _directions(file: FileDataset) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Unit vectors (LPS) along a row and along a column."""
    cosines = np.array(file.ImageOrientationPatient, dtype=np.float64)
    return cosines[:3], cosines[3:]


def _position(file: FileDataset) -> npt.NDArray[np.float64]:
    return np.array(file.ImagePositionPatient, dtype=np.float64)


def _affine(files: list[FileDataset]) -> npt.NDArray[np.float64]:
    """Index (z, row, column, 1) to RAS+ mm."""
    along_row, along_column = _directions(files[0])
    between_rows, between_columns = np.array(files[0].PixelSpacing, dtype=np.float64)
    affine = np.eye(4)
    affine[:3, 0] = (_position(files[-1]) - _position(files[0])) / (len(files) - 1)
    affine[:3, 1] = along_column * between_rows
    affine[:3, 2] = along_row * between_columns
    affine[:3, 3] = _position(files[0])
    return np.asarray(_LPS_TO_RAS @ affine)


def _pixels(file: FileDataset, path: Path) -> npt.NDArray[Any]:
    """(Y, X) intensities."""
    try:
        pixels: npt.NDArray[Any] = file.pixel_array
    except (AttributeError, ValueError, RuntimeError, NotImplementedError) as error:
        found = f"the pixels cannot be read ({error})"
        raise _bad(path, found, "pixels of the right size") from error
    if "RescaleSlope" not in file and "RescaleIntercept" not in file:
        return pixels
    slope = float(getattr(file, "RescaleSlope", 1))
    return np.asarray(pixels * slope + float(getattr(file, "RescaleIntercept", 0)), np.float32)


def _bad(path: Path, found: str, expected: str) -> VolumeError:
    return VolumeError(path, found, expected, _EXPORT_AGAIN)
