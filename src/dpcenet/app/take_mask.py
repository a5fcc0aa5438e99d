"""`python -m dpcenet.app.take_mask PROJECT SCAN FILE`: make a file's labels the mask of a scan.

The mask is in the scan's own format: a DICOM SEG for a series.
"""

from __future__ import annotations

import sys
from pathlib import Path

from dpcenet.app.mask_files import read_labels, write_shown
from dpcenet.app.program import read_json
from dpcenet.app.project import Project
from dpcenet.app.shown_scan import make_ready


def main(root: Path, scan_id: str, path: Path) -> None:
    """Read the file, write the mask, drop the file."""
    project = Project.open(Path(read_json(root / "project.json", {"folder": str})["folder"]), root)
    scan = project.scans[scan_id]
    facts = make_ready(scan)
    write_shown(read_labels(path, facts), scan.mask, scan, facts, project.labels)
    path.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
