"""`dpcenet doctor`: what is wrong with scans, before anyone trains on them.

An error makes a scan unusable or its results wrong; a note is worth knowing. Copies that `--fix`
writes are new files: a source is never changed.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dpcenet.data.contact_sheet import FOLDS
from dpcenet.data.datasets.folder import find_cases
from dpcenet.data.datasets.registry import dataset_spec
from dpcenet.data.datasets.spec import DatasetSpec, RawCase, SourceCase
from dpcenet.data.doctor.examine import Report, examine
from dpcenet.data.doctor.repair import Repaired, repair
from dpcenet.data.prepare import expected_cases
from dpcenet.data.prepare_case import intact
from dpcenet.data.splits import divide
from dpcenet.data.store import open_dataset
from dpcenet.errors import ConfigError, DatasetError, InputError
from dpcenet.system.progress import progress_bar
from dpcenet.volumes.dicom.read_series import read_series
from dpcenet.volumes.grid import SourceGrid
from dpcenet.volumes.io import read_volume, stem, write_mask
from dpcenet.volumes.nifti import write_nifti


@dataclass(frozen=True)
class Patient:
    """A case to be examined, and how it is read.

    Attributes:
        case: its files.
        spec: its data set.
        known: label values that may occur; empty where any may.
    """

    case: SourceCase
    spec: DatasetSpec
    known: tuple[int, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """All that was found.

    Attributes:
        reports: one for each case, and one for each folder with findings of its own.
        patients: the cases behind them, by the name of their report.
    """

    reports: tuple[Report, ...]
    patients: dict[str, Patient]

    @property
    def wrong(self) -> bool:
        """Whether anything must be mended."""
        return any(report.errors for report in self.reports)


def diagnose(
    paths: Sequence[Path],
    *,
    label: Path | None = None,
    dataset: str = "folder",
    quiet: bool = False,
) -> Diagnosis:
    """Examine scans, folders of scans, and prepared data sets.

    Args:
        paths: to be examined; a folder with DICOM files is one scan.
        label: labels of the one scan that `paths` names.
        dataset: how folders are read.
        quiet: no progress bar.

    Raises:
        ConfigError: labels are given for several scans, or there is no such path or data set.
        DatasetError: a folder holds no scan.
    """
    one_scan = len(paths) == 1 and (not paths[0].is_dir() or _is_dicom(paths[0]))
    if label is not None and not one_scan:
        raise ConfigError("--label goes with one scan")
    patients: list[Patient] = []
    reports: list[Report] = []
    for path in paths:
        if (path / "manifest.json").is_file():
            reports += _prepared_reports(path)
            continue
        found, findings = _patients(path, label, dataset_spec(dataset))
        patients += found
        reports += [Report(str(path), str(path), errors=findings)] if findings else []
    examined: list[Report] = []
    with progress_bar("doctor", len(patients), quiet=quiet) as bar:
        for done, patient in enumerate(patients, start=1):
            examined.append(examine(patient.case, patient.spec, patient.known))
            bar(done, patient.case.name)
    by_name = {report.path: patient for report, patient in zip(examined, patients, strict=True)}
    return Diagnosis((*reports, *_name_duplicates(examined, patients)), by_name)


def _patients(
    path: Path, label: Path | None, spec: DatasetSpec
) -> tuple[list[Patient], tuple[str, ...]]:
    """The cases behind a path, and what is wrong with the folder as a whole."""
    if not path.exists():
        raise ConfigError(f"{path}: there is no such file or folder")
    if _is_dicom(path):
        case = SourceCase(path.name, path, label)
        return [Patient(case, replace(spec, read=_read_dicom))], ()
    if not path.is_dir():
        name = stem(path).removeprefix("image_")
        return [Patient(SourceCase(name, path, label), spec)], ()
    found = find_cases(path, spec)
    cases, missing, surplus = expected_cases(found, spec, path)
    known = tuple(spec.labels or found.labels)
    lines = (*missing, *(f"{name}: not a case of {spec.title}" for name in surplus))
    return [Patient(case, spec, known) for case in cases], lines


def _is_dicom(path: Path) -> bool:
    return path.is_dir() and any(path.glob("*.dcm"))


def _read_dicom(case: SourceCase) -> RawCase:
    labels = None if case.label is None else read_volume(case.label).volume
    return RawCase(read_series(case.image), labels)


def _prepared_reports(path: Path) -> list[Report]:
    """Cases of a prepared data set: whether every array still has its bytes."""
    reports = []
    for case in open_dataset(path).cases:
        report = Report(case.name, str(case.folder))
        if not (case.folder / "case.json").is_file() or not intact(case.folder):
            report = report.add((f"{case.folder}: an array is missing or changed; prepare again",))
        reports.append(report)
    return reports


def _name_duplicates(reports: Sequence[Report], patients: Sequence[Patient]) -> list[Report]:
    """An error for each case whose voxels another case has, with the folds of both."""
    folds = _folds(patients)
    first: dict[str, Report] = {}
    named = []
    for report in reports:
        twin = first.setdefault(report.voxels_hash, report)
        if report.voxels_hash and twin is not report:
            text = f"the same voxels as case {twin.case}"
            if {report.case, twin.case} <= set(folds):
                pair = folds[twin.case], folds[report.case]
                text += f", in folds {pair[0]} and {pair[1]}"
                text += ": a scan is trained on and tested" if pair[0] != pair[1] else ""
            named.append(report.add((text,)))
        else:
            named.append(report)
    return named


def _folds(patients: Sequence[Patient]) -> dict[str, int]:
    """Case → block of the folds; empty where there are too few cases."""
    names = [patient.case.name for patient in patients]
    blocks = patients[0].spec.folds if patients else ()
    try:
        divided = divide(names, len(blocks) or FOLDS, blocks)
    except (ConfigError, DatasetError):
        return {}
    return {name: number for number, block in enumerate(divided) for name in block}


def to_json(diagnosis: Diagnosis) -> str:
    """For programs."""
    data = {"wrong": diagnosis.wrong, "cases": [asdict(report) for report in diagnosis.reports]}
    return json.dumps(data, indent=2)


def as_table(diagnosis: Diagnosis) -> str:
    """For people: a line for each case, then what was found."""
    table = Table(box=None, pad_edge=False)
    for head in ("case", "voxels z·y·x", "spacing mm", "axes", "oblique", "intensity", "labels ml"):
        table.add_column(head, overflow="fold")
    table.add_column("", no_wrap=True)
    for report in diagnosis.reports:
        verdict = "wrong" if report.errors else "note" if report.notes else "good"
        table.add_row(*map(escape, _cells(report)), verdict)
    stream = io.StringIO()
    console = Console(file=stream, width=max(100, shutil.get_terminal_size((140, 24)).columns))
    console.print(table)
    lines = [
        f"{report.case}: {kind}: {text}"
        for kind, of in (("wrong", "errors"), ("note", "notes"))
        for report in diagnosis.reports
        for text in getattr(report, of)
    ]
    return "\n".join([stream.getvalue().rstrip(), *lines])


def _cells(report: Report) -> tuple[str, ...]:
    return (
        report.case,
        "·".join(str(n) for n in report.shape),
        " ".join(f"{mm:.4g}" for mm in report.spacing),
        report.orientation,
        f"{report.oblique_deg:.1f}°" if report.shape else "",
        "…".join(f"{value:g}" for value in report.intensity),
        " ".join(f"{value}:{ml:.4g}" for value, ml in report.label_ml.items()),
    )


def write_fixed(diagnosis: Diagnosis, out: Path) -> list[str]:
    """Write corrected copies of the cases that have errors which can be mended.

    Args:
        diagnosis: what was found.
        out: folder for image_NAME.nii.gz and label_NAME.nii.gz.

    Returns:
        a line for each case with errors: what was done, or that nothing can be.

    Raises:
        ConfigError: a file that would be written exists.
    """
    lines = []
    for report in diagnosis.reports:
        if not report.errors:
            continue
        mended = _mended(diagnosis.patients.get(report.path))
        if mended is None or not mended.done:
            lines.append(f"{report.case}: cannot be mended")
            continue
        grid = SourceGrid.of(mended.image)
        image, label = (out / f"{kind}_{report.case}.nii.gz" for kind in ("image", "label"))
        _refuse_existing(image, label)
        write_nifti(_storable(mended.image.data), image, grid)
        if mended.label is not None:
            write_mask(mended.label.data.astype(np.int64), label, grid)
        lines.append(f"{report.case}: {'; '.join(mended.done)}: {image}")
    return lines


def _mended(patient: Patient | None) -> Repaired | None:
    """The case with its faults repaired; None if it cannot be read."""
    if patient is None:
        return None
    try:
        return repair(patient.spec.read(patient.case))
    except InputError:
        return None  # its report already says why


def _refuse_existing(*paths: Path) -> None:
    for path in paths:
        if path.exists():
            raise ConfigError(f"--fix: {path} exists; name an empty folder")


def _storable(data: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """In a type that every NIfTI reader knows."""
    return data.astype(np.float32) if data.dtype.itemsize > 4 else data
