"""Answers for a few scans that serve the others in place of labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dpcenet.data.phantom.phantom import phantom
from dpcenet.errors import RunError
from dpcenet.nn.tensor_files import save_tensors
from dpcenet.segmentation.better_answers import LEARNT
from dpcenet.segmentation.pseudo_labels import FROM, KEPT, load, pseudo_labelled, save
from dpcenet.segmentation.result import Choice, SegmentationResult
from dpcenet.segmentation.review.signals import label_map_of
from dpcenet.segmentation.segmenter import Segmenter

LIVER = 1


@pytest.fixture
def results(copier: Segmenter) -> list[tuple[str, SegmentationResult]]:
    """Of scans 2 to 7, with predicted Dice values that fall, but for the last, which is best."""
    support = copier.support(*phantom(1, (6, 48, 48), (15.0, 6.0, 6.0)), [LIVER])
    found = []
    for seed, dice in zip(range(2, 8), (0.6, 0.7, 0.5, 0.8, 0.4, 0.99), strict=True):
        result = copier.find(phantom(seed, (6, 48, 48), (15.0, 6.0, 6.0))[0], support)
        choices = {LIVER: Choice(dice, 0.1, LEARNT) if seed % 2 else Choice(0.1, dice, LEARNT)}
        found.append((f"scan {seed}", replace(result, choices=choices)))
    return found


def test_the_best_of_the_first_few_are_kept(
    copier: Segmenter, results: list[tuple[str, SegmentationResult]]
) -> None:
    assert (FROM, KEPT) == (4, 3)
    scans = pseudo_labelled(copier.predictor, results)
    assert [scan.name for scan in scans] == ["scan 5", "scan 3", "scan 2"]
    by_name = dict(results)
    for scan in scans:
        assert np.array_equal(scan.label, label_map_of(by_name[scan.name])) and scan.label.any()
    assert len({scan.digest for scan in scans}) == 3


def test_what_is_kept_comes_back(
    copier: Segmenter, results: list[tuple[str, SegmentationResult]], tmp_path: Path
) -> None:
    scans = pseudo_labelled(copier.predictor, results)
    save(tmp_path / "scans.safetensors", scans)
    again = load(tmp_path / "scans.safetensors", copier.predictor)
    assert [(a.name, a.digest) for a in again] == [(b.name, b.digest) for b in scans]
    for one, two in zip(again, scans, strict=True):
        assert np.array_equal(one.label, two.label)
        assert one.slices.spacing == two.slices.spacing
        assert torch.equal(one.slices.images, two.slices.images)
    save(tmp_path / "none.safetensors", ())
    assert load(tmp_path / "none.safetensors", copier.predictor) == ()


@pytest.mark.parametrize("scans", ["[{}]", "{", '[{"name": "a", "spacing": [1, 1, 1]}]'])
def test_a_damaged_file_is_told(copier: Segmenter, tmp_path: Path, scans: str) -> None:
    save_tensors(tmp_path / "a.safetensors", {"x": torch.zeros(1)}, {"scans": scans})
    with pytest.raises(RunError, match="is damaged"):
        load(tmp_path / "a.safetensors", copier.predictor)
