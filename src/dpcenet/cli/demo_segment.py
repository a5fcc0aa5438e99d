"""The demo: scans, one of them labelled → masks of the others → a review → the page."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from dpcenet.app.mask_files import take_file
from dpcenet.app.project import Project
from dpcenet.app.shown_scan import make_ready
from dpcenet.cli.demo_table import result_table
from dpcenet.data.datasets.folder import find_cases
from dpcenet.data.phantom.phantom import PHANTOM_LABELS, Shape, write_phantoms
from dpcenet.errors import DatasetError
from dpcenet.segmentation.labelled_input import LabelledInput
from dpcenet.segmentation.segment_folder import SegmentSummary, segment_folder
from dpcenet.segmentation.segment_options import SegmentOptions
from dpcenet.system.files import whole_folder
from dpcenet.system.progress import timed_step
from dpcenet.system.words import counted
from dpcenet.volumes.io import read_volume

Say = Callable[[str], None]

CASES = 6
MADE_SHAPE, MADE_SPACING = (16, 128, 128), (9.0, 1.9, 1.9)
MOST_QUERIES = 5  # of a person's own scans: a demo is short
# Measured on two cores of an AMD EPYC.
_MAKE_S, _LOAD_S, _SLICE_S, _PAGE_S = 3.0, 3.0, 0.2, 1.0


def demo_segment(out: Path, data: Path | None, say: Say) -> SegmentSummary:
    """Segment scans from one labelled scan; say what came out, and where to look at it.

    Args:
        out: folder for everything that is made.
        data: folder of scans, one of them with a label; made-up scans (phantoms) by default.
        say: is given each line for the person.

    Raises:
        DatasetError: `data` holds no labelled scan or no other one, or a scan was not segmented.
    """
    with timed_step(say, f"1 of 3: {'make' if data is None else 'find'} the scans", _MAKE_S):
        folder = made_scans(out / "scans") if data is None else data
        labelled, label, queries = _choose(folder)
    say(f"  {labelled.name} is labelled; to be segmented: {', '.join(q.name for q in queries)}")
    root = out / "project"
    masks = root / "masks"
    project = Project.open(folder, root)
    values = [int(value) for value in np.unique(read_volume(label).volume.data) if value]
    names = {v: PHANTOM_LABELS[v] for v in values} if data is None else {}
    slices = sum(min(read_volume(query).volume.data.shape) for query in queries)
    with timed_step(say, "2 of 3: segment and judge them", _LOAD_S + _SLICE_S * slices):
        support = LabelledInput((labelled,), (label,), names=names)
        summary = segment_folder(queries, support, SegmentOptions(masks, check=True))
    if failed := [outcome.error for outcome in summary.outcomes if outcome.mask is None]:
        raise DatasetError("; ".join(failed))
    with timed_step(say, "3 of 3: hand them to the page", _PAGE_S):
        _show_in_page(project, labelled, label, values, names)
    say(result_table(label, _truths(folder, queries), masks, values))
    say(f"masks   {masks}\nreview  {summary.review}\npage    {_page_command(folder, root)}")
    return summary


def made_scans(folder: Path, shape: Shape = MADE_SHAPE) -> Path:
    """Made-up patients; those of an earlier call are kept."""
    if not folder.is_dir():
        with whole_folder(folder) as partial:
            write_phantoms(partial, CASES, shape=shape, spacing=MADE_SPACING)
    return folder


def _choose(folder: Path) -> tuple[Path, Path, list[Path]]:
    """The labelled scan, its label, and the scans to be segmented.

    Raises:
        DatasetError: one of them is missing.
    """
    files = _in_single_files(folder)
    labelled = next((image for image, label in files.items() if label is not None), None)
    label = None if labelled is None else files[labelled]
    if labelled is None or label is None or len(files) < 2:
        raise DatasetError(
            f"{folder}: {counted(len(files), 'scan')}, "
            f"{'one' if labelled else 'none'} with a label; the demo needs image_01.nii.gz with "
            "label_01.nii.gz, and one more scan"
        )
    others = [image for image in files if image != labelled]
    return labelled, label, others[:MOST_QUERIES]


def _truths(folder: Path, queries: list[Path]) -> dict[str, Path | None]:
    """Of each query, by the name of its result, the label that a person made, if there is one."""
    files = _in_single_files(folder)
    return {query.name.partition(".")[0]: files[query] for query in queries}


def _in_single_files(folder: Path) -> dict[Path, Path | None]:
    """Scans that are one file, with the label map of each; the demo shows nothing else."""
    found: dict[Path, Path | None] = {}
    for case in find_cases(folder).cases:
        if isinstance(case.image, Path):
            label = case.label
            found[case.image] = label if isinstance(label, Path) and label.is_file() else None
    return found


def _show_in_page(
    project: Project, labelled: Path, label: Path, values: list[int], names: dict[int, str]
) -> None:
    """Make the labels known to the page, and the labelled scan one that a person labelled."""
    scan = next(s for s in project.scans.values() if s.source.resolve() == labelled.resolve())
    if names and not project.labels:
        project.add_labels(names)
    project.add_labels(dict.fromkeys(values, ""))
    if not scan.mask.is_file():
        take_file(label, scan, make_ready(scan), project.labels)


def _page_command(folder: Path, root: Path) -> str:
    """The command that opens the page on the results, as the person can type it."""
    program = sys.argv[0] if Path(sys.argv[0]).name == "dpcenet" else "dpcenet"
    command = shlex.join([program, "app", str(folder), "--project", str(root)])
    missing = find_spec("fastapi") is None or find_spec("uvicorn") is None
    return f"pip install 'dpcenet[app]', then {command}" if missing else command
