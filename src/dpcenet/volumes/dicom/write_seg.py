"""Masks written as DICOM segmentations (SEG) that refer to the series they belong to.

Needs highdicom: the extra `dicom`. For research only, which every file says of itself.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dpcenet.errors import DpcenetError, VolumeError
from dpcenet.system.files import write_atomically
from dpcenet.volumes.dicom.clean import cleaned
from dpcenet.volumes.dicom.find_series import REFERRED
from dpcenet.volumes.dicom.headers import bad, reason
from dpcenet.volumes.dicom.read_series import Headers, read_headers
from dpcenet.volumes.dicom.segment_descriptions import (
    RESEARCH,
    Algorithm,
    closing,
    describe,
    import_highdicom,
)
from dpcenet.volumes.dicom.slice_geometry import affine_of
from dpcenet.volumes.geometry import LPS_TO_RAS
from dpcenet.volumes.label_names import name_for
from dpcenet.volumes.scan_file import Code, ScanFile

if TYPE_CHECKING:
    from highdicom.seg import Segmentation
    from pydicom import Dataset

_AS_NIFTI = "Write the mask as .nii.gz instead."
_MAY_BE_EMPTY = (  # type 2: the standard wants them there, if need be without a value
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime"),
)
_SERIES_NUMBER = 9000
"""Far from a scanner's own numbers."""
_EXACT = 2e-3
"""Slices this close to their place, as part of a gap, are where their headers say."""
_HOW = {
    "AUTOMATIC": "Few-shot segmentation by dpcenet.",
    "SEMIAUTOMATIC": "By a person and an algorithm.",
    "MANUAL": "Drawn by a person.",
}
_NAMESPACE = uuid.UUID("9c2b1f0e-6d0a-5a53-8a54-6f1f6f0f3c11")


def write_seg(
    mask: npt.NDArray[Any],
    path: Path,
    scan: ScanFile,
    names: Mapping[int, str],
    algorithm: Algorithm,
    made: datetime | None = None,
    codes: Mapping[int, Code] = MappingProxyType({}),
) -> None:
    """Write labels as a binary SEG with one segment for each label, whole or not at all.

    UIDs are made of the source's UIDs and the content: the same mask is the same object, and
    with the same `made` the same file.

    Args:
        mask: (Z, Y, X) labels on the scan's grid; 0 is background.
        path: where.
        scan: what `read_series` read; its files are read again, without pixels.
        names: label value → name. Labels without a voxel become empty segments.
        algorithm: what made the mask.
        made: when; now by default.
        codes: label value → what it shows; by default what its name says.

    Raises:
        VolumeError: highdicom is missing, the scan is no DICOM series or its headers lack what a
            SEG refers to, or the mask does not fit.
    """
    hd = import_highdicom(path)
    if not scan.files:
        raise VolumeError(path, "the scan is no DICOM series", "one to refer to", _AS_NIFTI)
    if mask.shape != scan.grid.shape:
        found = f"the mask is {mask.shape}"
        raise VolumeError(path, found, f"{scan.grid.shape}", "Restore it first.")
    values = _values(mask, names, path)
    named = {value: name_for(names, value) for value in values}
    headers = read_headers(tuple(dict.fromkeys(scan.files)))
    _check_frames(headers, path)
    number = np.zeros(values[-1] + 1, np.uint16)
    number[values] = np.arange(1, len(values) + 1)
    stored = _in_file_order(number[mask], headers)
    seg = _segmentation(
        hd,
        stored,
        _sources(headers, named.values()),
        named,
        algorithm,
        made or datetime.now(),
        codes,
    )
    with closing(seg):
        write_atomically(path, lambda temporary: seg.save_as(temporary, enforce_file_format=True))


def _values(mask: npt.NDArray[Any], names: Mapping[int, str], path: Path) -> list[int]:
    """The labels that become segments, in their order."""
    values = sorted({*names, *(int(value) for value in np.unique(mask))} - {0})
    if not values:
        raise VolumeError(path, "no label", "one or more segments", _AS_NIFTI)
    if values[0] < 0 or values[-1] > np.iinfo(np.uint16).max:
        found = f"labels from {values[0]} to {values[-1]}"
        raise VolumeError(path, found, "0 to 65535", "Renumber the labels.")
    return values


def _in_file_order(mask: npt.NDArray[np.uint16], headers: Headers) -> npt.NDArray[np.uint16]:
    """Slices as highdicom takes them: in the order of the sources, or of the one file's frames."""
    if len(headers.files) > 1:
        return mask
    frames = [each.frame for each in headers.slices]
    return np.ascontiguousarray(mask[np.argsort(frames)])


def _check_frames(headers: Headers, path: Path) -> None:
    """Refuse a volume that is a part of a file's frames: a SEG describes all of them."""
    files = headers.files.items()
    frames = sum(int(header.get("NumberOfFrames", None) or 1) for _, header in files)
    if frames != len(headers.slices):
        found = f"the scan is {len(headers.slices)} of {frames} frames of its file"
        raise VolumeError(path, found, "all of them", _AS_NIFTI)


def _sources(headers: Headers, names: Collection[str]) -> list[Dataset]:
    """The headers in the order of the slices, cleaned, with what may be empty filled in."""
    found: list[Dataset] = []
    first = headers.slices[0]
    last = headers.slices[min(1, len(headers.slices) - 1)]
    between = float(np.linalg.norm(last.position - first.position)) or first.thickness
    regular = dict(zip((each.path for each in headers.slices), _places(headers), strict=True))
    for path in dict.fromkeys(each.path for each in headers.slices):
        header = cleaned(headers.files[path], names)
        if regular[path] is not None and "ImagePositionPatient" in header:
            header.ImagePositionPatient = regular[path]
        if missing := [name for name in REFERRED if not header.get(name, None)]:
            raise bad(path, f"no {', '.join(missing)}", "what a SEG must refer to", _AS_NIFTI)
        for name in _MAY_BE_EMPTY:
            if name not in header:
                setattr(header, name, "")
        if not header.get("SliceThickness", None):
            header.SliceThickness = f"{between:.6g}"  # the standard wants one of a SEG
        if "SpacingBetweenSlices" in header:  # some programs write 1 there, and it would be copied
            header.SpacingBetweenSlices = f"{between:.6g}"
        found.append(header)
    if len({str(header.SOPInstanceUID) for header in found}) < len(found):
        said = "several files have one SOPInstanceUID, so nobody knows which a SEG refers to"
        raise bad(first.path.parent, said, "a UID for each", _AS_NIFTI)
    return found


def _places(headers: Headers) -> list[list[float] | None]:
    """Where the slices of rounded positions lie, LPS mm; None for slices that are where they say.

    Readers of SEGs refuse gaps that differ by more than a hundredth.
    """
    slices = list(headers.slices)
    affine = LPS_TO_RAS @ affine_of(slices)
    regular = affine[:3, 3] + np.arange(len(slices))[:, None] * affine[:3, 0]
    off = np.abs(regular - [each.position for each in slices]).max()
    if off <= _EXACT * np.linalg.norm(affine[:3, 0]):
        return [None] * len(slices)
    return [place.round(6).tolist() for place in regular]


def _segmentation(
    hd: Any,
    mask: npt.NDArray[np.uint16],
    sources: Sequence[Dataset],
    names: Mapping[int, str],
    algorithm: Algorithm,
    made: datetime,
    codes: Mapping[int, Code],
) -> Segmentation:
    seed = _seed(mask, sources, names, algorithm)
    try:
        seg: Segmentation = hd.seg.Segmentation(
            source_images=sources,
            pixel_array=mask,
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=describe(names, algorithm, codes),
            series_instance_uid=_uid("series", seed),
            series_number=_SERIES_NUMBER,
            sop_instance_uid=_uid("instance", seed),
            instance_number=1,
            manufacturer="dpcenet developers",
            manufacturer_model_name="dpcenet",
            software_versions=algorithm.version,
            device_serial_number=algorithm.model or "none",
            content_creator_name="dpcenet^",
            content_label="RESEARCH_USE",
            content_description=f"{_HOW[algorithm.kind]} {RESEARCH}",
            series_description=f"dpcenet segmentation. {RESEARCH}",
            content_qualification=hd.ContentQualificationValues.RESEARCH,
            content_date=made.date(),
            content_time=made.time(),
            omit_empty_frames=False,  # without them a file loads as a cropped volume
        )
    except (DpcenetError, MemoryError):
        raise
    except Exception as error:  # whatever highdicom meets; see `headers.parsing`
        source = Path(str(sources[0].get("filename", "the series")))
        found = f"no SEG can refer to it ({reason(error)})"
        raise bad(source, found, "a header by the standard", _AS_NIFTI) from error
    _make_repeatable(seg, seed, made)
    return seg


def _make_repeatable(seg: Segmentation, seed: str, made: datetime) -> None:
    """Replace what highdicom draws at random or takes from the clock."""
    from pydicom.valuerep import DT

    organisation = _uid("dimensions", seed)
    for item in (*seg.DimensionOrganizationSequence, *seg.DimensionIndexSequence):
        item.DimensionOrganizationUID = organisation
    seg.InstanceCreationDate, seg.InstanceCreationTime = seg.ContentDate, seg.ContentTime
    highdicom = seg.ContributingEquipmentSequence[-1]  # the ones before are the source's own
    highdicom.ContributionDateTime = DT(made.strftime("%Y%m%d%H%M%S"))


def _seed(
    mask: npt.NDArray[np.uint16],
    sources: Sequence[Dataset],
    names: Mapping[int, str],
    algorithm: Algorithm,
) -> str:
    """What makes one SEG differ from another."""
    content = sha256(np.ascontiguousarray(mask).tobytes()).hexdigest()
    uids = [str(source.SOPInstanceUID) for source in sources]
    return repr((uids, mask.shape, content, dict(names), algorithm))


def _uid(role: str, seed: str) -> str:
    """A UID derived from a UUID (PS3.5, B.2)."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, f'{role} {seed}').int}"
