"""Examine one case: its geometry, intensities and labels, and what is wrong with them."""

# nibabel has few annotations:
# mypy: allow-untyped-calls
from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dpcenet.data.datasets.spec import DatasetSpec, RawCase, SourceCase, check_case
from dpcenet.errors import InputError
from dpcenet.system.words import counted
from dpcenet.types import Volume
from dpcenet.volumes.geometry import GRID_TOLERANCE_MM, match_axes, orient, same_grid, slice_axis
from dpcenet.volumes.intensities import check_intensities
from dpcenet.volumes.mask_checks import background_doubts
from dpcenet.volumes.modality import Modality, choose_modality, doubts_of
from dpcenet.volumes.nifti import forms_apart_mm
from dpcenet.volumes.same_scan import voxels_digest
from dpcenet.volumes.scan_file import SourceGrid

OBLIQUE_DEG = 1.0  # less is rounding
CLIPPED = 0.02  # share of a slice at the scan's highest value
PLAUSIBLE_MM = (0.05, 25.0)  # sides of voxels
FEW_SLICES = 3  # fewer get a note
PLANES = ("sagittal", "coronal", "axial")  # across R, A and S
_DIRECTIONS = (("R", "L"), ("A", "P"), ("S", "I"))


@dataclass(frozen=True)
class CaseReport:
    """The findings of one case.

    Attributes:
        case: its name.
        path: of its image.
        shape: of the file, (Z, Y, X).
        spacing: in mm, along z, y, x.
        orientation: the directions of the file's axes x, y and z, such as LPS.
        oblique_deg: largest angle between an axis of the scan and of the patient.
        intensity: lowest and highest.
        constant_slices: numbers of slices with one value only.
        clipped_slices: numbers of slices in which many pixels have the scan's highest value.
        modality: "mr" or "ct", by which it would be prepared alone.
        plane: in which it was sliced.
        label_ml: label value → millilitres.
        label_offset_mm: how far the labels' corners lie from the image's; None where the shapes
            differ, or there are no labels.
        voxels_hash: the same for scans with the same voxels.
        errors: what must be repaired; notes: what is worth knowing.
    """

    case: str
    path: str
    shape: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    orientation: str = ""
    oblique_deg: float = 0.0
    intensity: tuple[float, ...] = ()
    constant_slices: tuple[int, ...] = ()
    clipped_slices: tuple[int, ...] = ()
    modality: Modality = "mr"
    plane: str = ""
    label_ml: dict[int, float] = field(default_factory=dict)
    label_offset_mm: float | None = None
    voxels_hash: str = ""
    errors: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def add(self, errors: tuple[str, ...] = (), notes: tuple[str, ...] = ()) -> CaseReport:
        """The report with more findings."""
        return replace(self, errors=(*self.errors, *errors), notes=(*self.notes, *notes))


def examine(
    case: SourceCase,
    spec: DatasetSpec,
    known: tuple[int, ...] = (),
    labelled: CaseReport | None = None,
) -> CaseReport:
    """Examine one case; what cannot be read becomes an error of its report.

    Args:
        case: files of the scan.
        spec: how they are read.
        known: label values that may occur; empty where any may.
        labelled: the report of the scan that it would be segmented from.
    """
    part = "" if case.options.part is None else f" ({case.name})"
    report = CaseReport(case.name, f"{case.image}{part}")
    try:
        scan = spec.read(replace(case, label=None)).scan
    except InputError as error:
        return report.add((str(error),))
    report = _geometry(report, scan.volume)
    report = _intensities(report, case, scan.volume)
    report = report.add(notes=geometry_notes(scan.grid, scan.volume))
    report = report.add(notes=scan.facts.notes)
    if not report.errors:
        report = replace(report, modality=choose_modality(scan).modality)
        expected = report.modality if labelled is None else labelled.modality
        report = report.add(notes=doubts_of(scan, expected))
    if labelled is not None and report.plane != labelled.plane:
        note = f"sliced in the {report.plane} plane, and the labelled scan {labelled.case} in the "
        report = report.add(notes=(f"{note}{labelled.plane} one: results will be poor",))
    if case.label is None:
        return report
    try:
        raw = spec.read(case)
        report = _labels(report, raw).add(notes=raw.notes)
        check_case(raw, case, known)
    except InputError as error:
        report = report.add((str(error),))
    return report


def geometry_notes(grid: SourceGrid, volume: Volume) -> tuple[str, ...]:
    """What is unlikely in a scan's geometry."""
    notes = []
    apart = forms_apart_mm(grid)
    if apart > GRID_TOLERANCE_MM:
        notes.append(f"sform and qform of the header lie {apart:.1f} mm apart; the sform is used")
    if grid.format == "nifti" and not (grid.header["qform_code"] or grid.header["sform_code"]):
        notes.append("the header gives no orientation: left and right are a guess")
    low, high = PLAUSIBLE_MM
    odd = [f"{mm:.4g}" for mm in volume.spacing if not low <= mm <= high]
    if odd:
        notes.append(f"voxels of {' and '.join(odd)} mm: is the spacing right?")
    slices = len(orient(volume)[0].data)
    if slices < FEW_SLICES:
        notes.append(f"few slices ({slices}): slices of other scans are hard to match with them")
    return tuple(notes)


def _geometry(report: CaseReport, volume: Volume) -> CaseReport:
    directions = volume.affine[:3, [2, 1, 0]] / np.linalg.norm(volume.affine[:3, [2, 1, 0]], axis=0)
    nearest = np.abs(directions).argmax(axis=0)
    letters = [_DIRECTIONS[row][int(directions[row, axis] < 0)] for axis, row in enumerate(nearest)]
    oblique = float(np.degrees(np.arccos(np.clip(np.abs(directions).max(axis=0), 0, 1))).max())
    note = f"oblique by {oblique:.1f}°; slices are kept in their own plane"
    report = replace(
        report,
        shape=volume.data.shape,
        spacing=tuple(round(mm, 4) for mm in volume.spacing),
        orientation="".join(letters),
        plane=PLANES[int(nearest[2 - slice_axis(volume)])],
        oblique_deg=round(oblique, 2),
    )
    return report.add(notes=(note,) if oblique > OBLIQUE_DEG else ())


def _intensities(report: CaseReport, case: SourceCase, volume: Volume) -> CaseReport:
    try:
        check_intensities(volume, str(case.image))
    except InputError as error:
        report = report.add((str(error),))
    data: npt.NDArray[Any] = orient(volume)[0].data
    finite = data[np.isfinite(data)]
    if not finite.size:
        return report
    low, high = float(finite.min()), float(finite.max())
    constant = [z for z, plane in enumerate(data) if plane.min() == plane.max()]
    clipped = [z for z, plane in enumerate(data) if np.mean(plane == high) > CLIPPED]
    clipped = [z for z in clipped if z not in constant]
    notes = []
    if constant:
        notes.append(f"constant slices: {_ranges(constant)}")
    if clipped:
        notes.append(f"more than {CLIPPED:.0%} at the highest value in slices {_ranges(clipped)}")
    report = replace(
        report,
        intensity=(low, high),
        constant_slices=tuple(constant),
        clipped_slices=tuple(clipped),
        voxels_hash=voxels_digest(data),
    )
    return report.add(notes=tuple(notes))


def _labels(report: CaseReport, raw: RawCase) -> CaseReport:
    """Volumes of the labels, and their distance from the image."""
    assert raw.labels is not None
    image, labels = raw.scan.volume, raw.labels
    values, counts = np.unique(labels.data, return_counts=True)
    voxel_ml = abs(float(np.linalg.det(labels.affine[:3, :3]))) / 1000
    volumes = {
        int(value): round(count * voxel_ml, 3)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True)
        if np.isfinite(value) and value != 0 and value == int(value)
    }
    report = report.add(notes=_gaps(labels, sorted(volumes)))
    report = report.add(notes=background_doubts(labels.data))
    apart = same_grid(match_axes(labels, image.affine)[0], image)
    if np.isfinite(apart):
        return replace(report, label_ml=volumes, label_offset_mm=round(apart, 3))
    between = float(np.linalg.norm(_centre(image) - _centre(labels)))
    note = f"the centres of labels and image lie {between:.1f} mm apart"
    return replace(report, label_ml=volumes).add(notes=(note,))


def _gaps(labels: Volume, values: list[int]) -> tuple[str, ...]:
    """Labels whose slices do not follow each other."""
    slices = orient(labels)[0].data
    notes = []
    for value in values:
        shown = np.flatnonzero((slices == value).any(axis=(1, 2)))
        missing = int(shown[-1] - shown[0]) + 1 - len(shown)
        if missing:
            notes.append(
                f"label {value} jumps over {counted(missing, 'slice')}, taken as not labelled: "
                "segment fills the gap first (dpcenet complete shows how)"
            )
    return tuple(notes)


def _centre(volume: Volume) -> npt.NDArray[np.float64]:
    middle = (np.array(volume.data.shape) - 1) / 2
    return np.asarray(volume.affine[:3, :3] @ middle + volume.affine[:3, 3])


def _ranges(numbers: list[int]) -> str:
    """ "0-2, 7" from [0, 1, 2, 7]."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else str(p[0]) for p in parts)
