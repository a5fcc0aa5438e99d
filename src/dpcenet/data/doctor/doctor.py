"""`dpcenet doctor`: finds faulty scans before anyone trains on them.

An error makes a scan unusable or its results wrong; a note is worth knowing. `--fix` writes copies:
a source is never changed.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dpcenet.data.datasets.folder import find_cases
from dpcenet.data.datasets.registry import dataset_spec
from dpcenet.data.datasets.spec import DatasetSpec, RawCase, SourceCase
from dpcenet.data.doctor.examine import CaseReport, examine
from dpcenet.data.doctor.repair import Repaired, repair
from dpcenet.data.prepare import expected_cases
from dpcenet.data.prepare_case import intact
from dpcenet.data.splits import fold_numbers
from dpcenet.data.store import open_dataset
from dpcenet.errors import ConfigError, InputError
from dpcenet.system.progress import progress_bar
from dpcenet.volumes.dicom.read_series import read_series
from dpcenet.volumes.grid import SourceGrid
from dpcenet.volumes.io import read_volume, stem
from dpcenet.volumes.nifti import write_nifti
from dpcenet.volumes.write_masks import write_mask


@dataclass(frozen=True)
class DoctorCase:
    """A case to be examined, and how it is read.

    Attributes:
        files: of the scan and its labels.
        spec: its data set.
        known: label values that may occur; empty where any may.
    """

    files: SourceCase
    spec: DatasetSpec
    known: tuple[int, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """All findings.

    Attributes:
        reports: one for each case, and one for each folder with errors of its own.
        cases: path of a report → its case.
    """

    reports: tuple[CaseReport, ...]
    cases: dict[str, DoctorCase]

    @property
    def wrong(self) -> bool:
        """Whether anything must be repaired."""
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
        label: labels, if `paths` names one scan.
        dataset: how folders are read.
        quiet: no progress bar.

    Raises:
        ConfigError: labels are given for several scans, or there is no such path or data set.
        DatasetError: a folder holds no scan.
    """
    one_scan = len(paths) == 1 and (not paths[0].is_dir() or _is_dicom(paths[0]))
    if label is not None and not one_scan:
        raise ConfigError("--mask goes with one scan")
    cases: list[DoctorCase] = []
    reports: list[CaseReport] = []
    for path in paths:
        if (path / "manifest.json").is_file():
            reports += _prepared_reports(path)
            continue
        found, errors = _find(path, label, dataset_spec(dataset))
        cases += found
        reports += [CaseReport(str(path), str(path), errors=errors)] if errors else []
    examined: list[CaseReport] = []
    with progress_bar("doctor", len(cases), quiet=quiet) as bar:
        for done, case in enumerate(cases, start=1):
            examined.append(examine(case.files, case.spec, case.known))
            bar(done, case.files.name)
    by_path = {report.path: case for report, case in zip(examined, cases, strict=True)}
    return Diagnosis((*reports, *_name_duplicates(examined, cases)), by_path)


def _find(
    path: Path, label: Path | None, spec: DatasetSpec
) -> tuple[list[DoctorCase], tuple[str, ...]]:
    """The cases of a path, and the errors of the folder as a whole."""
    if not path.exists():
        raise ConfigError(f"{path}: there is no such file or folder")
    if _is_dicom(path):
        case = SourceCase(path.name, path, label)
        return [DoctorCase(case, replace(spec, read=_read_dicom))], ()
    if not path.is_dir():
        name = stem(path).removeprefix("image_")
        return [DoctorCase(SourceCase(name, path, label), spec)], ()
    found = find_cases(path, spec)
    cases, missing, unknown = expected_cases(found, spec, path)
    known = tuple(spec.labels or found.labels)
    errors = (*missing, *(f"{name}: not a case of {spec.title}" for name in unknown))
    return [DoctorCase(case, spec, known) for case in cases], errors


def _is_dicom(path: Path) -> bool:
    return path.is_dir() and any(path.glob("*.dcm"))


def _read_dicom(case: SourceCase) -> RawCase:
    labels = None if case.label is None else read_volume(case.label).volume
    return RawCase(read_series(case.image), labels)


def _prepared_reports(path: Path) -> list[CaseReport]:
    """Cases of a prepared data set: whether every array is unchanged."""
    reports = []
    for case in open_dataset(path).cases:
        report = CaseReport(case.name, str(case.folder))
        if not (case.folder / "case.json").is_file() or not intact(case.folder):
            report = report.add((f"{case.folder}: an array is missing or changed; prepare again",))
        reports.append(report)
    return reports


def _name_duplicates(
    reports: Sequence[CaseReport], cases: Sequence[DoctorCase]
) -> Iterator[CaseReport]:
    """The reports, with an error where an earlier case has the same voxels, and both folds."""
    blocks = cases[0].spec.folds if cases else ()
    folds = fold_numbers([case.files.name for case in cases], blocks)
    first: dict[str, CaseReport] = {}
    for report in reports:
        earlier = first.setdefault(report.voxels_hash, report)
        if not report.voxels_hash or earlier is report:
            yield report
            continue
        error = f"the same voxels as case {earlier.case}"
        if {report.case, earlier.case} <= set(folds):
            pair = folds[earlier.case], folds[report.case]
            error += f", in folds {pair[0]} and {pair[1]}"
            error += ": a scan is trained on and tested" if pair[0] != pair[1] else ""
        yield report.add((error,))


def to_json(diagnosis: Diagnosis) -> str:
    """The findings as JSON."""
    data = {"wrong": diagnosis.wrong, "cases": [asdict(report) for report in diagnosis.reports]}
    return json.dumps(data, indent=2)


def as_table(diagnosis: Diagnosis) -> str:
    """The findings as text: a line for each case, then errors and notes."""
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


def _cells(report: CaseReport) -> tuple[str, ...]:
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
    """Write repaired copies of the cases with errors, where they can be repaired.

    Args:
        diagnosis: the findings.
        out: folder for image_NAME.nii.gz and label_NAME.nii.gz.

    Returns:
        a line for each case with errors: what was changed, or that it cannot be repaired.

    Raises:
        ConfigError: a file that would be written exists.
    """
    lines = []
    for report in diagnosis.reports:
        if not report.errors:
            continue
        repaired = _repaired(diagnosis.cases.get(report.path))
        if repaired is None or not repaired.changes:
            lines.append(f"{report.case}: cannot be repaired")
            continue
        grid = SourceGrid.of(repaired.image)
        image, label = (out / f"{kind}_{report.case}.nii.gz" for kind in ("image", "label"))
        for path in (image, label):
            if path.exists():
                raise ConfigError(f"--fix: {path} exists; name an empty folder")
        data: npt.NDArray[Any] = repaired.image.data
        # float32 is a type that every NIfTI reader knows.
        write_nifti(data.astype(np.float32) if data.dtype.itemsize > 4 else data, image, grid)
        if repaired.label is not None:
            write_mask(repaired.label.data.astype(np.int64), label, grid)
        lines.append(f"{report.case}: {'; '.join(repaired.changes)}: {image}")
    return lines


def _repaired(case: DoctorCase | None) -> Repaired | None:
    """The case with its faults repaired; None if it cannot be read."""
    if case is None:
        return None
    try:
        return repair(case.spec.read(case.files))
    except InputError:
        return None  # its report already says why
