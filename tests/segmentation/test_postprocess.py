"""Rules of 3-D consistency that a person switches on."""

from __future__ import annotations

import numpy as np
import pytest

from dpcenet.data.phantom.phantom import phantom
from dpcenet.segmentation.postprocess import Consistency
from dpcenet.types import Volume
from made_scans import quick_segmenter


def test_rules_apply_to_what_was_found_and_are_off_by_default() -> None:
    image, labels = phantom(1, (8, 48, 48), (11.0, 6.0, 6.0))
    speck = labels.data.copy()
    speck[4, 0, 0] = 1
    segmenter = quick_segmenter()
    support = segmenter.support(image, Volume(speck, labels.affine))
    found = segmenter.find(image, support)
    assert found.mask.data[4, 0, 0] == 1
    same = Consistency().apply(found)
    assert np.array_equal(same.mask.data, found.mask.data)
    tidy = Consistency(largest=True).apply(found)
    assert tidy.mask.data[4, 0, 0] == 0
    assert (tidy.mask.data == found.mask.data).mean() > 0.99
    large = Consistency(min_volume_mm3=1.5 * 11 * 6 * 6).apply(found)
    assert large.mask.data[4, 0, 0] == 0
    smooth = Consistency(smooth_mm=11).apply(found)
    assert smooth.mask.data[4, 0, 0] == 0  # most of its probability goes to empty slices
    with pytest.raises(ValueError, match="below 0"):
        Consistency(smooth_mm=-1)
