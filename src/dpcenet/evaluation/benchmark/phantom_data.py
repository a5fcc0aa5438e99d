"""Made-up scans for a plan that needs no real ones."""

from __future__ import annotations

from pathlib import Path

from dpcenet.data.phantom.phantom import PHANTOM_LABELS, write_phantoms
from dpcenet.data.prepare import prepare

PHANTOM = "phantom"
SHAPE, SPACING = (14, 96, 96), (10.0, 2.5, 2.5)
PREPARED_SIZE = 96  # pixels of the prepared slices


def write_phantom_data(out: Path, count: int, jobs: int = 1) -> Path:
    """Make and prepare scans below OUT/data; what is there already is kept.

    Returns:
        the prepared folder.
    """
    scans, prepared = out / "data" / "scans", out / "data" / PHANTOM
    if not scans.is_dir():
        write_phantoms(scans, count, shape=SHAPE, spacing=SPACING)
    if not (prepared / "manifest.json").exists():
        prepare(
            scans,
            prepared,
            supervoxel_size=500,
            labels=PHANTOM_LABELS,
            changes={"size": PREPARED_SIZE},
            jobs=jobs,
            quiet=True,
        )
    return prepared
