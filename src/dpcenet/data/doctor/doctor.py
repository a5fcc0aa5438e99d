"""`dpcenet doctor`: finds faulty scans before anyone trains on them, or segments them.

An error makes a scan unusable or its results wrong; a note is worth knowing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dpcenet.data.datasets.dataset_json import NAME as DECLARES
from dpcenet.data.datasets.folder import IMAGE, find_cases
from dpcenet.data.datasets.registry import dataset_spec
from dpcenet.data.datasets.spec import DatasetSpec, SourceCase
from dpcenet.data.doctor.examine import CaseReport, examine
from dpcenet.data.prepare import expected_cases, known_labels
from dpcenet.data.prepare_case import intact
from dpcenet.data.splits import fold_numbers
from dpcenet.data.store import open_dataset
from dpcenet.errors import ConfigError
from dpcenet.system.progress import progress_bar
from dpcenet.volumes.dicom.find_series import Series
from dpcenet.volumes.find_scans import find_scans, pieces_of
from dpcenet.volumes.io import stem
from dpcenet.volumes.mask_files import MaskFile
from dpcenet.volumes.pictures import pictures_in
from dpcenet.volumes.scan_file import AS_IT_IS, ReadOptions


@dataclass(frozen=True)
class DoctorCase:
    """A case to be examined, and how it is read.

    Attributes:
        files: of the scan and its labels.
        spec: its data set.
        known: label values that may occur; empty where any may.
        declared: label values that the data set says it has; another one is noted.
        notes: where it was found, as far as a person has to choose.
    """

    files: SourceCase
    spec: DatasetSpec
    known: tuple[int, ...] = ()
    declared: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


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
    label: MaskFile | None = None,
    labelled: SourceCase | None = None,
    dataset: str = "folder",
    options: ReadOptions = AS_IT_IS,
    quiet: bool = False,
) -> Diagnosis:
    """Examine scans, folders of scans, and prepared data sets.

    Args:
        paths: to be examined; folders are searched as `segment` does.
        label: labels, if `paths` names one scan.
        labelled: the scan that the others are to be segmented from; they are compared with it. By
            default the first one with labels.
        dataset: how folders are read.
        options: how scans are read whose files leave a choice.
        quiet: no progress bar.

    Raises:
        ConfigError: labels are given for several scans, or there is no such path or data set.
        DatasetError: a folder holds no scan.
    """
    spec = dataset_spec(dataset)
    cases: list[DoctorCase] = []
    if labelled is not None:
        cases.append(DoctorCase(replace(labelled, options=options), spec))
    reports: list[CaseReport] = []
    for path in paths:
        if (path / "manifest.json").is_file():
            reports += _prepared_reports(path)
            continue
        found, errors = _find(path, label, spec)
        found = [case for case in found if labelled is None or case.files.image != labelled.image]
        cases += [piece for case in found for piece in _pieces(case, options)]
        reports += [CaseReport(str(path), str(path), errors=errors)] if errors else []
    if label is not None and len({case.files.image for case in cases}) != 1:
        raise ConfigError(f"--mask goes with one scan, and there are {len(cases)}")
    cases = [_with_place(case, cases) for case in cases]
    examined = _examined(cases, quiet)
    by_path = {report.path: case for report, case in zip(examined, cases, strict=True)}
    return Diagnosis((*reports, *_name_duplicates(examined, cases)), by_path)


def _find(
    path: Path, label: MaskFile | None, spec: DatasetSpec
) -> tuple[list[DoctorCase], tuple[str, ...]]:
    """The cases of a path, and the errors of the folder as a whole."""
    if not path.exists():
        raise ConfigError(f"{path}: there is no such file or folder")
    if not path.is_dir() or (pictures_in(path) and not any(find_scans(path))):
        name = stem(path).removeprefix(IMAGE) or path.name
        return [DoctorCase(SourceCase(name, path, label), spec)], ()
    found = find_cases(path, spec)
    cases, missing, unknown = expected_cases(found, spec, path)
    known, declared = known_labels(spec, found), tuple(spec.labels or found.labels)
    errors = (*missing, *(f"{name}: not a case of {spec.title}" for name in unknown))
    files = [replace(case, label=label or case.label) for case in cases]
    return [DoctorCase(case, spec, known, declared) for case in files], errors


def _pieces(case: DoctorCase, options: ReadOptions) -> Iterator[DoctorCase]:
    """Each volume of a scan as a case, unless one was chosen."""
    pieces = pieces_of(case.files.image) if options.part is None else []
    if len(pieces) < 2:
        yield replace(case, files=replace(case.files, options=options))
        return
    for number, piece in enumerate(pieces, start=1):
        note = f"volume {number} of {len(pieces)} ({piece.name}): choose it with --echo {number}"
        name = f"{case.files.name}_{piece.name}"
        chosen = replace(options, part=piece.part)
        files = replace(case.files, name=name, image=piece.source, options=chosen)
        yield replace(case, files=files, notes=(*case.notes, note))


def _with_place(case: DoctorCase, cases: Sequence[DoctorCase]) -> DoctorCase:
    """A series among several of its folder, with its number and name there."""
    image = case.files.image
    if not isinstance(image, Series):
        return case
    series = (each.files.image for each in cases)
    uids = [each.uid for each in series if isinstance(each, Series) and each.folder == image.folder]
    uids = list(dict.fromkeys(uids))
    if len(uids) < 2:
        return case
    number = uids.index(image.uid) + 1
    note = f"series {number} of {len(uids)} in its folder ({image.name}): choose it with --series"
    return replace(case, notes=(f"{note} {number}", *case.notes))


def _examined(cases: Sequence[DoctorCase], quiet: bool) -> list[CaseReport]:
    """A report for each case; the first labelled one first, as the others are compared with it."""
    order = sorted(range(len(cases)), key=lambda n: cases[n].files.label is None)
    reports: dict[int, CaseReport] = {}
    first: CaseReport | None = None
    with progress_bar("doctor", len(cases), quiet=quiet) as bar:
        for done, n in enumerate(order, start=1):
            case = cases[n]
            report = examine(case.files, case.spec, case.known, first)
            report = replace(report, notes=(*case.notes, *report.notes, *_undeclared(case, report)))
            if case.files.label is not None and report.shape:
                first = first or report
            reports[n] = report
            bar(done, case.files.name)
    return [reports[n] for n in range(len(cases))]


def _undeclared(case: DoctorCase, report: CaseReport) -> tuple[str, ...]:
    """A note where a case has labels that its data set does not declare."""
    if not case.declared or not (others := sorted(set(report.label_ml) - set(case.declared))):
        return ()
    labels = f"label {others[0]}" if len(others) == 1 else f"labels {', '.join(map(str, others))}"
    return (f"{labels} not declared in {DECLARES}: is that meant?",)


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
        if not report.voxels_hash or earlier is report or earlier.path == report.path:
            yield report
            continue
        error = f"the same voxels as case {earlier.case}"
        if {report.case, earlier.case} <= set(folds):
            pair = folds[earlier.case], folds[report.case]
            error += f", in folds {pair[0]} and {pair[1]}"
            error += ": a scan is trained on and tested" if pair[0] != pair[1] else ""
        yield report.add((error,))
