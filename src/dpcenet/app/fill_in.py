"""`python -m dpcenet.app.fill_in SCAN MASK -o FULL`: complete a scan from its own drawn slices.

Stands for `dpcenet complete` until that command is there. The drawn slices, as a thinner scan of
their own, are the support of the whole scan. What was drawn stays as drawn; a slice outside the
first and last one that shows a label holds none of it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dpcenet.app.program import (
    Algorithm,
    InputError,
    Segmenter,
    Volume,
    __version__,
    check_mask,
    open_mask,
    orient,
    read_volume,
    write_labels,
)


def fill_in(image: Volume, drawn: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """The whole mask.

    Args:
        image: the scan, axis 0 through its slices.
        drawn: (Z, Y, X) labels; a slice without any is not drawn.

    Returns:
        (Z, Y, X) labels.
    """
    slices = np.flatnonzero(drawn.any(axis=(1, 2)))
    filled = drawn.astype(np.uint8)
    if len(slices) < 2:
        return filled
    segmenter = Segmenter.shipped()
    affine = image.affine.copy()
    affine[:3, 3] += affine[:3, 0] * slices[0]
    affine[:3, 0] *= (slices[-1] - slices[0]) / (len(slices) - 1)
    support = segmenter.support(
        Volume(np.ascontiguousarray(image.data[slices]), affine),
        Volume(drawn[slices].astype(np.uint8), affine),
    )
    found = np.asarray(segmenter.segment(image, support).data)
    for value in np.unique(drawn[slices])[1:]:
        shown = np.flatnonzero((drawn == value).any(axis=(1, 2)))
        for z in set(range(shown[0], shown[-1])) - set(slices.tolist()):
            filled[z][found[z] == value] = value
    return filled


def main(scan_path: Path, mask_path: Path, out: Path) -> None:
    """Read, fill in, write."""
    scan = read_volume(scan_path)
    labels = check_mask(open_mask(mask_path, scan.volume), scan.volume, mask_path)
    image, orientation = orient(scan.volume)
    drawn = orientation.apply(Volume(labels, scan.volume.affine)).data.astype(np.int64)
    filled = orientation.invert(fill_in(image, drawn))
    names = {int(value): f"label {value}" for value in np.unique(labels) if value}
    write_labels(filled, out, scan, names, Algorithm(__version__, "fill in"))


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[4]))
    except InputError as error:
        sys.stderr.write(f"dpcenet: {error}\n")
        sys.exit(2)
