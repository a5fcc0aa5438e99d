"""`python -m dpcenet.app.fill_in SCAN MASK -o FULL`: complete a scan from its own drawn slices.

Stands for `dpcenet complete` until that command is there. What was drawn stays as drawn; a slice
outside the first and last one that shows a label holds none of it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dpcenet.app.program import (
    Algorithm,
    InputError,
    ScanFile,
    Segmenter,
    Volume,
    __version__,
    check_mask,
    complete,
    open_mask,
    preprocess,
    read_volume,
    write_labels,
)


def fill_in(scan: ScanFile, drawn: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """The whole mask (Z, Y, X), in the array order of the scan's file.

    Args:
        scan: as read.
        drawn: (Z, Y, X) labels in the same order; a slice without a label is not drawn.
    """
    segmenter = Segmenter.shipped()
    support = segmenter.support(scan, Volume(drawn.astype(np.uint8), scan.volume.affine))
    _, record = preprocess(scan, support.rules, like=support.affine)
    found = complete(segmenter.predictor, support.scans[0], support.values)
    return np.where(drawn > 0, drawn, record.restore_labels(found)).astype(np.uint8)


def main(scan_path: Path, mask_path: Path, out: Path) -> None:
    """Read, fill in, write."""
    scan = read_volume(scan_path)
    drawn = check_mask(open_mask(mask_path, scan), scan.volume, mask_path)
    names = {int(value): f"label {value}" for value in np.unique(drawn) if value}
    write_labels(fill_in(scan, drawn), out, scan, names, Algorithm(__version__, "fill in"))


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[4]))
    except InputError as error:
        sys.stderr.write(f"dpcenet: {error}\n")
        sys.exit(2)
