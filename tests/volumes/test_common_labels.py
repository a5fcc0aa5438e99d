"""Labels of several masks go by their names."""

from __future__ import annotations

import numpy as np
import pytest

from dpcenet.errors import VolumeError
from dpcenet.types import Volume
from dpcenet.volumes.label_names import CommonLabels, renumbered
from dpcenet.volumes.scan_file import Code, Facts, Labels, ScanFile, SourceGrid

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
    with pytest.raises(VolumeError, match=r"c: label 1 has no name, .* --name 1='liver'"):
        common.table_for(mask_of([0, 1], {}), "c")


@pytest.mark.parametrize("first", [0, 1])
def test_names_in_one_mask_alone_are_refused_in_either_order_unless_the_person_says(first):
    masks = [(mask_of([0, 1], {}), "plain"), (mask_of([0, 1, 2], {1: "liver", 2: "x"}), "named")]
    masks = masks[first:] + masks[:first]
    common = CommonLabels()
    common.table_for(*masks[0])
    with pytest.raises(VolumeError, match="plain: label 1 has no name"):
        common.table_for(*masks[1])
    said = CommonLabels({1: "Liver"})
    tables = [said.table_for(*each) for each in masks]
    assert sorted(tables, key=len) == [{1: 1}, {1: 1, 2: 2}]


def test_what_is_written_without_a_name_is_no_name():
    common = CommonLabels()
    common.table_for(mask_of([0, 4], {}), "drawn")
    assert common.table_for(mask_of([0, 4], {4: "label 4"}), "corrected") == {4: 4}
    assert common.labels.names == {}
    # The next free number is none that a mask without names has.
    assert common.table_for(mask_of([0, 1, 2], {1: "a", 2: "b"}), "c") == {1: 1, 2: 2}
    assert common.table_for(mask_of([0, 1], {1: "d"}), "e") == {1: 3}
    assert common.table_for(mask_of([0, 1], {1: "f"}), "g") == {1: 5}


def test_two_labels_of_one_name_are_told_apart():
    common = CommonLabels()
    lesions = mask_of([0, 1, 2], {1: "Lesion", 2: "lesion", 4: "liver"})
    assert common.table_for(lesions, "a") == {1: 1, 2: 2, 4: 4}
    assert common.labels.names == {1: "Lesion (1)", 2: "lesion (2)", 4: "liver"}
    assert common.table_for(lesions, "b") == {1: 1, 2: 2, 4: 4}
