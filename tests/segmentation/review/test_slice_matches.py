"""Which labelled slices served, in millimetres of the patient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dpcenet.data.phantom.phantom import phantom
from dpcenet.inference.support import SliceTask, SupportSlice
from dpcenet.segmentation.review.slice_matches import SliceLine, slice_matches
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.types import Volume
from made import moved

SHAPE, SPACING = (10, 72, 72), (9.0, 4.0, 4.0)
NAMES = {1: "liver", 3: "left kidney"}


def test_a_scan_matched_with_itself_matches_at_the_same_place_in_mm(copier: Segmenter) -> None:
    """The query is stored upside down, and 40 mm further along x: the slices are found all the
    same, and where they are, the image's own affine says."""
    image, labels = phantom(1, SHAPE, SPACING)
    support = replace(copier.support(image, labels, [1, 3]), names=NAMES)
    affine = image.affine.copy()
    affine[0, 3] += 40.0
    query = moved(Volume(image.data, affine), (0, 1, 2), (True, False, True))
    found = slice_matches(copier.find(query, support), NAMES)
    (scan,) = found.scans
    assert scan.slices is not None and (scan.slices.count, found.query.count) == (10, 10)
    back = np.linalg.inv(image.affine)
    for value, name in NAMES.items():
        shows = set(np.flatnonzero((labels.data == value).any(axis=(1, 2))).tolist())
        served = {q: z for q, z in enumerate(scan.labels[name]) if z >= 0}
        assert len(served) == len(shows)
        for q, z in served.items():
            apart = np.array(found.query.middle_of(q)) - scan.slices.middle_of(z)
            np.testing.assert_allclose(apart, (40.0, 0.0, 0.0), atol=1e-3)
            stored = (back @ [*scan.slices.middle_of(z), 1])[0]
            assert stored == pytest.approx(round(stored), abs=1e-3) and round(stored) in shows
    assert scan.whole == tuple(range(10))


def test_the_slice_that_was_chosen_is_named_not_its_neighbours(copier: Segmenter) -> None:
    image, labels = phantom(1, SHAPE, SPACING)
    support = copier.support(image, labels, [1])
    result = copier.find(image, support)
    task = SliceTask((SupportSlice(0, 6), SupportSlice(0, 5), SupportSlice(0, 7)), (2, 3))
    found = slice_matches(replace(result, tasks={1: [task]}), {1: "liver"})
    assert found.scans[0].labels["liver"] == (-1, -1, 6, 6, -1, -1, -1, -1, -1, -1)


def test_places_along_a_line() -> None:
    line = SliceLine((1.0, 2.0, 30.0), (0.0, 0.0, -4.0), 3)
    assert line.nearest(np.array([50.0, 9.0, 25.0])) == 1
    assert line.nearest(np.array([0.0, 0.0, 32.5])) is None
    assert line.nearest(np.array([0.0, 0.0, 19.5])) is None
    np.testing.assert_allclose(line.middle_of(2), (1.0, 2.0, 22.0))
