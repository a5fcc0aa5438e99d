"""`python -m dpcenet.app.take_mask PROJECT SCAN FILE`: take what `complete` filled in as the mask.

It is written in the scan's own format: a DICOM SEG for a series.
"""

from __future__ import annotations

import sys
from pathlib import Path

from dpcenet.app.mask_files import maker_of, read_labels, remember_origin, write_shown
from dpcenet.app.program import end_after, read_json, record_path
from dpcenet.app.project import Project
from dpcenet.app.shown_scan import make_ready


def main(root: Path, scan_id: str, path: Path) -> None:
    """Read the file, write the mask, drop the file."""
    project = Project.open(Path(read_json(root / "project.json", {"folder": str})["folder"]), root)
    scan = project.scans[scan_id]
    facts = make_ready(scan)
    labels = read_labels(path, facts)
    remember_origin(scan, "filled", read_json(record_path(path), {"network": str})["network"])
    write_shown(labels, scan.mask, scan, facts, project.labels, maker_of(scan, changed=True))
    path.unlink()


if __name__ == "__main__":
    end_after(lambda: main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
