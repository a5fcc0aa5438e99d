"""Made scans for a plan that needs none of a person's."""

from __future__ import annotations

from pathlib import Path

from dpcenet.data.phantom.phantom import PHANTOM_LABELS, write_phantoms
from dpcenet.data.prepare import prepare

NAME = "phantom"
SHAPE, SPACING = (14, 96, 96), (10.0, 2.5, 2.5)
SIZE = 96  # pixels of the prepared slices


def made_data(out: Path, count: int, jobs: int = 1) -> Path:
    """Make and prepare scans below OUT/data; what is there already stays.

    Returns:
        the prepared folder.
    """
    scans, prepared = out / "data" / "scans", out / "data" / NAME
    if not scans.is_dir():
        write_phantoms(scans, count, shape=SHAPE, spacing=SPACING)
    if not (prepared / "manifest.json").exists():
        prepare(
            scans,
            prepared,
            supervoxel_size=500,
            labels=PHANTOM_LABELS,
            changes={"size": SIZE},
            jobs=jobs,
            quiet=True,
        )
    return prepared
