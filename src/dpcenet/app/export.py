"""`python -m dpcenet.app.export PROJECT PART …`: what is taken along, into export/.

masks/NAME.nii.gz       on each scan's own grid
seg-nrrd/NAME.seg.nrrd  the same for 3D Slicer, with names and colours
dicom-seg/NAME.dcm      of scans that are DICOM series
table.csv               a row for each scan and label
pictures/NAME-LABEL.png the slice with the largest part of each label
nnunet/                 raw data set of the accepted scans, for nnU-Net

The task file is written by `dpcenet task create`. Rejected results are left out of all but the
table.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dpcenet.app.export_files import (
    picture,
    write_dicom_seg,
    write_named_mask,
    write_seg_nrrd,
)
from dpcenet.app.mask_files import origin_of, read_labels, state_of
from dpcenet.app.program import (
    STATISTICS,
    InputError,
    case_name,
    decisions_in,
    end_after,
    measure_labels,
    name_for,
    out_of_space,
    read_cases,
    read_json,
    table_text,
    whole_folder,
    write_case,
    write_dataset,
    write_text,
)
from dpcenet.app.project import Label, Project, Scan
from dpcenet.app.shown_scan import Facts, image_of, make_ready

FOLDERS = ("masks", "seg-nrrd", "dicom-seg", "pictures", "nnunet")
PARTS = (*FOLDERS, "table", "task")
COLUMNS = (
    *("case", "label", "value", "made by", "decision", "decided"),
    *STATISTICS,
    *("predicted dice", "low", "high", "flag"),
)

MADE_BY = {
    "segmented": "dpcenet",
    "corrected": "dpcenet, corrected",
    "drawn": "a person",
    "filled": "a person, filled in by dpcenet",
    "file": "taken from a file",
}


@dataclass(frozen=True)
class Case:
    """A scan with a whole mask, opened."""

    scan: Scan
    facts: Facts
    image: npt.NDArray[Any]
    labels: npt.NDArray[np.uint8]
    state: str
    decision: str
    decided: str

    @property
    def kept(self) -> bool:
        """Whether it goes along: rejected results do not."""
        return self.decision != "reject"

    @property
    def accepted(self) -> bool:
        """Whether a person stands for it."""
        return self.decision == "accept" or (self.kept and self.state != "segmented")


def cases_of(project: Project) -> Iterator[Case]:
    """The scans that have a whole mask, one at a time; one that cannot be read is named."""
    decisions = decisions_in(project.root)
    for scan in project.scans.values():
        if not scan.mask.is_file():
            continue
        decision = decisions.get(scan.name, {})
        try:
            facts = make_ready(scan)
            labels = read_labels(scan.mask, facts)
        except (InputError, OSError) as error:
            if out_of_space(error):
                raise
            print_line(f"{scan.name}: left out: {error}")
            continue
        said = str(decision.get("decision", "")), str(decision.get("time", ""))
        yield Case(scan, facts, image_of(scan, facts), labels, state_of(scan), *said)


def export(project: Project, parts: list[str]) -> Path:
    """Write the parts; what an earlier export wrote is replaced once all are whole.

    Returns:
        the folder.

    Raises:
        OSError: they cannot be written; an earlier export is still there.
    """
    out = project.root / "export"
    names = project.labels
    rows: list[dict[str, Any]] = []
    accepted = []
    expected = {row.case: row.labels for row in read_cases(project.root / "masks")}
    with ExitStack() as stack:
        folders = {
            part: stack.enter_context(whole_folder(out / part)) for part in parts if part in FOLDERS
        }
        for case in cases_of(project):
            print_line(case.scan.name)
            rows += table_rows(case, names, expected.get(case.scan.name, {}))
            if case.kept:
                _write_parts(case, names, folders)
            if case.accepted and "nnunet" in folders:
                accepted.append(write_nnunet_case(case, names, folders["nnunet"]))
        if "table" in parts:
            _write_table(out / "table.csv", rows)
        if "nnunet" in folders:
            called = [label.name for label in names]
            write_dataset(folders["nnunet"], called, len(accepted), accepted)
    return out


def write_nnunet_case(case: Case, names: list[Label], folder: Path) -> str:
    """Write an accepted scan and its mask as nnU-Net wants them; the scan's modality."""
    shown = (np.asarray(case.image), case.labels)
    image, labels = (case.facts.orient.invert(each) for each in shown)
    values = [label.value for label in names]
    name = case_name(case.scan.name)
    write_case(folder, name, image, labels, values, case.facts.source_grid)
    return case.facts.modality


def _write_parts(case: Case, names: list[Label], folders: dict[str, Path]) -> None:
    name = flat(case.scan)
    if folder := folders.get("masks"):
        write_named_mask(case.labels, case.facts, names, folder / f"{name}.nii.gz")
    if folder := folders.get("seg-nrrd"):
        write_seg_nrrd(case.labels, case.facts, names, folder / f"{name}.seg.nrrd")
    if folder := folders.get("dicom-seg"):
        _write_dicom_seg(case, names, folder / f"{name}.dcm")
    if folder := folders.get("pictures"):
        for label in names:
            if (case.labels == label.value).any():
                path = folder / f"{name}-{label.value}.png"
                picture(case.image, case.labels, case.facts, label, path)


def _write_dicom_seg(case: Case, names: list[Label], path: Path) -> None:
    """A SEG, or the reason why there is none."""
    if case.scan.query.suffix != ".dcm":
        print_line(f"{case.scan.name}: no DICOM SEG: the scan is no DICOM series")
        return
    try:
        write_dicom_seg(case.labels, case.scan, case.facts, names, path)
    except InputError as error:
        print_line(f"{case.scan.name}: no DICOM SEG: {error}")


def table_rows(case: Case, names: list[Label], expected: Any) -> list[dict[str, Any]]:
    """A row for each label: what is measured on the scan's own voxels, what was expected."""
    called = {label.value: label.name for label in names}
    rows = []
    measured = measure_labels(case.image, case.labels, np.array(case.facts.affine))
    for value, statistics in measured.items():
        name = name_for(called, value)
        quality = expected.get(name) if case.state == "segmented" else None
        judged = (
            ("", "", "", "")
            if quality is None
            else (f"{quality.dice:.3f}", f"{quality.low:.3f}", f"{quality.high:.3f}", quality.flag)
        )
        cells = (
            case.scan.name,
            name,
            value,
            MADE_BY.get(case.state) or MADE_BY[origin_of(case.scan)],
            case.decision,
            case.decided,
            *statistics.cells().values(),
            *judged,
        )
        rows.append(dict(zip(COLUMNS, cells, strict=True)))
    return rows


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    write_text(path, table_text(COLUMNS, rows))


def flat(scan: Scan) -> str:
    """The name of a scan as the name of a file."""
    return scan.name.replace("/", "__")


def print_line(text: str) -> None:
    """Say something in the job's log."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(root: Path, parts: list[str]) -> None:
    """Export a project."""
    folder = Path(read_json(root / "project.json", {"folder": str})["folder"])
    print_line(str(export(Project.open(folder, root), parts)))


if __name__ == "__main__":
    end_after(lambda: main(Path(sys.argv[1]), sys.argv[2:]))
