"""Labels of several masks go by their names."""

from __future__ import annotations

import numpy as np
import pytest

from dpcenet.errors import VolumeError
from dpcenet.types import Volume
from dpcenet.volumes.facts import Code, Facts, Labels
from dpcenet.volumes.grid import ScanFile, SourceGrid
from dpcenet.volumes.label_names import CommonLabels, renumbered

LIVER = Code("SCT", "10200004", "Liver")


def mask_of(values, names, codes=None):
    volume = Volume(np.array(values, np.uint8).reshape(1, 1, -1), np.eye(4))
    return ScanFile(volume, SourceGrid.of(volume), facts=Facts(labels=Labels(names, codes or {})))


def test_segments_that_are_numbered_otherwise():
    common = CommonLabels()
    first = mask_of([0, 1, 2], {1: "Liver", 2: "Right kidney"}, {1: LIVER})
    second = mask_of([0, 1, 2, 3], {1: "right_kidney", 2: "Spleen", 3: "liver"})
    assert common.table_for(first, "a") == {1: 1, 2: 2}
    table = common.table_for(second, "b")
    assert table == {1: 2, 2: 3, 3: 1}  # the spleen's number is taken, so it gets the next one
    np.testing.assert_array_equal(renumbered(second.volume.data, table), [[[0, 2, 3, 1]]])
    assert common.labels.names == {1: "Liver", 2: "Right kidney", 3: "Spleen"}
    assert common.labels.codes == {1: LIVER}


def test_masks_without_names_keep_their_values():
    common = CommonLabels()
    plain = mask_of([0, 1, 5], {})
    table = common.table_for(plain, "a")
    assert renumbered(plain.volume.data, table) is plain.volume.data
    assert common.labels.names == {}
    floating = Volume(np.array([[[0, 0.99999, 2]]]), np.eye(4))
    np.testing.assert_array_equal(renumbered(floating.data, {1: 2, 2: 1}), [[[0, 2, 1]]])


def test_contradictions_are_refused():
    common = CommonLabels()
    common.table_for(mask_of([0, 1], {1: "liver"}), "a")
    with pytest.raises(VolumeError, match=r"b: label 1 has no name, .* calls it 'liver'"):
        common.table_for(mask_of([0, 1, 2], {2: "spleen"}), "b")


def test_two_labels_of_one_name_are_told_apart():
    common = CommonLabels()
    lesions = mask_of([0, 1, 2], {1: "Lesion", 2: "lesion", 4: "liver"})
    assert common.table_for(lesions, "a") == {1: 1, 2: 2, 4: 4}
    assert common.labels.names == {1: "Lesion (1)", 2: "lesion (2)", 4: "liver"}
    assert common.table_for(lesions, "b") == {1: 1, 2: 2, 4: 4}
