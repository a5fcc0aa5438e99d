"""Every kind of image that a scan may come as, and masks in the kind of their scan.

A `Volume` is (Z, Y, X) with an affine to RAS+ mm. nibabel has (X, Y, Z) and RAS+ mm; SimpleITK's
arrays are (Z, Y, X), its mm LPS+; MONAI has (X, Y, Z), perhaps with a channel in front, and RAS+
mm unless its image says LPS. MONAI is no dependency: its MetaTensor is known by what it carries.
A pair (array, affine) may have its axes in any order: its affine takes their index to RAS+ mm.
"""

# nibabel and SimpleITK have few annotations:
# mypy: allow-untyped-calls
from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar, Union, cast

import numpy as np
import numpy.typing as npt
import torch
from nibabel.nifti1 import Nifti1Pair
from nibabel.spatialimages import SpatialImage

from dpcenet.errors import VolumeError
from dpcenet.types import Volume
from dpcenet.volumes.dicom.find_series import Series
from dpcenet.volumes.dicom.read_series import read_series
from dpcenet.volumes.geometry import LPS_TO_RAS, check_affine
from dpcenet.volumes.io import read_volume
from dpcenet.volumes.mask_files import OrganMasks
from dpcenet.volumes.masks import read_mask
from dpcenet.volumes.nifti import geometry_fields, header_for, unit_of
from dpcenet.volumes.scan_file import AS_IT_IS, ReadOptions, ScanFile, SourceGrid
from dpcenet.volumes.torchio_images import TorchIO, is_torchio, label_volume, scan_volume, with_mask

if TYPE_CHECKING:
    import SimpleITK as sitk

Native = ScanFile | Volume | Series | Path | str
Image = Union[SpatialImage, "sitk.Image", torch.Tensor]
ArrayPair = tuple[npt.NDArray[Any], npt.NDArray[Any]]
Scan = Native | Image | ArrayPair | TorchIO
ImageT = TypeVar("ImageT", bound=Image | ArrayPair | TorchIO)
ScanT = TypeVar("ScanT")

_AN_IMAGE = (
    "Give a path, dpcenet.Volume(data, affine), (array, affine), or an image of nibabel, "
    "SimpleITK, MONAI or TorchIO."
)


def open_scan(scan: Scan, options: ReadOptions = AS_IT_IS) -> ScanFile:
    """A scan of any kind as a volume with its grid.

    Args:
        scan: a path (of a file, or of a folder with one DICOM series), a Series, a Volume, a
            ScanFile, a pair (array, affine), an image of nibabel, SimpleITK, MONAI or TorchIO, or
            a TorchIO subject with one intensity image.
        options: how it is read where its files leave a choice.

    Raises:
        VolumeError: it cannot be used, or its kind is unknown.
    """
    if isinstance(scan, ScanFile):
        return scan
    if isinstance(scan, Path | str):
        return read_volume(Path(scan), options=options)
    if isinstance(scan, Series):
        return read_series(scan, options=options)
    if isinstance(scan, Volume):
        volume = scan
    elif isinstance(scan, SpatialImage):
        volume = _from_nibabel(scan)
    elif _is_simpleitk(scan):
        volume = _from_simpleitk(scan)
    elif _is_metatensor(scan):
        volume = _from_monai(scan)
    elif is_torchio(scan):
        volume = scan_volume(scan)
    elif is_pair(scan):
        volume = Volume(scan[0], np.asarray(scan[1], dtype=np.float64))
    else:
        found = f"{type(scan).__name__} has no place in the patient"
        raise VolumeError("the array", found, "an image with its geometry", _AN_IMAGE)
    _check(volume)
    return ScanFile(volume, SourceGrid.of(volume))


def open_mask(mask: Scan | OrganMasks, image: ScanFile) -> Volume:
    """A mask of any kind; segmentations that cover a part of the image are spread over all of it.

    Raises:
        VolumeError: it cannot be used.
    """
    return open_labelled(mask, image).volume


def open_labelled(mask: Scan | OrganMasks, image: ScanFile) -> ScanFile:
    """As `open_mask`, with the names of the labels where the file has them.

    Raises:
        VolumeError: it cannot be used.
    """
    if isinstance(mask, OrganMasks):
        return read_mask(mask, image)
    if isinstance(mask, Path | str):
        return read_mask(Path(mask), image)
    return open_scan(label_volume(mask) if is_torchio(mask) else mask)


def same_kind(mask: Volume, scan: Scan) -> Any:
    """A mask in the kind of its scan: an image as an image, anything else as the volume.

    Args:
        mask: (Z, Y, X) labels or probabilities on the scan's grid.
        scan: what `open_scan` opened.
    """
    if isinstance(scan, SpatialImage):
        return _to_nibabel(mask, scan)
    if _is_simpleitk(scan):
        return _to_simpleitk(mask, scan)
    if isinstance(scan, torch.Tensor):
        return _to_monai(mask, scan)
    if is_torchio(scan):
        return with_mask(mask, scan)
    return (mask.data, mask.affine) if is_pair(scan) else mask


def is_pair(scan: object) -> TypeGuard[ArrayPair]:
    """Whether it is (array, affine), and not two scans."""
    return (
        isinstance(scan, tuple)
        and len(scan) == 2
        and all(isinstance(part, np.ndarray) for part in scan)
        and scan[1].shape == (4, 4)
    )


def several(scans: ScanT | Sequence[ScanT]) -> list[ScanT]:
    """One scan or mask, or a list or tuple of them, as a list."""
    if isinstance(scans, list | tuple) and not is_pair(scans):
        return list(scans)
    return [cast("ScanT", scans)]  # images are sequences, too, as far as a type checker knows


def name_of(scan: Scan | OrganMasks) -> str:
    """What messages and reports call a scan or a mask."""
    return str(scan) if isinstance(scan, Path | str | Series | OrganMasks) else "the array"


def _from_nibabel(image: SpatialImage) -> Volume:
    data = np.asanyarray(image.dataobj)
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    unit = unit_of(image.header) if isinstance(image, Nifti1Pair) else "mm"
    if unit in ("meter", "micron"):
        raise VolumeError("the image", f"lengths are in {unit}", "mm", "Set the header's unit.")
    affine = np.asarray(image.affine, dtype=np.float64)
    return Volume(data.transpose(), affine[:, [2, 1, 0, 3]])


def _to_nibabel(mask: Volume, scan: SpatialImage) -> SpatialImage:
    data = np.ascontiguousarray(mask.data.transpose())
    if not isinstance(scan, Nifti1Pair):
        return type(scan)(data, scan.affine)
    # Only what places the voxels: a header's free text and extensions may name the patient.
    grid = SourceGrid.of(mask, "nifti", geometry_fields(scan.header))
    return type(scan)(data, scan.affine, header_for(grid), dtype=data.dtype)


def _is_simpleitk(scan: object) -> TypeGuard[sitk.Image]:
    """SimpleITK takes longer to import than a scan to read: it is not, to know its images."""
    return type(scan).__module__.partition(".")[0] == "SimpleITK" and hasattr(scan, "GetOrigin")


def _from_simpleitk(image: sitk.Image) -> Volume:
    import SimpleITK as sitk

    from dpcenet.volumes.itk import affine_of

    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        found = f"{image.GetDimension()} axes, {image.GetNumberOfComponentsPerPixel()} numbers each"
        raise VolumeError("the image", found, "a 3-D grey image", "Take one volume of it.")
    return Volume(sitk.GetArrayFromImage(image), affine_of(image))


def _to_simpleitk(mask: Volume, scan: sitk.Image) -> sitk.Image:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(mask.data))
    image.CopyInformation(scan)
    return image


def _is_metatensor(scan: object) -> bool:
    return isinstance(scan, torch.Tensor) and hasattr(scan, "affine") and hasattr(scan, "meta")


def _from_monai(image: Any) -> Volume:
    data = image.detach().cpu().as_subclass(torch.Tensor).numpy()
    if data.ndim == 4 and len(data) == 1:
        data = data[0]
    affine = np.asarray(torch.as_tensor(image.affine).cpu(), dtype=np.float64)
    if str(image.meta.get("space", "RAS")) == "LPS":
        affine = LPS_TO_RAS @ affine
    return Volume(data.transpose(), affine[:, [2, 1, 0, 3]])


def _to_monai(mask: Volume, image: Any) -> torch.Tensor:
    data = torch.from_numpy(np.ascontiguousarray(mask.data.transpose()))
    if image.ndim == 4:
        data = data[None]
    made: torch.Tensor = type(image)(
        data.to(image.device),
        meta={**deepcopy(image.meta), "affine": image.affine},
        applied_operations=deepcopy(getattr(image, "applied_operations", None)),
    )
    return made


def _check(volume: Volume) -> None:
    """Refuse what is no 3-D volume of real numbers on a right-angled grid."""
    data: npt.NDArray[Any] = volume.data
    if data.ndim != 3 or 0 in data.shape or data.dtype.kind not in "biuf":
        found = f"the array is {data.shape} {data.dtype}"
        raise VolumeError("the array", found, "a 3-D array of real numbers", "Take one volume.")
    check_affine(volume.affine, "the array")
