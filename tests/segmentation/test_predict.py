"""The result of one scan for Python: mask, probabilities, volumes, quality."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

import dpcenet
from dpcenet.data.phantom.phantom import phantom
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.types import Volume


@pytest.fixture(scope="module")
def case() -> tuple[Volume, Volume]:
    return phantom(1, (6, 48, 40), (9.0, 4.0, 5.0), oblique=True)


@pytest.fixture(scope="module")
def result(copier: Segmenter, case: tuple[Volume, Volume]) -> dpcenet.Result:
    image = nibabel.Nifti1Image(
        np.ascontiguousarray(case[0].data.T, np.float32), case[0].affine[:, [2, 1, 0, 3]]
    )
    return dpcenet.predict_with(copier, copier.support(*case), image)


def test_mask_and_probabilities_are_of_the_querys_kind(
    result: dpcenet.Result, case: tuple[Volume, Volume]
) -> None:
    mask = np.asarray(result.mask.dataobj)
    assert isinstance(result.mask, nibabel.Nifti1Image) and mask.shape == case[0].data.shape[::-1]
    assert set(result.probabilities) == {1, 2, 3, 4} == set(np.unique(mask)) - {0}
    for value, probability in result.probabilities.items():
        assert isinstance(probability, nibabel.Nifti1Image)
        share = np.asarray(probability.dataobj)
        assert share.dtype == np.float32 and share.min() >= 0 and share.max() <= 1
        assert (share[mask == value] >= 0.5).all()


def test_volumes_and_quality_of_each_label(
    result: dpcenet.Result, case: tuple[Volume, Volume]
) -> None:
    mask = np.asarray(result.mask.dataobj)
    for value in (1, 2, 3, 4):
        expected = (mask == value).sum() * 9.0 * 4.0 * 5.0 / 1000
        assert result.volumes_ml[value] == pytest.approx(expected)
        quality = result.quality[value]
        assert 0 <= quality.low <= quality.dice <= quality.high <= 1
        assert quality.flag in {"accept", "look", "reject"}
    assert result.statistics[1].mean == pytest.approx(case[0].data.T[mask == 1].mean(), rel=1e-5)


def test_a_label_that_is_not_found_has_no_volume(
    copier: Segmenter, case: tuple[Volume, Volume]
) -> None:
    image, labels = case
    support = copier.support(image, labels)
    blank = Volume(np.random.default_rng(0).normal(0, 1, (3, 32, 32)), np.diag([5.0, 2, 2, 1]))
    found = dpcenet.predict_with(copier, support, blank, check=False)
    assert isinstance(found.mask, Volume) and found.quality == {}
    missing = set(found.labels) - set(found.statistics)
    assert all(found.volumes_ml[value] == 0 for value in missing)
    assert set(found.volumes_ml) == {1, 2, 3, 4}


def test_representations_are_short(
    copier: Segmenter, case: tuple[Volume, Volume], result: dpcenet.Result
) -> None:
    support = copier.support(*case)
    shown = [repr(each) for each in (copier, support, case[0], result, result.quality[1])]
    assert all(len(text) < 160 and "array" not in text and "\n" not in text for text in shown)
    assert shown[0] == "Segmenter(Predictor(Copy, float32, cpu), MR scans)"
    assert shown[2] == "Volume((6, 48, 40) int16, voxels of 9 × 4 × 5 mm)"
    assert shown[3].startswith(f"Result(label 1 {result.volumes_ml[1]:.1f} ml, ")
