"""Another modality or another slice plane than the labelled scan's is said."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from dpcenet.data.phantom.phantom import phantom
from dpcenet.inference.support import Support
from dpcenet.segmentation.mismatch import mismatches
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.system.texts import said, words
from dpcenet.types import Volume
from dpcenet.volumes.adapters import open_scan
from shown_texts import SENTENCE

SHAPE, SPACING = (8, 40, 40), (12.0, 6.0, 6.0)


def has_chinese(reason: str) -> bool:
    """Whether the review can say it in Chinese, without a rest of English."""
    chinese = said(reason, words("zh"))
    return chinese != reason and not re.search(SENTENCE, chinese)


@pytest.fixture(scope="module")
def support(copier: Segmenter) -> Support:
    return copier.support(*phantom(1, SHAPE, SPACING))


def test_the_same_kind_of_scan_has_nothing_against_it(support: Support) -> None:
    for axes in ("SPL", "IAR"):
        query, _ = phantom(2, SHAPE, SPACING, axes=axes)
        assert mismatches(open_scan(query), support) == ()


@pytest.mark.parametrize("axes", ["LPS", "RAI", "PSL"])  # sagittal twice, coronal
def test_another_slice_plane(support: Support, axes: str) -> None:
    query, _ = phantom(2, SHAPE, SPACING, axes=axes)
    (reason,) = mismatches(open_scan(query), support)
    assert "another plane" in reason and has_chinese(reason)


def test_another_modality(support: Support) -> None:
    query, _ = phantom(2, SHAPE, SPACING)
    in_hu = np.asarray(query.data, np.float32) - 1000
    (reason,) = mismatches(open_scan(Volume(in_hu, query.affine)), support)
    assert "looks like CT" in reason and has_chinese(reason)
    as_ct = replace(support, rules=replace(support.rules, modality="ct"))
    assert mismatches(open_scan(Volume(in_hu, query.affine)), as_ct) == ()
